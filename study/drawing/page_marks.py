"""What pages of ``pages`` show besides digits: shapes, letters, words, underlines, frames, circles.

Each function draws with the writer's pen on the free parts of a sheet, or around its digits.
"""

import math
from string import ascii_letters

import numpy as np

from . import fonts
from .sheet import Sheet, draw_line, lay, log_uniform
from .sprites import SIGNS, Writer, text

WRITTEN_FONTS = {
    test: sorted({font for font in among if font[0] != "matplotlib" and "caladea" not in font[0]})
    for test, among in ((False, fonts.TRAINING_FONTS), (True, fonts.TEST_FONTS))
}
PRINTED_FONTS = {
    test: sorted({font for font in among if font[0] == "matplotlib" or "caladea" in font[0]})
    for test, among in ((False, fonts.TRAINING_FONTS), (True, fonts.TEST_FONTS))
}
WORDS = (
    *("Name:", "Date:", "No.", "Class", "Page", "Address", "the", "and", "Total"),
    *("Hello", "Example", "School", "test", "Tel.", "Sum", "of", "with", "Answer"),
    *("Question", "Result", "Points", "Room", "Street", "City", "Signature", "Amount", "Price"),
    "Number",
)
# How often a page has each, by its kind; "words" and "empty" pages have no digits to mark.
SHARES = {"photo": 1.0, "canvas": 0.35, "one digit": 1.0, "words": 0.5, "empty": 1.6}


def add(rng: np.random.Generator, sheet: Sheet, writer: Writer, kind: str) -> None:
    """Draw what a page of some kind shows besides digits."""
    share = SHARES[kind]
    if kind == "words":
        _full_of_words(rng, sheet, writer)
    for chance, draw in ((0.12, _shapes), (0.12, _letters), (0.12, _words), (0.05, _signs)):
        if rng.random() < chance * share:
            draw(rng, sheet, writer)
    if not sheet.digits:
        return
    alone = kind == "one digit"
    marks = (0.18, _underline), (0.12, _frame), (0.16, _circle), (0.06, _cells), (0.06, _strikes)
    for chance, draw in marks:
        if rng.random() < chance * share * (1.4 if alone else 1):
            draw(rng, sheet, writer)


def _pen(sheet: Sheet, writer: Writer) -> float:
    """The width of the writer's strokes, in pixels."""
    return max(0.5 * sheet.unit, sheet.height * (0.09 if writer.pen is None else writer.pen))


def _place(rng: np.random.Generator, sheet: Sheet, width: float, height: float) -> tuple:
    rows, columns = sheet.ink.shape
    x = rng.uniform(-0.2 * width, max(columns - 0.7 * width, 0))
    return x, rng.uniform(-0.2 * height, max(rows - 0.7 * height, 0))


def _shapes(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Draw one to three shapes, scribbles or crossed-out digits."""
    for _ in range(rng.integers(1, 4)):
        height = log_uniform(rng, 0.6, 2) * min(sheet.height, 90 * sheet.unit)
        cover = writer.mark(rng, "shape", height, sheet.height)
        x, y = _place(rng, sheet, cover.shape[1], cover.shape[0])
        if sheet.mark(cover, x, y):
            sheet.take(x, y, cover.shape[1], cover.shape[0])


def _letters(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Write one to three words in letters made of strokes."""
    for _ in range(rng.integers(1, 4)):
        height = min(sheet.height, 80 * sheet.unit) * rng.uniform(0.5, 1.1)
        count = int(rng.integers(1, 8))
        x, y = _place(rng, sheet, 0.8 * height * count, height)
        if not sheet.is_free(x - 3, y - 2, 0.8 * height * count + 3, height + 4):
            continue
        left = x
        for _ in range(count):
            cover = writer.mark(rng, "letter", height * rng.uniform(0.6, 1), sheet.height)
            lay(sheet.other, cover, x, y + height - cover.shape[0])
            x += cover.shape[1] + rng.uniform(0, 0.2) * height
        sheet.take(left, y, x - left, height)


def _signs(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Write some operators here and there."""
    for _ in range(rng.integers(1, 6)):
        height = sheet.height * rng.uniform(0.3, 1)
        cover = writer.mark(rng, "sign", height, sheet.height, str(rng.choice(list(SIGNS))))
        sheet.mark(cover, *_place(rng, sheet, cover.shape[1], cover.shape[0]))


def _words(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Write some words in handwriting fonts."""
    write_words(rng, sheet, sheet.other, writer.writers.test, False, rng.integers(1, 5), (9, 50))


def write_words(
    rng: np.random.Generator,
    sheet: Sheet,
    canvas: np.ndarray,
    test: bool,
    printed: bool,
    count: int,
    sizes: tuple[float, float],
    characters: str = ascii_letters,
) -> None:
    """Write words on the free parts of a sheet, on one of its canvases; sizes are in units."""
    among = (PRINTED_FONTS if printed else WRITTEN_FONTS)[test]
    for _ in range(count):
        size = max(4, round(log_uniform(rng, *sizes) * sheet.unit))
        cover = text(_phrase(rng, characters), among[rng.integers(len(among))], size)
        cover = cover / np.float32(255)
        for _ in range(4):
            x, y = _place(rng, sheet, cover.shape[1], cover.shape[0])
            if sheet.is_free(x - 3, y - 2, cover.shape[1] + 6, cover.shape[0] + 4):
                lay(canvas, cover, x, y)
                sheet.take(x - 3, y - 2, cover.shape[1] + 6, cover.shape[0] + 4)
                break


def _phrase(rng: np.random.Generator, characters: str = ascii_letters) -> str:
    if rng.random() < 0.3:
        return str(rng.choice(WORDS))
    among = characters if rng.random() < 0.8 else characters.upper()
    word = "".join(rng.choice(list(among), rng.integers(2, 9)))
    return word + " " + "".join(rng.choice(list("aeinorstlmd"), 4)) if rng.random() < 0.2 else word


def _full_of_words(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Fill the page with lines of words: printed, in a handwriting font, or in strokes."""
    rows, columns = sheet.ink.shape
    test, printed = writer.writers.test, rng.random() < 0.6
    among = (PRINTED_FONTS if printed else WRITTEN_FONTS)[test]
    font = among[rng.integers(len(among))]
    size = max(5, round(log_uniform(rng, 7, 40) * sheet.unit))
    pitch, left = size * rng.uniform(1.1, 1.9), rng.uniform(0, 0.15) * columns
    y = rng.uniform(0, 0.4) * rows
    for _ in range(rng.integers(1, 14)):
        if y > rows - size:
            break
        words = " ".join(_phrase(rng) for _ in range(1 + int(0.3 * columns / size)))
        cover = text(words, font, size) / np.float32(255)
        cover = cover[:, : int((columns - left) * (0.97 if rng.random() < 0.8 else rng.random()))]
        lay(sheet.other, cover, left, y)
        sheet.take(left, y, cover.shape[1], size)
        y += pitch
    sheet.height = size


def _around(sheet: Sheet, rng: np.random.Generator, one: float) -> np.ndarray:
    """The box around one digit, with a chance of ``one``, or around all."""
    boxes = sheet.boxes()
    if rng.random() < one:
        return boxes[rng.integers(len(boxes))]
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def _underline(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Draw one line or two below a line of digits."""
    numbers = {number for number, _, _ in sheet.digits}
    number = rng.choice(sorted(numbers))
    boxes = np.array([box for line, _, box in sheet.digits if line == number])
    left, right, bottom = boxes[:, 0].min(), boxes[:, 2].max(), boxes[:, 3].max()
    width = _pen(sheet, writer) * rng.uniform(0.5, 1.1)
    reach = rng.uniform(-0.1, 0.35, 2) * sheet.height
    y = bottom + rng.uniform(0.06, 0.35) * sheet.height + width / 2
    tilt = rng.normal(0, 0.03) * (right - left)
    for _ in range(1 + (rng.random() < 0.2)):
        draw_line(sheet.other, [(left - reach[0], y), (right + reach[1], y + tilt)], width)
        y += 2 * width + rng.uniform(0.03, 0.12) * sheet.height


def _frame(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Draw a box around one digit or all, by hand or printed; or another shape with corners."""
    box = _around(sheet, rng, 0.3)
    gaps = rng.uniform(0.08, 0.7, 4) * sheet.height * [-1, -1, 1, 1]
    left, top, right, bottom = box + gaps
    points = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    if rng.random() < 0.3:
        corners = int(rng.integers(3, 7))
        angles = 2 * math.pi * (np.arange(corners + 1) / corners + rng.random())
        radii = np.array([right - left, bottom - top]) / 2 / math.cos(math.pi / corners)
        points = points[:4].mean(0) + radii * np.stack([np.cos(angles), np.sin(angles)], 1)
    if rng.random() < 0.5:
        points = points + rng.normal(0, 0.03, points.shape) * sheet.height
    draw_line(sheet.other, points, max(_pen(sheet, writer) * rng.uniform(0.2, 1.1), 0.6))


def _circle(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Draw a circle around one digit or all, by hand; it need not close."""
    left, top, right, bottom = _around(sheet, rng, 0.5)
    middle = np.array([left + right, top + bottom]) / 2
    radii = np.array([right - left, bottom - top]) / 2 * rng.uniform(1.2, 2.0, 2)
    radii[0] = max(radii[0], rng.uniform(0.55, 1) * min(radii[1], 1.2 * sheet.height))
    radii += 0.5 * _pen(sheet, writer) + 0.05 * sheet.height
    if rng.random() < 0.5:  # all of it is visible if the sheet has room
        room = np.minimum(middle, np.array(sheet.ink.shape[::-1]) - middle) - _pen(sheet, writer)
        radii = np.minimum(radii, np.maximum(room, 0.55 * np.array([right - left, bottom - top])))
    angles = np.linspace(0, rng.uniform(1.85, 2.15) * math.pi, 60) + rng.uniform(0, 6.3)
    waves = 1 + rng.uniform(0, 0.06) * np.sin(2 * angles + rng.uniform(0, 6.3))
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * waves[:, None] * radii
    width = max(_pen(sheet, writer) * rng.uniform(0.4, 1.2), 0.6)
    draw_line(sheet.other, middle + points, width)


def _cells(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Print a box around each digit, as on forms."""
    width = max(_pen(sheet, writer) * rng.uniform(0.15, 0.5), 0.5)
    gap = rng.uniform(0.08, 0.3) * sheet.height
    boxes = sheet.boxes()
    tops = boxes[:, 1].min() - gap, boxes[:, 3].max() + gap
    same = len(sheet.lines()) == 1 and rng.random() < 0.7  # of one height, in one row
    for left, top, right, bottom in boxes:
        top, bottom = tops if same else (top - gap, bottom + gap)
        left, right = left - 0.7 * gap, right + 0.7 * gap
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        draw_line(sheet.other, corners, width)


def _strikes(rng: np.random.Generator, sheet: Sheet, writer: Writer) -> None:
    """Draw lines beside the digits: bars of tables, brackets, lines between columns."""
    rows, columns = sheet.ink.shape
    left, top, right, bottom = _around(sheet, rng, 0)
    width = max(_pen(sheet, writer) * rng.uniform(0.3, 1.1), 0.5)
    for side in rng.permutation(4)[: rng.integers(1, 3)]:
        gap = rng.uniform(0.15, 0.6) * sheet.height
        lean = rng.normal(0, 0.04) * sheet.height
        x = (left - gap, right + gap)[side % 2]
        y = (top - gap, bottom + gap)[side % 2]
        reach = rng.uniform(-0.2, 0.6, 2) * sheet.height
        ends = [(x, top - reach[0]), (x + lean, bottom + reach[1])]
        if side >= 2:
            ends = [(left - reach[0], y), (right + reach[1], y + lean)]
        if 0 < ends[0][0] < columns and 0 < ends[0][1] < rows:
            draw_line(sheet.other, ends, width)
