"""Coarse to fine: where in a picture digits are, and maps of that part in which they are large."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .finder import maps
from .finds import Find, grouped

FIRST = 320 * 256  # pixels of the first look
LARGEST = 16 * FIRST  # of a look in search of anything
MOST = 2_000_000  # pixels of the last look
SMALL, WANTED = 28, 44  # pixels: digits lower than the first are looked at again, this high
TINY = 128  # pixels, longer side: smaller pictures are enlarged first
ENLARGED = 4  # times: small digits are found better in an enlarged picture
MARGIN = 4  # of a digit's height, around what was found
MOST_TIMES = 2.5  # the height of what counts as a digit: dirt is lower still
FINER = 1.2  # times as large: less is no reason to look again
FEWER, MORE = 0.5, 4  # times the digits found before: a look that finds fewer or more is worse


@dataclass(frozen=True, eq=False)
class Look:
    """A part of a picture at some scale, and what is found there.

    Attributes:
        level: its grey levels, uint8 (height, width).
        ink, core: probabilities, of the same shape.
        finds: digits, in pixels of ``level``.
        factor: pixels of ``level`` per pixel of the picture.
        corner: left and top of the part, in pixels of the picture.
    """

    level: np.ndarray
    ink: np.ndarray
    core: np.ndarray
    finds: list[Find]
    factor: float
    corner: tuple[int, int]

    @classmethod
    def at(
        cls, finder: Callable, level: np.ndarray, factor: float, part: tuple[int, int, int, int]
    ) -> "Look":
        """Look at a part (left, top, right, bottom) of a picture."""
        left, top, right, bottom = part
        scaled = resized(level[top:bottom, left:right], factor)
        ink, core = maps(finder, scaled)
        return cls(scaled, ink, core, grouped(scaled, ink, core), factor, (left, top))

    @property
    def height(self) -> float:
        """Return how high the lower digits are, in pixels of ``level``; a quarter is even lower."""
        lower, median = np.percentile([find.height for find in self.finds], [25, 50])
        return float(max(lower, median / MOST_TIMES))

    def box(self, find: Find) -> tuple[float, float, float, float]:
        """Return the box of a find: left, top, right, bottom, in pixels of the picture."""
        left, top = self.corner
        sides = find.left, find.top, find.right, find.bottom
        return tuple(
            side / self.factor + start for side, start in zip(sides, (left, top) * 2, strict=True)
        )


def look(
    finder: Callable,
    level: np.ndarray,
    is_good: Callable[[Look], bool] = lambda look: bool(look.finds),
) -> Look:
    """Look at a picture as closely as its digits need.

    Args:
        finder: a ``Finder`` in eval mode.
        level: grey levels, uint8 (height, width).
        is_good: whether a look at the whole picture found digits; by default, any find will do.
    """
    whole = 0, 0, level.shape[1], level.shape[0]
    first = min(max(1.0, TINY / max(level.shape)), (FIRST / level.size) ** 0.5)
    seen = Look.at(finder, level, first, whole)
    others = (Look.at(finder, level, factor, whole) for factor in _other_scales(level, first))
    best = next(filter(is_good, itertools.chain([seen], others)), None)
    if best is None:
        return seen
    for _ in range(2):
        if not best.finds or best.height >= SMALL:
            break
        part = _around(best, level.shape)
        area = (part[2] - part[0]) * (part[3] - part[1])
        finer = min(ENLARGED, best.factor * WANTED / best.height, (MOST / area) ** 0.5)
        if finer < FINER * best.factor:
            break
        closer = Look.at(finder, level, finer, part)
        if not FEWER * len(best.finds) <= len(closer.finds) <= MORE * len(best.finds) + MORE:
            break
        best = closer
    return best


def _other_scales(level: np.ndarray, first: float) -> list[float]:
    """The scales at which to look when the first shows nothing: finer, then coarser ones."""
    most = min(2.0, (LARGEST / level.size) ** 0.5)
    finer = [min(most, first * times) for times in (2, 4) if first * times / 2 < most / FINER]
    least = 40 / max(level.shape)
    return finer + [first * times for times in (0.5, 0.25) if first * times > least]


def _around(look: Look, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a picture that has all that was found, and a margin."""
    boxes = np.array([look.box(find) for find in look.finds])
    margin = MARGIN * np.median(boxes[:, 3] - boxes[:, 1])
    left, top = np.floor(boxes[:, :2].min(0) - margin).astype(int).clip(0)
    right, bottom = np.ceil(boxes[:, 2:].max(0) + margin).astype(int)
    return int(left), int(top), int(min(right, shape[1])), int(min(bottom, shape[0]))


def resized(level: np.ndarray, factor: float) -> np.ndarray:
    """Scale grey levels, uint8 (height, width)."""
    if factor == 1:
        return level
    size = [max(1, round(side * factor)) for side in level.shape[::-1]]
    way = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(level).resize(size, way))
