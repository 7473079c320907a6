"""How many pictures, as people send them, are read, refused, or read as something else?

Draws pictures of every kind in `study.pictures.scenes` with test digits and hands for testing,
prepares them, and asks the network and the threshold that the page answers with. Numbers follow,
of test digits side by side.

    python -m benchmarks.scenes [--count 60] [--report docs/scenes.md]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import ndimage

from app.service import ANSWERING
from study import evaluation, mnist, report, weights
from study.pictures import refusal, scenes
from study.pictures.preparation import prepare, prepare_all

ROOT = Path(__file__).parent.parent
SEED = 1  # choices were made with seed 0, on training digits and hands
LARGE = "3000x4000 pixels"  # takes long: a fifth as many


class Reader:
    """A network that answers a digit, or nothing."""

    def __init__(self, network: torch.nn.Module, threshold: float):
        self.network, self.threshold = network, threshold

    def no_digit(self, image: np.ndarray) -> float:
        """The probability that an image, uint8 (28, 28), shows no digit."""
        return refusal.score(evaluation.predict(self.network, torch.from_numpy(image)[None])).item()

    def is_digit(self, image: np.ndarray) -> float:
        """The probability that it shows one."""
        return 1 - self.no_digit(image)

    def read(self, image: np.ndarray) -> int | None:
        """The digit, or None for a refusal."""
        if not image.any() or self.no_digit(image) >= self.threshold:
            return None
        logits = evaluation.predict(self.network, torch.from_numpy(image)[None])
        return int(logits[0, : evaluation.NUM_DIGITS].argmax())


def table_of_kinds(reader: Reader, digits: mnist.Digits, count: int, test: bool) -> pd.DataFrame:
    """One row a kind: pictures, read, refused and wrong. An empty sheet should be refused."""
    rows = []
    for kind in scenes.KINDS:
        number = max(1, count // 5) if kind == LARGE else count
        pictures, labels = scenes.draw(
            kind, number, SEED, digits.images.numpy(), digits.labels.numpy(), test
        )
        answers = [reader.read(prepare(picture).image) for picture in pictures]
        refused = sum(answer is None for answer in answers)
        read = sum(a == label for a, label in zip(answers, labels.tolist(), strict=True))
        rows.append(_row(kind, number, read, refused))
    return pd.DataFrame(rows)


def table_of_numbers(reader: Reader, digits: mnist.Digits, count: int) -> pd.DataFrame:
    """The same for numbers; where one digit of a number is refused, the number is."""
    rows = []
    for name, lengths, gaps in (
        ("one digit", (1, 1), (2, 8)),
        ("numbers of three digits", (3, 3), (2, 8)),
        ("numbers of two to six digits", (2, 6), (2, 8)),
        ("two digits that touch", (2, 2), None),
    ):
        read = refused = 0
        for i in range(count):
            rng = np.random.default_rng([SEED, len(rows), i])
            chosen = rng.integers(len(digits.labels), size=rng.integers(*lengths, endpoint=True))
            images = digits.images[chosen].numpy()
            while gaps is None and not all(_num_pieces(255 - image) == 1 for image in images):
                chosen = rng.integers(len(digits.labels), size=len(chosen))
                images = digits.images[chosen].numpy()
            gap = touching(images) if gaps is None else int(rng.integers(*gaps, endpoint=True))
            line = Image.fromarray(side_by_side(images, gap))
            line = line.resize((4 * line.width, 4 * line.height), Image.Resampling.BICUBIC)
            answers = [reader.read(one.image) for one in prepare_all(line, reader.is_digit)]
            read += answers == digits.labels[chosen].tolist()
            refused += None in answers
        rows.append(_row(name, count, read, refused))
    return pd.DataFrame(rows)


def _row(kind: str, count: int, read: int, refused: int) -> dict:
    wrong = count - read - refused
    return {"kind": kind, "pictures": count, "read": read, "refused": refused, "wrong": wrong}


def side_by_side(images: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Digits uint8 (28, 28) in a line, dark on white, ``gap`` pixels apart, or overlapping."""
    cells = [image[:, (image > 0).any(0)] for image in images]
    line = np.zeros((40, sum(cell.shape[1] for cell in cells) + len(cells) * max(gap, 0) + 16))
    left = 8
    for cell in cells:
        there = line[6:34, left : left + cell.shape[1]]
        np.maximum(there, cell, out=there)
        left += cell.shape[1] + gap
    return 255 - line[:, : left - gap + 8].astype(np.uint8)


def touching(images: Sequence[np.ndarray]) -> int:
    """The widest gap, at most 0, at which two digits that are one piece each are one together."""
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
    digits = mnist.load(ROOT / "data")[0 if arguments.train else 1]
    network = weights.load_model(ROOT / "models" / f"{ANSWERING}.pt")
    reader = Reader(network, refusal.load().threshold)
    tables = {
        "kinds": table_of_kinds(reader, digits, arguments.count, test=not arguments.train),
        "numbers": table_of_numbers(reader, digits, arguments.count),
    }
    for name, table in tables.items():
        print(table.to_string(index=False))
        if arguments.report:
            report.write_between(arguments.report, name, table.to_markdown(index=False))


if __name__ == "__main__":
    main()
