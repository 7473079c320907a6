"""How many pages of digits are read exactly, and how many are read wrong without any warning?

Draws pages like those that the finder was trained on, but larger and with the writers, handwriting
and fonts for testing, and reads them. With --choose, the settings that decide which finds are
digits are chosen first, on pages by writers of the training set whom the finder has not seen.

    python -m experiments.pages [--choose results/finder_choices.csv] [--report docs/scenes.md]
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.finder import writers_of_training
from study import data
from study.drawing.page_kinds import KINDS, is_wrong, scene, table
from study.drawing.sprites import Writers
from study.files import write_between, write_whole
from study.reading.reader import Choices, Reader

ROOT = Path(__file__).parent.parent
GRID = {
    "refused": (0.5, 0.3, 0.4, 0.6),
    "doubted": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
    "weak": (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0),
    "faint": (0.9, 0.98, 0.995, 1.01),
    "low": (0.2, 0.3, 0.4, 0.5, 0.6),
    "high": (1.6, 2.0, 2.5, 3.5),
    "pale": (0.0, 0.15, 0.25, 0.35, 0.5),
    "most_refused": (0.35, 0.5, 0.65),  # one of three digits may be rejected
    "least_known": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65),
    "impossible": (0.9, 0.95, 0.99, 0.999, 1.01),
}


def chosen(reader: Reader, writers: Writers, count: int) -> tuple[Choices, pd.DataFrame]:
    """Choose the settings that decide which finds are digits, one after the other, twice.

    A page that is read exactly counts 1, and one that is wrong without "?" counts minus 1.

    Returns:
        The best choices; and every value that was tried, with its score.
    """
    scenes = [scene(writers, kind, number) for kind in KINDS for number in range(count)]
    seen = [reader.seen(one.level) for one in scenes]
    truths = [one.text for one in scenes]
    best, rows = reader.choices, []
    for _ in range(2):
        for name, values in GRID.items():
            scores = []
            for value in values:
                choices = replace(best, **{name: value})
                trial = Reader(reader.finder, reader.classify, choices)
                texts = [trial.reading(*parts).text for parts in seen]
                exactly = np.mean([t == r for t, r in zip(truths, texts, strict=True)])
                wrong = np.mean([is_wrong(*pair) for pair in zip(truths, texts, strict=True)])
                scores.append(exactly - wrong)
                counts = {"exactly": exactly, "wrong without ?": wrong, "score": scores[-1]}
                rows.append({"setting": name, "value": value} | counts)
            now = getattr(best, name)
            if now not in values or max(scores) > scores[values.index(now)]:
                best = replace(best, **{name: values[int(np.argmax(scores))]})
    return best, pd.DataFrame(rows).round(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--choose", type=Path, help="CSV file for what was tried")
    parser.add_argument("--report", help="file whose table is written")
    arguments = parser.parse_args()
    reader = Reader.saved(ROOT)
    if arguments.choose:
        best, tried = chosen(reader, writers_of_training()[1], arguments.count)
        write_whole(arguments.choose, tried.to_csv(index=False).encode())
        print(*(f"{name} = {value}" for name, value in asdict(best).items()))
        reader = Reader(reader.finder, reader.classify, best)
    test, people = data.load(ROOT / "data")[1], data.writers(ROOT / "data")[1]
    writers = Writers(test.images.numpy(), test.labels.numpy(), people["writer"].to_numpy(), True)
    result = table(lambda level: reader.read(level).text, writers, arguments.count)
    print(result.to_string(index=False))
    if arguments.report:
        shares = {column: result[column].map("{:.1%}".format) for column in ("digits", "lines")}
        shown = result.assign(**shares).replace("nan%", "-")
        write_between(arguments.report, "pages", shown.to_markdown(index=False))


if __name__ == "__main__":
    main()
