"""Take what is printed or drawn around a digit out of the ink: frames, underlines, words.

Every number below was chosen on training images.
"""

import math

import numpy as np
from scipy import ndimage

from .ink import STROKE
from .levels import EIGHT

TRACE = 0.15  # of full ink: what can close a frame
DIGIT_IN_FRAME = 0.38  # of a frame's height: a lower piece is a dot in a 0, or a mouth in a face
DOT_IN_RING = 0.6  # the same for a solid blob
ONE_IN_CIRCLE = 0.5, 0.6  # of a ring's height: a slash through a 0 is higher, a dot lower
HEIGHT_IN_FORM = 0.12  # of all that is drawn: a lower piece is not a digit
PIECE = 0.002  # of all ink: a piece with less does not count
SMALL_PRINT = 0.34  # of the digit's height: letters of a form are lower


def without_frame(ink: np.ndarray) -> np.ndarray:
    """Keep what stands in a closed line: a printed box, or a circle round the digit.

    A 0 has nothing in it, or a dot, or a slash; a face has nothing as high as a digit.
    """
    for trace, stroke in ((TRACE, STROKE), (0.5, 0.6)):  # a narrow gap is grey
        inside = _frame(ink, trace, stroke)
        if inside is not None:
            return ink * inside
    return ink


def _frame(ink: np.ndarray, trace: float, stroke: float) -> np.ndarray | None:
    """The inside of a closed line with a digit in it, bool like ``ink``; None if there is none."""
    pieces, count = ndimage.label(ink > stroke, EIGHT)
    if count < 2:
        return None
    gaps, _ = ndimage.label(ink <= trace)
    outside = np.unique(np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]]))
    masses = np.bincount(pieces.ravel(), ink.ravel())[1:]
    boxes = ndimage.find_objects(pieces)
    least = HEIGHT_IN_FORM * np.ptp(np.flatnonzero(pieces.any(1)))
    for number in np.argsort(masses)[::-1][:8]:
        piece = pieces[boxes[number]] == number + 1
        if piece.shape[0] < least:
            continue
        around = _gap_above(gaps, boxes[number], piece)
        if around == 0 or around in outside:
            continue
        (room,) = ndimage.find_objects((gaps == around).astype(int))
        filled = ndimage.binary_fill_holes(gaps[room] == around)
        inside = np.zeros(ink.shape, bool)
        inside[room] = filled
        # A frame with gaps consists of several pieces, and none is inside it.
        within = inside[boxes[number]][piece].all()
        if within and not (_is_dot(piece, filled) or _is_slash(piece, filled)):
            return inside
    return None


def _gap_above(gaps: np.ndarray, box: tuple[slice, slice], piece: np.ndarray) -> int:
    """The number of the gap over a piece's highest pixel; 0 if there is none."""
    column = box[1].start + piece[0].argmax()
    above = gaps[: box[0].start, column]
    above = above[above > 0]
    return int(above[-1]) if len(above) else 0


def _is_dot(piece: np.ndarray, inside: np.ndarray) -> bool:
    """Whether a piece in a ring is too low for a digit in a frame: a dot in a 0, a mouth."""
    low, high = sorted(piece.shape)
    solid = low > 0.45 * high and piece.mean() > 0.6  # unlike any digit
    return piece.shape[0] < (DOT_IN_RING if solid else DIGIT_IN_FRAME) * inside.shape[0]


def _is_slash(piece: np.ndarray, inside: np.ndarray) -> bool:
    """Whether a piece in a narrow ring makes a slashed or dotted 0 of it; a 1 is upright."""
    y, x = np.nonzero(piece)
    along = np.polyfit(y, x, 1)
    misfit = np.abs(x - np.polyval(along, y)).mean()
    straight = misfit < 0.12 * piece.shape[0]
    height = inside.shape[0]
    width = inside.sum() / (math.pi / 4 * height)  # of an ellipse, however slanted
    narrow = inside.mean() < 0.88 and width < 0.75 * height
    low, high = ONE_IN_CIRCLE
    is_one = low <= piece.shape[0] / height <= high
    return bool(straight and abs(along[0]) > 0.2 and narrow and not is_one)


def without_print(ink: np.ndarray) -> np.ndarray:
    """Drop an underline, and a line of words above or below the digit, which is much higher."""
    pieces, count = ndimage.label(ink > STROKE, EIGHT)
    if count < 2:
        return ink
    masses = np.bincount(pieces.ravel(), ink.ravel())
    masses[0] = 0  # the paper
    numbers = np.flatnonzero(masses > PIECE * masses.sum())
    if len(numbers) < 2:
        return ink
    found = ndimage.find_objects(pieces)
    # top, left, bottom, right
    boxes = np.array(
        [[s.start for s in found[n - 1]] + [s.stop for s in found[n - 1]] for n in numbers]
    )
    heights = boxes[:, 2] - boxes[:, 0]
    digit = heights.argmax()
    (top, _, bottom, _), height = boxes[digit], heights[digit]
    dropped = _underlines(boxes, digit, ink.shape)
    low = heights <= SMALL_PRINT * height
    for words in (
        low & (boxes[:, 2] < top - 0.06 * height),
        low & (boxes[:, 0] > bottom + 0.06 * height),
    ):
        if _in_a_row(boxes[words]):
            dropped |= words
    if not dropped.any():
        return ink
    gone = np.isin(pieces, numbers[dropped])
    # The pale rim of its strokes goes, too.
    rim = ndimage.binary_dilation(gone, EIGHT, iterations=2) & (pieces == 0)
    return np.where(gone | rim, 0, ink)


def _in_a_row(boxes: np.ndarray) -> bool:
    """Whether pieces are a line of words: three or more, or two beside each other."""
    if len(boxes) != 2:
        return len(boxes) > 2
    (_, left, _, right), (_, other_left, _, other_right) = boxes
    return bool(right <= other_left or other_right <= left)


def _underlines(boxes: np.ndarray, digit: int, shape: tuple[int, int]) -> np.ndarray:
    """Which boxes are flat lines below the digit that end within the picture."""
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    if heights[digit] < 0.75 * widths[digit]:
        return np.zeros(len(boxes), bool)
    top, height = boxes[digit, 0], heights[digit]
    return (
        (boxes[:, 0] > top + 0.9 * height)
        & (heights <= 0.3 * widths)
        & (widths >= 0.25 * height)
        & (boxes[:, 1] > 0)
        & (boxes[:, 3] < shape[1])
    )
