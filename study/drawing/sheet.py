"""A sheet while it is being written on: the ink of digits, other ink, and what is free."""

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

UNITS = 256  # of a sheet's longer side
SEEN = 0.65  # of a digit's box: with less on the sheet, the digit cannot be recognised


@dataclass
class Sheet:
    """Ink on a sheet.

    Attributes:
        ink: float32 (height, width): the share of each pixel that digits cover.
        other: the same for what is drawn with the same pen and is not a digit.
        taken: bool: which pixels are written on, with some room around them.
        height: of its digits, in pixels.
        scattered: whether its lines are scattered, and not one below the other.
        least: the share of a digit's box on the sheet below which the digit is not written.
        digits: line, label and box (left, top, right, bottom, in pixels) of each.
    """

    ink: np.ndarray
    other: np.ndarray
    taken: np.ndarray
    height: float = 0.0
    least: float = SEEN
    scattered: bool = False
    digits: list[tuple[int, int, tuple[float, float, float, float]]] = field(default_factory=list)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "Sheet":
        """Return a sheet with nothing on it."""
        ink, other = np.zeros((2, *shape), np.float32)
        return cls(ink, other, np.zeros(shape, bool))

    @property
    def unit(self) -> float:
        """Return a 256th of the longer side, in pixels."""
        return max(self.ink.shape) / UNITS

    def boxes(self) -> np.ndarray:
        """Return the digits' boxes in reading order, float (N, 4)."""
        return np.array([box for _, _, box in self._ordered()], float).reshape(-1, 4)

    def lines(self) -> list[list[int]]:
        """Return the digits of each line that has any."""
        lines: dict[int, list[int]] = {}
        for line, label, _ in self._ordered():
            lines.setdefault(line, []).append(label)
        return list(lines.values())

    def _ordered(self) -> list:
        """The digits in reading order; scattered lines go by their middles."""
        if not self.scattered:
            return sorted(self.digits, key=lambda digit: (digit[0], digit[2][0]))
        tops: dict[int, list[float]] = {}
        for line, _, (_, top, _, bottom) in self.digits:
            tops.setdefault(line, []).append(top + bottom)
        middles = {line: sum(both) / len(both) for line, both in tops.items()}
        return sorted(self.digits, key=lambda digit: (middles[digit[0]], digit[0], digit[2][0]))

    def write(self, label: int, cover: np.ndarray, x: float, y: float, line: int) -> None:
        """Write a digit with its upper left corner at x, y, unless too much lies beyond."""
        rows, columns = cover.shape
        seen = max(0, min(x + columns, self.ink.shape[1]) - max(x, 0)) / columns
        seen *= max(0, min(y + rows, self.ink.shape[0]) - max(y, 0)) / rows
        if seen < self.least:
            return
        lay(self.ink, cover, x, y)
        self.digits.append((line, label, (x, y, x + columns, y + rows)))
        room = 0.12 * rows
        self.take(x - room, y - room, columns + 2 * room, rows + 2 * room)

    def mark(self, cover: np.ndarray, x: float, y: float) -> bool:
        """Draw something else at x, y if the place is free; return whether it was."""
        free = self.is_free(x, y, cover.shape[1], cover.shape[0])
        if free:
            lay(self.other, cover, x, y)
        return free

    def is_free(self, x: float, y: float, width: float, height: float) -> bool:
        """Return whether nothing is written in a rectangle, in pixels."""
        return not self.taken[_part(x, y, width, height)].any()

    def take(self, x: float, y: float, width: float, height: float) -> None:
        """Note that something is written in a rectangle, in pixels."""
        self.taken[_part(x, y, width, height)] = True

    def distance(self, angle: float, x: float, y: float) -> np.ndarray:
        """Return each pixel's distance to a line through x, y, positive where ``angle`` points."""
        rows, columns = np.ogrid[: self.ink.shape[0], : self.ink.shape[1]]
        distance = (columns - x) * math.cos(angle) + (rows - y) * math.sin(angle)
        return distance.astype(np.float32)


def _part(x: float, y: float, width: float, height: float) -> tuple[slice, slice]:
    return (
        slice(max(0, int(y)), max(0, int(y + height))),
        slice(max(0, int(x)), max(0, int(x + width))),
    )


def lay(canvas: np.ndarray, cover: np.ndarray, x: float, y: float) -> None:
    """Cover a canvas, float (height, width), from x, y on; what lies beyond is cut off."""
    x, y = round(x), round(y)
    left, top = max(x, 0), max(y, 0)
    part = canvas[top : max(0, y + cover.shape[0]), left : max(0, x + cover.shape[1])]
    cover = cover[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]]
    if cover.size:
        np.maximum(part, cover, out=part)


def draw_line(canvas: np.ndarray, points: np.ndarray, width: float) -> None:
    """Draw a line through points (N, 2), x and y in pixels; one narrower than a pixel is pale."""
    rows, columns = canvas.shape
    fine = Image.new("L", (2 * columns, 2 * rows))
    places = [tuple(place) for place in (2 * np.asarray(points, float)).tolist()]
    ImageDraw.Draw(fine).line(places, 255, max(1, round(2 * width)), "curve")
    cover = np.asarray(fine.reduce(2), np.float32) / 255 * min(1.0, 2 * width)
    np.maximum(canvas, cover, out=canvas)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a range in which equal ratios are equally likely."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
