"""How many pages of digits are read exactly, and how many are read wrong without any warning?

Draws pages like those that the finder was trained on, but larger and with the writers, handwriting
and fonts for testing, and reads them. With --choose, the settings that decide which finds are
digits are scored first, and the best are printed: half of what they are scored on are pages by
writers of the training set whom the finder has not seen, and half are plain numbers of training
digits, which are much easier. The table is of the settings that the reader has.

    python -m experiments.pages [--choose results/finder_choices.csv] [--report docs/scenes.md]
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.finder import writers_of_training
from experiments.scenes import drawn_number
from study import data
from study.drawing.page_kinds import KINDS, is_wrong, scene, share_right, table
from study.drawing.sprites import Writers
from study.files import write_between, write_whole
from study.reading.choices import Choices
from study.reading.reader import Reader

ROOT = Path(__file__).parent.parent
SEED = 4  # of the plain numbers
GRID = {
    "doubted": (0.6, 0.7, 0.8, 0.9, 0.95),
    "weak": (0.65, 0.7, 0.75, 0.8),
    "faint": (0.9, 0.98, 0.995, 1.01),
    "low": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "high": (2.0, 2.5, 3.5),
    "pale": (0.0, 0.15, 0.25, 0.35, 0.5),
    "most_refused": (0.35, 0.5, 0.65),
    "least_known": (0.2, 0.3, 0.4, 0.5, 0.65, 0.8),
    "impossible": (0.9, 0.99, 0.999, 1.01),
}


def chosen(
    reader: Reader, writers: Writers, digits: data.Digits, count: int
) -> tuple[Choices, pd.DataFrame]:
    """Choose the settings that decide which finds are digits, one after the other, twice.

    A picture counts by the share of its digits that is right, and one that is wrong without "?"
    counts 1 less. All pages together count as much as all plain numbers.

    Returns:
        The best choices; and every value that was tried, with its score.
    """
    scenes = [scene(writers, kind, number) for kind in KINDS for number in range(count)]
    pictures = [(one.level, one.text) for one in scenes]
    for number in range(2 * count):
        rng = np.random.default_rng([SEED, number])
        picture, labels = drawn_number(rng, digits, (1, 6), (-1, 8))
        pictures.append((picture, "".join(map(str, labels))))
    weights = np.repeat([1 / len(scenes), 1 / (2 * count)], [len(scenes), 2 * count])
    seen, truths = [reader.seen(picture) for picture, _ in pictures], [text for _, text in pictures]
    best, rows = reader.choices, []
    for _ in range(2):
        for name, values in GRID.items():
            scores = []
            for value in values:
                choices = replace(best, **{name: value})
                trial = Reader(reader.finder, reader.classify, choices)
                texts = [trial.reading(*parts).text for parts in seen]
                pairs = list(zip(truths, texts, strict=True))
                right = np.average([share_right(*pair) for pair in pairs], weights=weights)
                wrong = np.average([is_wrong(*pair) for pair in pairs], weights=weights)
                scores.append(right - wrong)
                counts = {"right": right, "wrong without ?": wrong, "score": scores[-1]}
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
        digits = data.load(ROOT / "data")[0]
        best, tried = chosen(reader, writers_of_training()[1], digits, arguments.count)
        write_whole(arguments.choose, tried.to_csv(index=False).encode())
        print(*(f"{name} = {value}" for name, value in asdict(best).items()))
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
