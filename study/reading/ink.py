"""Which pixels of a picture are ink, and which of that ink is the digit.

Every number below was chosen on training images.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from .paper import LEAST_CONTRAST, thumbnail

PAPER_WINDOW = 0.5  # of the shorter side: a square of this size that is all dark is a shadow
NOISE_WIDTHS = 3.5  # standard deviations of the paper's texture that still count as paper
STROKE, TRACE = 0.3, 0.15  # of full ink: what belongs to a stroke; what can close a frame
SPECK = 0.04  # of all ink: a piece with less is dirt
PALE = 0.7  # of full ink: a piece that is nowhere darker is a shadow
DIGIT_IN_FRAME = 0.38  # of a frame's height: what is lower is a dot in a 0, or a mouth in a face
DOT_IN_RING = 0.6  # the same for a solid blob
ONE_IN_CIRCLE = 0.5, 0.6  # of a ring's height: a slash through a 0 is higher, a dot lower
HEIGHT_IN_FORM = 0.12  # of all that is drawn: what is lower is no digit
PIECE = 0.002  # of all ink: what has less is no piece of anything
SMALL_PRINT = 0.34  # of the digit's height: letters of a form are lower
EIGHT = np.ones((3, 3))  # neighbours of a pixel


def ink_of(grey: np.ndarray) -> np.ndarray:
    """How much ink each pixel has, 0 to 1; all 0 if nothing stands out from the paper."""
    # A blur removes the texture of the paper and spares the strokes; small images get none.
    grey = ndimage.gaussian_filter(grey, max(grey.shape) // 100 / 3)
    level = (grey - _light(grey)).astype(np.float32)
    if (thumbnail(level, 32) ** 3).sum() > 0:  # what differs most from the paper is lighter
        level = -level
    darkness = _paper(level) - level
    # The paper's texture is assumed normal: a quarter of it lies below -0.67 standard deviations, a
    # twentieth below -1.64. Quantiles this low are paper even if ink covers half the picture.
    low, quarter = np.quantile(darkness, (0.05, 0.25))
    darkness = darkness - quarter - (0.67 + NOISE_WIDTHS) * (quarter - low)
    strong = darkness[darkness > max(darkness.max() / 2, LEAST_CONTRAST)]
    if len(strong) == 0:
        return np.zeros_like(grey)
    return (darkness / np.median(strong)).clip(0, 1)


def ink_of_thumbnail(grey: np.ndarray) -> np.ndarray:
    """The same for an image too small for shadows, texture or specks: the rarer level is ink."""
    low, high = grey.min(), grey.max()
    if high - low < LEAST_CONTRAST:
        return np.zeros_like(grey)
    share = (grey - low) / (high - low)
    return share if share.mean() < 0.5 else 1 - share


def _light(grey: np.ndarray) -> np.ndarray:
    """How light the paper is, judged by the edge of the picture, most of which is paper.

    A surface is fitted to the edge: flat, then sloped, then curved. Each fit after the first leaves
    out the half that fitted the previous one worst, since it may be ink.
    """
    levels = thumbnail(grey, 32)
    edge = np.ones(levels.shape, bool)
    edge[1:-1, 1:-1] = False
    terms, levels = _terms(levels.shape)[edge.ravel()], levels[edge]
    misfit = levels - np.median(levels)
    for num_terms in (3, 6):
        fitting = np.argsort(np.abs(misfit))[: len(levels) // 2 + 1]
        weights = np.linalg.lstsq(terms[fitting, :num_terms], levels[fitting], rcond=None)[0]
        misfit = levels - terms[:, :num_terms] @ weights
    return (_terms(grey.shape) @ weights).reshape(grey.shape).clip(grey.min(), grey.max())


@lru_cache(maxsize=8)
def _terms(shape: tuple[int, int]) -> np.ndarray:
    """1, x, y and their products at the centre of each pixel: (pixels, 6)."""
    y, x = (np.indices(shape).reshape(2, -1) + 0.5) / np.array(shape)[:, None]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _paper(level: np.ndarray) -> np.ndarray:
    """The paper with its dark ink removed: uneven light, shadows and stains remain.

    This is a morphological closing: only what is dark over a whole window stays dark.
    """
    small = thumbnail(level, 64)  # shrinking averages the paper's texture away
    window = 2 * round(PAPER_WINDOW * min(small.shape) / 2) + 1
    # The picture is mirrored at its edges, so a window there sees what it would if it ended there.
    paper = ndimage.grey_closing(small, window)
    paper = ndimage.gaussian_filter(paper, window / 6, mode="nearest")
    return np.asarray(Image.fromarray(paper).resize(level.shape[::-1], Image.Resampling.BILINEAR))


def without_frame(ink: np.ndarray) -> np.ndarray:
    """Keep what stands in a closed line: a printed box, or a circle round the digit.

    A 0 has nothing in it, or a dot, or a slash; a face has nothing so high as a digit.
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
        # A frame with gaps, in several pieces, is not in itself.
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
    """Drop an underline, and a line of words above or below the digit, which is far higher."""
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
    # With the pale rim of its strokes.
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


def without_specks(ink: np.ndarray, several: bool = False) -> np.ndarray:
    """Drop separate pieces with little of the ink, and those as pale as a shadow.

    Args:
        ink: 0 to 1, (height, width).
        several: it may be a number, in which a 1 has little of the ink: nothing high is a speck.
    """
    reach = 1 + max(ink.shape) // 80  # bridges the gaps in a faint line
    near = ndimage.maximum_filter(ink > STROKE, 2 * reach + 1)
    pieces, _ = ndimage.label(near)
    masses = np.bincount(pieces.ravel(), ink.ravel())
    kept = masses >= SPECK * masses.sum()
    if several:
        heights = [0] + [box[0].stop - box[0].start for box in ndimage.find_objects(pieces)]
        kept |= np.array(heights) >= 0.5 * max(heights)
    kept &= np.bincount(pieces[ink >= PALE], minlength=len(kept)) > 0
    kept[0] = False  # the paper
    return ink * kept[pieces]
