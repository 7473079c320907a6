"""Pages drawn by code, kind by kind, and how well they are read."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from . import pages
from .sheet import log_uniform
from .sprites import Writers

SEED = 3
LONGER = 240, 1600  # pixels: longer side of a picture
KINDS: dict[str, dict] = {
    "one digit": {"kind": "one digit"},
    "numbers": {"kind": "photo", "num_lines": (1, 1)},
    "canvas": {"kind": "canvas"},
    "photos": {"kind": "photo"},
    "pages of 3 to 8 lines": {"kind": "photo", "num_lines": (3, 8)},
    "sums": {"kind": "photo", "num_lines": (1, 2), "signs": True},
    "pages of words": {"kind": "words"},
    "empty sheets": {"kind": "empty"},
}


def scene(writers: Writers, kind: str, number: int) -> pages.Scene:
    """Draw a page of some kind; ``number`` seeds it."""
    rng = np.random.default_rng([SEED, list(KINDS).index(kind), number, int(writers.test)])
    longer = log_uniform(rng, *LONGER)
    shape = np.array([longer, longer * rng.uniform(0.65, 1)]).round().astype(int)
    shape = shape[:: rng.choice([-1, 1])]
    return pages.draw(rng, writers, tuple(shape.tolist()), **KINDS[kind], whole=True)


def row(kind: str, scenes: Sequence[pages.Scene], texts: Sequence[str]) -> dict:
    """Return how well some pages were read.

    Returns:
        pictures, exactly: how many there are, and how many are read without any mistake.
        wrong without ?: how many have a mistake and no "?".
        digits, lines: shares of the digits and of the lines that are right.
    """
    pairs = [(scene.text, text) for scene, text in zip(scenes, texts, strict=True)]
    joined = [(truth.replace("\n", ""), text.replace("\n", "")) for truth, text in pairs]
    total = sum(len(truth) for truth, _ in joined)
    missed = sum(min(distance(truth, text), len(truth)) for truth, text in joined)
    lines = sum(len(truth.split()) for truth, _ in pairs)
    right = sum(line in text.split("\n") for truth, text in pairs for line in truth.split())
    return {
        "kind": kind,
        "pictures": len(pairs),
        "exactly": sum(truth == text for truth, text in pairs),
        "wrong without ?": sum(is_wrong(*pair) for pair in pairs),
        "digits": round(1 - missed / total, 3) if total else None,
        "lines": round(right / lines, 3) if lines else None,
    }


def share_right(truth: str, text: str) -> float:
    """Return which share of a page's digits is right; without any, 1 if none is read, or else 0."""
    truth, text = truth.replace("\n", ""), text.replace("\n", "")
    if not truth:
        return float(not text)
    return 1 - min(distance(truth, text), len(truth)) / len(truth)


def is_wrong(truth: str, text: str) -> bool:
    """Return whether a text has a mistake, and no sign of doubt."""
    return truth != text != "" and "?" not in text


def distance(one: str, other: str) -> int:
    """Count the characters inserted, dropped or changed between two texts (Levenshtein)."""
    costs = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, costs[0] = costs[0], i
        for j, b in enumerate(other, 1):
            before, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, before + (a != b))
    return costs[-1]


def table(read: Callable[[np.ndarray], str], writers: Writers, count: int) -> pd.DataFrame:
    """Draw and read pages of every kind; return one row per kind (see ``row``)."""
    rows = []
    for kind in KINDS:
        scenes = [scene(writers, kind, number) for number in range(count)]
        rows.append(row(kind, scenes, [read(one.level) for one in scenes]))
    return pd.DataFrame(rows)
