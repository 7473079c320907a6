"""Pages of digits with the truth of each pixel, to train and to test the finder on.

A page has up to eight lines of up to fourteen digits by one writer, or scattered digits, one
large digit, words alone, or nothing. What stands beside the digits is drawn by ``page_marks``, and
what paper, light and camera do to them by ``page_light``. Everything on a page is measured in its
units, so that it looks the same at every size.
"""

import math
from dataclasses import dataclass

import numpy as np

from . import page_light, page_marks
from .sheet import Sheet, log_uniform
from .sprites import LOW, SIGNS, SMALL, Writer, Writers

KINDS = {"photo": 0.6, "canvas": 0.15, "one digit": 0.12, "words": 0.07, "empty": 0.06}
MOST_LINES, MOST_DIGITS = 8, 14
CORE = 0.27, 0.3  # half a core's width and height, in widths and heights of its digit
CROSSED_OUT = 0.03  # of what is written in a line
SIGNED = 0.3  # of the digits in a line with operators: one comes after them
APART = 0.34  # of the distance to the next digit: a core is no larger than this


@dataclass(frozen=True)
class Scene:
    """A page and its truth.

    Attributes:
        level: uint8 (height, width): how light it is.
        ink: float32, of the same shape: the share of each pixel that a digit's ink covers.
        core: bool: whether a pixel is near the middle of a digit.
        lines: the digits, line by line, from left to right.
        boxes: float (N, 4), of the same digits in the same order: left, top, right, bottom, pixels.
    """

    level: np.ndarray
    ink: np.ndarray
    core: np.ndarray
    lines: list[list[int]]
    boxes: np.ndarray

    @property
    def text(self) -> str:
        """Return the digits, one line of text per line."""
        return "\n".join("".join(map(str, line)) for line in self.lines)


def draw(
    rng: np.random.Generator,
    writers: Writers,
    shape: tuple[int, int] = (256, 256),
    kind: str | None = None,
    num_lines: tuple[int, int] = (1, MOST_LINES),
    whole: bool = False,
    signs: bool = False,
) -> Scene:
    """Draw a page.

    Args:
        writers: one of them writes it.
        shape: height and width, in pixels.
        kind: one of ``KINDS``; by default, any, as often as given there.
        num_lines: fewest and most lines; with more than two, the digits are as high as fits.
        whole: leave out digits that the edge of the sheet cuts off, which nobody can read.
        signs: write operators into the lines, as otherwise in a third of the pages that have lines.
    """
    kind = kind or str(rng.choice(list(KINDS), p=list(KINDS.values())))
    sheet, writer = Sheet.empty(shape), writers.draw(rng)
    if whole:
        sheet.least = 0.98
    if kind == "one digit":
        _one_digit(rng, sheet, writer)
    elif kind == "canvas" and num_lines[0] == 1 and rng.random() < 0.6:
        _one_digit(rng, sheet, writer, angle=0.0)
    elif kind in ("photo", "canvas"):
        if num_lines == (1, MOST_LINES) and rng.random() < 0.1:
            _scattered(rng, sheet, writer)
        else:
            _block(rng, sheet, writer, num_lines, signs)
    else:
        sheet.height = log_uniform(rng, 12, 100) * sheet.unit
    page_marks.add(rng, sheet, writer, kind)
    level = page_light.photographed(rng, sheet, writer.writers.test, kind)
    return Scene(level, sheet.ink.clip(0, 1), cores(sheet), sheet.lines(), sheet.boxes())


def _one_digit(
    rng: np.random.Generator, sheet: Sheet, writer: Writer, angle: float | None = None
) -> None:
    """Write one digit, between a sixth of the page high and all of it."""
    shorter = min(sheet.ink.shape)
    sheet.height = height = min(log_uniform(rng, 0.16, 1.1), 0.98) * shorter
    label, cover = writer.digit(rng, height, rng.normal(0, 4) if angle is None else angle)
    room = np.array(sheet.ink.shape[::-1]) - cover.shape[::-1]
    place = room * (rng.uniform(0.2, 0.8, 2) if rng.random() < 0.6 else rng.uniform(0, 1, 2))
    sheet.write(label, cover, *place, line=0)


def _scattered(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Write short numbers here and there."""
    sheet.scattered = True
    sheet.height = log_uniform(rng, 11, 60) * sheet.unit
    rows, columns = sheet.ink.shape
    for line in range(rng.integers(2, 10)):
        height = sheet.height * rng.uniform(0.7, 1.4)
        count = int(rng.integers(1, 4))
        for _ in range(5):
            x = rng.uniform(0, max(1, columns - 0.8 * count * height))
            y = rng.uniform(height / 2, rows - height / 2)
            if sheet.is_free(
                x - 0.2 * height, y - 0.6 * height, 0.9 * count * height, 1.2 * height
            ):
                _write(rng, sheet, writer, _Line(x, y, height, count, 0.0, 0.12, False, line))
                break


def _block(
    rng: np.random.Generator,
    sheet: Sheet,
    writer: Writer,
    num_lines: tuple[int, int],
    signs: bool,
) -> None:
    """Write lines below one another, which may all slope."""
    rows, columns = sheet.ink.shape
    gap = rng.uniform(-0.08, 0.35) if rng.random() < 0.75 else rng.uniform(0.35, 1.3)
    pitch = rng.uniform(1.2, 1.7) if rng.random() < 0.7 else rng.uniform(1.7, 2.6)
    if num_lines[0] == 1:
        height = log_uniform(rng, 10, 60) if rng.random() < 0.65 else log_uniform(rng, 30, 200)
        height = min(height * sheet.unit, 0.98 * rows)
        fitting = max(1, int((rows / height + 0.2) / pitch))
        most = max(1, min(num_lines[1], fitting))
        count = 1 if rng.random() < 0.4 else int(rng.integers(1, most + 1))
    else:
        count = int(rng.integers(num_lines[0], num_lines[1] + 1))
        height = min(rows / (pitch * count + 1), columns / 4) * rng.uniform(0.55, 1)
    sheet.height = height
    step = (0.62 + gap) * height
    longest = max(1, min(MOST_DIGITS, int((columns + gap * height) / step)))
    length = longest if rng.random() < 0.4 else int(rng.integers(1, longest + 1))
    width, tall = length * step - gap * height, ((count - 1) * pitch + 1) * height
    angle = _slope(rng) if num_lines[0] == 1 else rng.normal(0, 2)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    middle = [
        rng.uniform(min(side / 2, total - side / 2), max(side / 2, total - side / 2))
        for side, total in ((width, columns), (tall, rows))
    ]
    signs = rng.random() < 0.35 or signs
    groups = rng.random() < 0.15
    for line in range(count):
        digits = length if rng.random() < 0.5 else int(rng.integers(1, length + 1))
        indent = rng.normal(0, 0.2) * height if rng.random() < 0.8 else rng.uniform(0, width / 2)
        x, y = indent - width / 2, (line - (count - 1) / 2) * pitch * height
        left = middle[0] + x * cosine - y * sine, middle[1] + x * sine + y * cosine
        look = _Line(*left, height, digits, angle, gap, groups, line, signs)
        _write(rng, sheet, writer, look)


def _slope(rng: np.random.Generator) -> float:
    """Draw how far a line falls to the right, in degrees."""
    share = rng.random()
    if share < 0.1:
        return rng.uniform(-40, 40)
    return rng.uniform(-12, 12) if share < 0.3 else rng.normal(0, 2)


@dataclass(frozen=True)
class _Line:
    """Where and how a line is written: lengths in pixels, the angle in degrees, the gap in heights.

    Attributes:
        x, y: the left end of its middle.
        groups: whether some gaps are wider.
        number: of the line.
        signs: whether there are operators and points between its digits and after the last.
    """

    x: float
    y: float
    height: float
    count: int
    angle: float
    gap: float
    groups: bool
    number: int
    signs: bool = False

    def place(self, at: float) -> tuple[float, float]:
        """Return where the middle of the line is, ``at`` pixels from its left end."""
        angle = math.radians(self.angle)
        return self.x + at * math.cos(angle), self.y + at * math.sin(angle)


def _write(rng: np.random.Generator, sheet: Sheet, writer: Writer, line: _Line) -> None:
    """Write a line from its left end."""
    turn = -line.angle if rng.random() < 0.7 else 0.0
    at = 0.0
    for _ in range(line.count):
        at += _write_digit(rng, sheet, writer, line, at, turn)
        if line.signs and rng.random() < SIGNED:
            at += _sign(rng, sheet, writer, line, at)


def _write_digit(
    rng: np.random.Generator, sheet: Sheet, writer: Writer, line: _Line, at: float, turn: float
) -> float:
    """Write one digit, or something crossed out; return how far the line moves on."""
    height = line.height * math.exp(rng.normal(0, 0.08))
    crossed_out = rng.random() < CROSSED_OUT
    if crossed_out:
        cover = writer.mark(rng, "crossed out", height, line.height)
    else:
        label, cover = writer.digit(rng, height, turn)
    rows, columns = cover.shape
    x, y = line.place(at + columns / 2)
    x, y = x - columns / 2, y + rng.normal(0, 0.06) * line.height - rows / 2
    if crossed_out:
        sheet.mark(cover, x, y)
    else:
        sheet.write(label, cover, x, y, line.number)
    wider = rng.uniform(0.5, 1.6) if line.groups and rng.random() < 0.25 else 0.0
    return columns + (line.gap + rng.normal(0, 0.05) + wider) * line.height


def _sign(rng: np.random.Generator, sheet: Sheet, writer: Writer, line: _Line, at: float) -> float:
    """Write an operator, a point or a comma; return how far the line moves on."""
    name = str(rng.choice(list(SIGNS)))
    size = 0.2 if name in SMALL else rng.uniform(0.4, 1)
    height = max(2.0, size * line.height)
    if name in ("minus", "equals"):
        height *= 0.5
    cover = writer.mark(rng, "sign", height, line.height, name)
    foot = 0.4 * line.height if name in LOW else 0.0
    x, y = line.place(at)
    sheet.mark(cover, x, y + foot - cover.shape[0] / 2)
    return cover.shape[1] + max(line.gap, 0.1) * line.height


def cores(sheet: Sheet) -> np.ndarray:
    """Return which pixels are near the middle of a digit: bool (height, width).

    Cores are ellipses; where digits stand close, they are smaller, so that none touches another.
    """
    boxes = sheet.boxes()
    core = np.zeros(sheet.ink.shape, bool)
    if not len(boxes):
        return core
    low, high = boxes[:, :2], boxes[:, 2:]
    middles, sizes = (low + high) / 2, high - low
    apart = np.abs(middles[:, None] - middles)
    radii = np.stack(
        [CORE[0] * np.maximum(sizes[:, 0], 0.4 * sizes[:, 1]), CORE[1] * sizes[:, 1]], 1
    )
    for axis in (0, 1):  # the neighbours on either side, then those above and below
        beside = apart[..., 1 - axis] < 0.6 * sizes[:, None, 1 - axis]
        np.fill_diagonal(beside, False)
        nearest = np.where(beside, apart[..., axis], np.inf).min(1)
        radii[:, axis] = np.minimum(radii[:, axis], np.maximum(APART * nearest, 1))
    for (x, y), (across, down) in zip(middles, radii, strict=True):
        top, left = max(0, int(y - down - 1)), max(0, int(x - across - 1))
        part = core[top : int(y + down + 2), left : int(x + across + 2)]
        rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
        part |= ((columns + left + 0.5 - x) / across) ** 2 + (
            (rows + top + 0.5 - y) / down
        ) ** 2 <= 1
    return core
