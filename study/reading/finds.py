"""Maps of ink and cores -> digits: whose ink is whose.

Ink goes to the nearest core; a connected piece goes to one digit, unless digits touch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .levels import EIGHT

CORE, PEAK = 0.6, 0.7  # probabilities: all over a core, and at its best place
LEAST_CORE = 4  # pixels
STROKE = 0.4  # probability: what belongs to a stroke
RIM = 0.15  # the same for the pale edge of a stroke
REACH = 0.8  # of a core's height: a piece that is further away belongs to no digit
ONE_OWNER = 0.85  # of a piece's ink: a core that has this share gets all of it
LEAST_INK = 5  # pixels of strokes in a digit
DIGIT = 1.7  # height of a digit, in heights of its core
AROUND = 0.7  # of a digit's height: how far around a pixel its paper is looked for
LEAST_HEIGHT = 0.55  # of a digit: a piece without a core that is lower is not a digit
DARK = 0.4  # of full ink: what may be a line around something
GAP = 0.02  # of its width or height: a frame with wider gaps is open
SOLID = 0.5  # of its box: a piece with more ink is not a line around something
INSIDE = 0.25  # of the height of what is around it: less is dirt in a 0


@dataclass
class Find:
    """A find: what may be a digit.

    Attributes:
        ink: float32 (height, width), 0 to 1: how much ink each pixel of its box has.
        left, top: of the box, in pixels of the map.
        core: the mean probability of its core; of a piece that has none, the highest in its box.
        contrast: of its ink with the paper, in grey levels.
    """

    ink: np.ndarray
    left: int
    top: int
    core: float
    contrast: float

    @property
    def right(self) -> int:
        """Return the right side of the box, in pixels of the map."""
        return self.left + self.ink.shape[1]

    @property
    def bottom(self) -> int:
        """Return the bottom of the box, in pixels of the map."""
        return self.top + self.ink.shape[0]

    @property
    def height(self) -> int:
        """Return the height of the box, in pixels."""
        return self.ink.shape[0]

    @property
    def width(self) -> int:
        """Return the width of the box, in pixels."""
        return self.ink.shape[1]

    def part(self, ink: np.ndarray) -> "Find":
        """Return the find with only some of its ink, (height, width), cropped."""
        rows, columns = (np.flatnonzero((ink > 0.1).any(axis)) for axis in (1, 0))
        cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        corner = self.left + int(columns[0]), self.top + int(rows[0])
        return Find(cropped, *corner, self.core, self.contrast)

    def joined(self, other: "Find") -> "Find":
        """Return both finds as one."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        shape = max(self.bottom, other.bottom) - top, max(self.right, other.right) - left
        ink = np.zeros(shape, np.float32)
        for find in (self, other):
            rows = slice(find.top - top, find.bottom - top)
            columns = slice(find.left - left, find.right - left)
            np.maximum(ink[rows, columns], find.ink, out=ink[rows, columns])
        core, contrast = max(self.core, other.core), max(self.contrast, other.contrast)
        return Find(ink, left, top, core, contrast)


def grouped(level: np.ndarray, ink: np.ndarray, core: np.ndarray) -> list[Find]:
    """Return the digits that maps show.

    Args:
        level: grey levels (height, width).
        ink, core: probabilities, of the same shape.
    """
    cores, count = _cores(core)
    if not count:
        return []
    heights = np.array([0, *(box[0].stop - box[0].start for box in ndimage.find_objects(cores))])
    height = DIGIT * float(np.median(heights[1:]))
    share = _shares(level, ink, height)
    ink = np.where(_around_others(share, ink, height), 0, ink)
    owners = _owners(ink, cores, heights)
    means = ndimage.mean(core, cores, np.arange(1, count + 1)).tolist()
    for piece, box in _coreless(ink, owners, max(3, int(LEAST_HEIGHT * height))):
        owners[box][piece] = len(means) + 1
        means.append(float(core[box].max()))
    finds = []
    for number, box in enumerate(ndimage.find_objects(owners, len(means)), 1):
        if box is None:
            continue
        mine, pale = owners[box] == number, number > count
        strong = mine & (ink[box] > (RIM if pale else STROKE))
        if strong.sum() < LEAST_INK:
            continue
        own = _scaled(share[box], strong, ink[box], RIM if pale else STROKE) * mine
        if (own > 0.1).any():
            left, top = box[1].start, box[0].start
            contrast = abs(float(np.median(share[box][strong])))
            finds.append(Find(own, left, top, means[number - 1], contrast).part(own))
    return finds


def _cores(core: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the cores, int (height, width); 0 is between them."""
    cores, count = ndimage.label(core > CORE, EIGHT)
    if not count:
        return cores, 0
    good = np.bincount(cores[core > PEAK], minlength=count + 1)[1:] > 0
    good &= np.bincount(cores.ravel())[1:] >= LEAST_CORE
    renumbered = np.concatenate([[0], np.where(good, good.cumsum(), 0)])
    return renumbered[cores], int(good.sum())


def _owners(ink: np.ndarray, cores: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The number of the core that each pixel's ink belongs to; 0 for none."""
    away, nearest = ndimage.distance_transform_edt(cores == 0, return_indices=True)
    closest = cores[tuple(nearest)]
    inside = ink > RIM
    owners = np.where(inside & (away <= REACH * heights[closest] + 2), closest, 0)
    pieces, _ = ndimage.label(ink > STROKE, EIGHT)
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = pieces[box] == number
        votes = np.bincount(owners[box][piece], minlength=len(heights))
        if not votes[1:].any():  # too far from any core
            continue
        best = int(votes[1:].argmax()) + 1
        if votes[best] >= ONE_OWNER * votes[1:].sum():
            owners[box][piece] = best
        else:  # digits that touch share it, up to its ends
            owners[box][piece] = closest[box][piece]
    return owners


def _coreless(
    ink: np.ndarray, owners: np.ndarray, least: int
) -> Iterator[tuple[np.ndarray, tuple[slice, slice]]]:
    """Pieces that belong to no core, as masks in boxes: a thin 1 may have ink alone."""
    pieces, _ = ndimage.label((ink > RIM) & (owners == 0), EIGHT)
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = pieces[box] == number
        if piece.shape[0] >= least and ink[box][piece].max() > STROKE:
            yield piece, box


def _around_others(share: np.ndarray, ink: np.ndarray, height: float) -> np.ndarray:
    """What goes around other ink in one piece: frames and circles, bool like ``ink``.

    Args:
        share: how much darker than the paper each pixel is.
        height: of most digits.
    """
    strong = share[ink > STROKE]
    frames = np.zeros(ink.shape, bool)
    full = np.sign(np.median(strong)) * np.percentile(np.abs(strong), 75) if len(strong) else 0
    if full == 0:  # no ink, or none that is darker or lighter than the paper
        return frames
    pieces, _ = ndimage.label(share / full > DARK, EIGHT)
    boxes = ndimage.find_objects(pieces)
    sides = np.array([[side.stop - side.start for side in box] for box in boxes]).reshape(-1, 2)
    for number in np.flatnonzero(sides.min(1) >= LEAST_HEIGHT * height):
        box = boxes[number]
        piece = pieces[box] == number + 1
        if piece.mean() > SOLID:
            continue
        closed = ndimage.binary_dilation(piece, EIGHT, 1 + int(GAP * sides[number].min()))
        inside = ndimage.binary_fill_holes(closed) & ~closed & (ink[box] > STROKE)
        parts, _ = ndimage.label(inside, EIGHT)
        highest = max(
            (part[0].stop - part[0].start for part in ndimage.find_objects(parts)), default=0
        )
        if highest >= min(INSIDE * piece.shape[0], LEAST_HEIGHT * height):
            frames[box] |= ndimage.binary_dilation(piece, EIGHT)
    return frames


def _shares(level: np.ndarray, ink: np.ndarray, height: float) -> np.ndarray:
    """How much darker each pixel is than the paper around it, in grey levels."""
    level = level.astype(np.float32)
    paper = (ink < 0.1).astype(np.float32) + 1e-4
    size = max(7, round(AROUND * height))
    around = ndimage.uniform_filter(level * paper, size) / ndimage.uniform_filter(paper, size)
    return around - level


def _scaled(darker: np.ndarray, strong: np.ndarray, ink: np.ndarray, least: float) -> np.ndarray:
    """The share of full ink, 0 to 1; ink may be lighter than the paper."""
    sign = np.sign(np.median(darker[strong])) or 1
    full = np.percentile(sign * darker[strong], 75)
    share = sign * darker / full if full > 1 else ink
    return (share.clip(0, 1) * (0.8 * ink / least).clip(0, 1)).astype(np.float32)
