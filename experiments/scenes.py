"""How many pictures, as people send them, are read, refused, or read as something else?

Draws pictures of every kind in `study.drawing.scenes` with test digits and handwriting for testing,
and reads them as the page does. Then come numbers: test digits side by side.

    python -m experiments.scenes [--count 60] [--report docs/scenes.md]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from app.service import Service
from study import data
from study.drawing import scenes
from study.files import write_between
from study.reading.levels import FULL_SIZE, grey_levels

ROOT = Path(__file__).parent.parent
SEED = 1  # choices were made with seed 0, on training digits and handwriting
LARGE = "3000x4000 pixels"  # takes long, so a fifth as many are drawn


def read(service: Service, picture: Image.Image) -> list[int | None]:
    """Return the digits that the page reads in a picture, None where it refuses one."""
    answer = service.answer(grey_levels(picture, FULL_SIZE), votes=False)
    return [digit["digit"] for digit in answer["digits"]]


def table_of_kinds(service: Service, digits: data.Digits, count: int, test: bool) -> pd.DataFrame:
    """Return one row per kind: pictures, read, refused, wrong. An empty sheet should be refused."""
    rows = []
    for kind in scenes.KINDS:
        number = max(1, count // 5) if kind == LARGE else count
        pictures, labels = scenes.draw(
            kind, number, SEED, digits.images.numpy(), digits.labels.numpy(), test
        )
        answers = [read(service, picture) for picture in pictures]
        refused = sum(answer == [] or None in answer for answer in answers)
        right = sum(a == [label] for a, label in zip(answers, labels.tolist(), strict=True))
        rows.append(_row(kind, number, right, refused))
    return pd.DataFrame(rows)


def table_of_numbers(service: Service, digits: data.Digits, count: int) -> pd.DataFrame:
    """Return the same for numbers; a number counts as refused if one of its digits is."""
    rows = []
    for name, lengths, gaps in (
        ("one digit", (1, 1), (2, 8)),
        ("numbers of three digits", (3, 3), (2, 8)),
        ("numbers of two to six digits", (2, 6), (2, 8)),
        ("two digits that touch", (2, 2), None),
    ):
        right = refused = 0
        for i in range(count):
            rng = np.random.default_rng([SEED, len(rows), i])
            picture, labels = drawn_number(rng, digits, lengths, gaps)
            answer = read(service, picture)
            right += answer == labels
            refused += answer == [] or None in answer
        rows.append(_row(name, count, right, refused))
    return pd.DataFrame(rows)


def drawn_number(
    rng: np.random.Generator,
    digits: data.Digits,
    lengths: tuple[int, int],
    gaps: tuple[int, int] | None,
) -> tuple[Image.Image, list[int]]:
    """Draw a number of MNIST's digits on plain paper, and say which digits it has.

    Args:
        lengths: fewest and most digits.
        gaps: the same in pixels, where a digit is 20 pixels high; without it, the digits touch.
    """
    chosen = rng.integers(len(digits.labels), size=rng.integers(*lengths, endpoint=True))
    images = digits.images[chosen].numpy()
    while gaps is None and not all(_num_pieces(255 - image) == 1 for image in images):
        chosen = rng.integers(len(digits.labels), size=len(chosen))
        images = digits.images[chosen].numpy()
    gap = touching(images) if gaps is None else int(rng.integers(*gaps, endpoint=True))
    line = Image.fromarray(side_by_side(images, gap))
    line = line.resize((4 * line.width, 4 * line.height), Image.Resampling.BICUBIC)
    return line, digits.labels[chosen].tolist()


def _row(kind: str, count: int, read: int, refused: int) -> dict:
    wrong = count - read - refused
    return {"kind": kind, "pictures": count, "read": read, "refused": refused, "wrong": wrong}


def side_by_side(images: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Put digits, uint8 (28, 28), in a line, dark on white, ``gap`` pixels apart or overlapping."""
    cells = [image[:, (image > 0).any(0)] for image in images]
    line = np.zeros((40, sum(cell.shape[1] for cell in cells) + len(cells) * max(gap, 0) + 16))
    left = 8
    for cell in cells:
        there = line[6:34, left : left + cell.shape[1]]
        np.maximum(there, cell, out=there)
        left += cell.shape[1] + gap
    return 255 - line[:, : left - gap + 8].astype(np.uint8)


def touching(images: Sequence[np.ndarray]) -> int:
    """Return the widest gap, at most 0, at which two digits of one piece each form one piece."""
    gap = 0
    while _num_pieces(side_by_side(images, gap)) > 1:
        gap -= 1
    return gap


def _num_pieces(picture: np.ndarray) -> int:
    return ndimage.label(picture < 155, np.ones((3, 3)))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--train", action="store_true", help="of training digits, to choose on")
    parser.add_argument("--report", help="file whose tables are written")
    arguments = parser.parse_args()
    digits = data.load(ROOT / "data")[0 if arguments.train else 1]
    service = Service(votes=False)
    tables = {
        "kinds": table_of_kinds(service, digits, arguments.count, test=not arguments.train),
        "numbers": table_of_numbers(service, digits, arguments.count),
    }
    for name, table in tables.items():
        print(table.to_string(index=False))
        if arguments.report:
            write_between(arguments.report, name, table.to_markdown(index=False))


if __name__ == "__main__":
    main()
