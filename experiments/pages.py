"""How many pages of digits are read exactly, and how many are read wrong in silence?

Draws pages as the finder was trained on, larger, by test writers, hands and fonts, and reads them.
With --choose, what decides which finds are digits is chosen first, on pages by writers of the
training set whom the finder was not trained on.

    python -m experiments.pages [--choose results/finder_choices.csv] [--report docs/scenes.md]
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.finder import writers_of_training
from study import data
from study.drawing import pages
from study.drawing.sprites import Writers
from study.files import write_between, write_whole
from study.reading.reader import Choices, Reader

ROOT = Path(__file__).parent.parent
SEED = 3
LONGER = 240, 1600  # pixels: longer side of a picture
KINDS: dict[str, dict] = {
    "one digit": {"kind": "one digit"},
    "numbers": {"kind": "photo", "num_lines": (1, 1)},
    "canvas": {"kind": "canvas"},
    "photos": {"kind": "photo"},
    "pages of 3 to 8 lines": {"kind": "photo", "num_lines": (3, 8)},
    "pages of words": {"kind": "words"},
    "empty sheets": {"kind": "empty"},
}
GRID = {
    "refused": (0.5, 0.3, 0.4, 0.6),
    "doubted": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
    "weak": (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0),
    "faint": (0.9, 0.98, 0.995, 1.01),
    "low": (0.2, 0.3, 0.4, 0.5, 0.6),
    "high": (1.6, 2.0, 2.5, 3.5),
    "most_refused": (0.35, 0.5, 0.65),  # one of three digits may be refused
}


def scene(writers: Writers, kind: str, number: int) -> pages.Scene:
    """Draw a page of a kind; ``number`` seeds it."""
    rng = np.random.default_rng([SEED, list(KINDS).index(kind), number, int(writers.test)])
    longer = math.exp(rng.uniform(*np.log(LONGER)))
    shape = np.array([longer, longer * rng.uniform(0.65, 1)]).round().astype(int)
    shape = shape[:: rng.choice([-1, 1])]
    return pages.draw(rng, writers, tuple(shape.tolist()), **KINDS[kind], whole=True)


def row(kind: str, scenes: Sequence[pages.Scene], texts: Sequence[str]) -> dict:
    """Return how well some pages were read.

    Returns:
        pictures, exactly: how many there are, and how many are read without any mistake.
        wrong: how many have a mistake and no "?".
        digits, lines: shares of the digits that are right, and of the lines that are.
    """
    truths = ["\n".join("".join(map(str, line)) for line in scene.lines) for scene in scenes]
    pairs = list(zip(truths, texts, strict=True))
    exactly = sum(truth == text for truth, text in pairs)
    wrong = sum(truth != text and text != "" and "?" not in text for truth, text in pairs)
    total = sum(len(truth.replace("\n", "")) for truth in truths)
    missed = sum(min(distance(t.replace("\n", ""), r.replace("\n", "")), len(t)) for t, r in pairs)
    lines = sum(len(truth.split()) for truth in truths)
    right = sum(line in text.split("\n") for truth, text in pairs for line in truth.split())
    return {
        "kind": kind,
        "pictures": len(pairs),
        "exactly": exactly,
        "wrong without ?": wrong,
        "digits": round(1 - missed / total, 3) if total else None,
        "lines": round(right / lines, 3) if lines else None,
    }


def distance(one: str, other: str) -> int:
    """Count the characters to insert, drop or change to make one text of another (Levenshtein)."""
    costs = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, costs[0] = costs[0], i
        for j, b in enumerate(other, 1):
            before, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, before + (a != b))
    return costs[-1]


def table(read: Callable[[np.ndarray], str], writers: Writers, count: int) -> pd.DataFrame:
    """Draw and read pages of every kind: a row a kind (see ``row``)."""
    rows = []
    for kind in KINDS:
        scenes = [scene(writers, kind, number) for number in range(count)]
        rows.append(row(kind, scenes, [read(one.level) for one in scenes]))
    return pd.DataFrame(rows)


def chosen(reader: Reader, writers: Writers, count: int) -> tuple[Choices, pd.DataFrame]:
    """Choose what decides which finds are digits, one setting after the other, twice.

    What is read exactly counts 1, what is wrong without "?" minus 1.

    Returns:
        The best choices; and every value that was tried, with its score.
    """
    scenes = [scene(writers, kind, number) for kind in KINDS for number in range(count)]
    seen = [reader.seen(one.level) for one in scenes]
    truths = ["\n".join("".join(map(str, line)) for line in one.lines) for one in scenes]
    best, rows = reader.choices, []
    for _ in range(2):
        for name, values in GRID.items():
            scores = []
            for value in values:
                choices = replace(best, **{name: value})
                trial = Reader(reader.finder, reader.classify, choices)
                texts = [trial.reading(*parts).text for parts in seen]
                exactly = np.mean([t == r for t, r in zip(truths, texts, strict=True)])
                wrong = np.mean(
                    [t != r != "" and "?" not in r for t, r in zip(truths, texts, strict=True)]
                )
                scores.append(exactly - wrong)
                counts = {"exactly": exactly, "wrong without ?": wrong, "score": scores[-1]}
                rows.append({"setting": name, "value": value} | counts)
            if (
                max(scores) > scores[values.index(getattr(best, name))]
                if getattr(best, name) in values
                else True
            ):
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
        write_between(arguments.report, "pages", result.to_markdown(index=False))


if __name__ == "__main__":
    main()
