"""Take out of a picture what lies under or beside the ink: tables, shadows, ruled lines, folds.

All of it reaches the edge of the picture, as ink hardly ever does. Every number was chosen on
scenes of training digits and handwriting. Levels are grey levels, float32 (height, width), from 0
to 255.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image
from scipy import ndimage

from .levels import EIGHT, LEAST_CONTRAST, thumbnail

LEAST_SIZE = 96  # pixels, longer side: in smaller pictures, edges and lines are too coarse
WINDOW = 0.3  # of the side: no stroke is as wide as a square of this size, but tables are
EDGE_RATIO = 1.12  # of the light on both sides of an edge; a smooth change is not an edge
FOLDED = 0.8  # of the sheet's light: the other half of a folded sheet is not as dark
TABLE = 0.45  # of the sheet's light: no shadow is as dark
MOST_INK = 0.2  # of the picture; with more, it is not a sheet with writing
SMALL = 0.25  # of the picture: darker parts below this may be ink along the border
RIM = 4  # pixels: the sheet's own edge and its shadow
INK = 0.8  # of the paper's light: darker pixels may be ink
SLOPES = np.linspace(-0.11, 0.11, 45)  # of lines, against the side of the picture
LINE_SHARE = 0.2  # of a line's length may be lighter than the line: noise, and where it ends
LINE_WIDTH = 6  # pixels from the middle of a line to its edge, at most
MARGIN = np.s_[LINE_WIDTH:-LINE_WIDTH, LINE_WIDTH:-LINE_WIDTH]
LEAST_INK, FAINT = 0.002, 0.4  # less of the picture, or paler than a line, is left over from it
INK_ON_LINE = 1.9  # of a line's darkness: where it is darker, ink runs along it
INK_ON_FOLD = 3  # the same for folds, which are not as even
EVEN = 0.25  # of a line's darkness: its palest stretches
LEAST_LINE = 4  # grey levels between a line and its paper
REGULAR = 3  # this many lines are a pattern; fewer are folds, if nothing else reaches the border


def has_plain_border(level: np.ndarray) -> bool:
    """Tell whether the picture ends in the same paper on all sides, like a drawing."""
    return np.ptp(np.concatenate(_borders(level))) < LEAST_CONTRAST


def evened(level: np.ndarray) -> np.ndarray:
    """Give sheet, shadows and table the same light where there is a sharp edge between them.

    The picture is divided by its paper (see ``_without_strokes``). If no ink crosses the edge, it
    is the edge of the sheet, and what lies beyond becomes paper. Without an edge, or if ink touches
    the edge of a dark strip (which then may be ink itself, like the bar of a 7 that fills the
    picture), nothing changes.
    """
    if max(level.shape) < LEAST_SIZE or not _has_sheet(level):
        return level
    smooth = ndimage.gaussian_filter(level, 0.7).clip(1)
    paper = _without_strokes(smooth)
    light = smooth / paper
    near, crossed, touched = _at_edges(light < INK, paper)
    on_light, dark = _is_light(paper), paper < TABLE * paper.max()
    if touched and (dark.any() or (~on_light).mean() < SMALL):
        return level
    beyond = dark
    if not crossed:
        light[near] = 1
    if not crossed and paper.min() < FOLDED * paper.max():
        written = np.where((light < INK) & ~near & ~dark, 1 - light, 0)
        inks = written[on_light].sum(), written[~on_light].sum()
        areas = on_light.sum(), (~on_light).sum()
        sheet = on_light if (inks[0], areas[0]) >= (inks[1], areas[1]) else ~on_light
        beyond = beyond | ~sheet
    light[ndimage.binary_dilation(beyond, EIGHT, iterations=RIM)] = 1
    return (light * paper.max()).clip(0, level.max())


def _has_sheet(level: np.ndarray) -> bool:
    """Whether there are two kinds of paper with a sharp edge between them."""
    coarse, plain = thumbnail(level, 64), has_plain_border(level)
    if plain and (np.abs(coarse - coarse[0, 0]) > LEAST_CONTRAST).mean() < SMALL:
        return False  # a drawing: this saves a millisecond
    paper = _without_strokes(coarse).clip(1)
    if not _edges(paper, 3).any():
        return False
    on_light = _is_light(paper)
    bright = coarse**2 > paper.min() * paper.max()
    if (bright != on_light).mean() > MOST_INK or not _reaches_corners(~on_light):
        return False
    if not plain:
        return True
    # Light ink on dark paper looks like a sheet on a table, except for its outline.
    sheet = on_light != on_light[0, 0]
    filled = ndimage.binary_fill_holes(bright == on_light[sheet][0]) if sheet.any() else sheet
    written = filled & sheet & (bright != on_light)
    return bool(filled.mean() > SMALL and written.any() and _is_rectangle(filled))


def _reaches_corners(mask: np.ndarray) -> bool:
    """Whether each part of a mask that reaches the border has a corner: it ends in a long edge."""
    parts, _ = ndimage.label(mask)
    corners = parts[[0, 0, -1, -1], [0, -1, 0, -1]]
    return set(np.concatenate(_borders(parts))) <= {0, *corners}


def _is_rectangle(mask: np.ndarray) -> bool:
    """Whether a mask fills a rectangle, which may be turned a little."""
    y, x = np.nonzero(mask)
    turns = np.radians(np.arange(-12, 13, 2))[:, None]
    spans = [
        np.ptp(np.cos(turns) * one + np.sin(turns) * other, axis=1) + 1
        for one, other in ((x, y), (y, -x))
    ]
    return len(x) / (spans[0] * spans[1]).min() > 0.9


def _without_strokes(level: np.ndarray) -> np.ndarray:
    """The light of the paper: everything narrower than ``WINDOW`` removed, dark or light.

    A closing and an opening keep straight edges as they are. Beyond its border the picture is
    continued as it ends, so that a strip of table is also as wide as a window.
    """
    window = _window(level)
    wide = np.pad(level, window, mode="edge")
    wide = ndimage.grey_opening(ndimage.grey_closing(wide, window), window)
    return wide[window:-window, window:-window]


def _window(level: np.ndarray) -> int:
    return 2 * round(WINDOW * sum(level.shape) / 4) + 1


def _edges(paper: np.ndarray, size: int) -> np.ndarray:
    """Where the light changes within ``size`` pixels."""
    low, high = ndimage.minimum_filter(paper, size), ndimage.maximum_filter(paper, size)
    return (high > EDGE_RATIO * low) & (high - low > LEAST_CONTRAST)


def _at_edges(ink: np.ndarray, paper: np.ndarray) -> tuple[np.ndarray, bool, bool]:
    """What is near edges, and how ink meets them: crossing them, or from the lighter side only."""
    edges = _edges(paper, 5)
    near, wide = (ndimage.binary_dilation(edges, EIGHT, iterations=n) for n in (RIM, 2 * RIM))
    size = 8 * RIM + 1
    low, high = ndimage.minimum_filter(paper, size), ndimage.maximum_filter(paper, size)
    lighter = paper**2 > low * high
    pieces, count = ndimage.label(ink & wide, EIGHT)
    on_light, on_dark, touching = (
        np.bincount(pieces[where], minlength=count + 1)[1:] > 0
        for where in (lighter & ~near, ~lighter & ~near, edges)
    )
    crossed = on_light & on_dark
    return near, bool(crossed.any()), bool((touching & on_light & ~crossed).any())


def _is_light(paper: np.ndarray) -> np.ndarray:
    """What is nearer to the lightest paper than to the darkest."""
    return paper**2 > max(paper.min(), 1) * paper.max()


def unlined(level: np.ndarray) -> np.ndarray:
    """Remove straight dark lines from border to border: ruled and squared paper, folds.

    Where ink crosses a line, it is continued from one side to the other.
    """
    if max(level.shape) < LEAST_SIZE or has_plain_border(level):
        return level
    # Mirrored at its edges, so that a line there does not look as wide as a table.
    paper = ndimage.grey_closing(level, _window(level))
    darkness = paper - level
    rows, columns = _Lines.find(darkness), _Lines.find(darkness.T)
    count = len(rows.bands) + len(columns.bands)
    if count == 0 or (count < REGULAR and _ink_at_border(level, rows, columns)):
        return level
    regular = count >= REGULAR
    ink_on_line = INK_ON_LINE if regular else INK_ON_FOLD
    darkness = rows.erased(darkness, columns.drawn(level.shape[::-1]).T, ink_on_line)
    darkness = columns.erased(darkness.T, np.zeros(level.shape[::-1]), ink_on_line).T
    if regular:  # there may be more that are cut off
        darkness = np.pad(darkness[MARGIN], LINE_WIDTH)
    if np.quantile(darkness, 1 - LEAST_INK) < FAINT * max(rows.darkest, columns.darkest):
        return np.full_like(level, paper.max())
    return paper.max() - darkness


@dataclass(frozen=True)
class _Lines:
    """Parallel lines, nearly level.

    Attributes:
        bands: first and last row of each, before the shift.
        wholes: darkness of each line, summed over its rows and two more on either side.
        strength: darkness of each row, before the shift.
        shift: to be added to a row, by column, (width,).
    """

    bands: list[tuple[int, int]]
    wholes: list[float]
    strength: np.ndarray
    shift: np.ndarray

    @classmethod
    def find(cls, darkness: np.ndarray) -> Self:
        """Find the slope along which most darkness lies in rows, and the rows."""
        height, width = darkness.shape
        num_strips = min(32, width)
        strips = Image.fromarray(darkness).resize((num_strips, height), Image.Resampling.BOX)
        strips = np.asarray(strips)
        x = (np.arange(num_strips) + 0.5) * width / num_strips - width / 2
        beyond = math.ceil(SLOPES.max() * width / 2)  # lines that only a part of the picture has
        shifts = np.round(SLOPES[:, None, None] * x).astype(int)
        rows = np.arange(-beyond, height + beyond)[:, None] + shifts
        inside = (rows >= 0) & (rows < height)
        num_inside = inside.sum(2)
        # A thin line lies in one row of pixels or half in each of two; blurred, both are alike.
        blurred = ndimage.gaussian_filter1d(strips, 0.7, axis=0)
        sheared = blurred[rows.clip(0, height - 1), np.arange(num_strips)]
        profiles = _quantile(sheared, inside, LINE_SHARE)
        profiles[num_inside < 0.8 * num_strips] = 0
        profiles -= ndimage.grey_opening(profiles, (1, 2 * LINE_WIDTH + 3))
        best = (profiles**2).sum(1).argmax()
        sheared = strips[rows[best].clip(0, height - 1), np.arange(num_strips)]
        strength = _quantile(sheared, inside[best], 0.6)
        strength -= ndimage.grey_opening(strength, 2 * LINE_WIDTH + 3)
        shift = np.round(SLOPES[best] * (np.arange(width) + 0.5 - width / 2)).astype(int) - beyond
        bands = _bands(profiles[best], strength)
        wholes = []
        for first, last in bands:
            across = slice(max(first - 2, 0), last + 3)
            whole = np.where(inside[best, across], sheared[across], 0).sum(0)
            wholes.append(float(np.quantile(whole, 0.4)))
        return cls(bands, wholes, strength, shift)

    @property
    def darkest(self) -> float:
        """Return the darkness of their darkest row."""
        return max((self.strength[a : b + 1].max() for a, b in self.bands), default=0.0)

    def drawn(self, shape: tuple[int, int]) -> np.ndarray:
        """Return how dark they make each pixel of a picture."""
        in_bands = np.zeros_like(self.strength)
        for first, last in self.bands:
            in_bands[first : last + 1] = self.strength[first : last + 1]
        return in_bands[np.arange(shape[0])[:, None] - self.shift]

    def erased(self, darkness: np.ndarray, others: np.ndarray, ink_on_line: float) -> np.ndarray:
        """Return darkness without them; ink that goes on beyond a line, or makes it darker, stays.

        Args:
            darkness: (height, width).
            others: the same for the lines that cross these.
            ink_on_line: where it is this many times darker than a line, there is ink.
        """
        darkness = darkness.copy()
        height, width = darkness.shape
        columns = np.arange(width)
        for (first, last), line in zip(self.bands, self.wholes, strict=True):
            rows = np.arange(first - 2, last + 3)[:, None] + self.shift
            inside = (rows >= 0) & (rows < height)
            old = np.where(inside, darkness[rows.clip(0, height - 1), columns], 0)
            through = np.max(
                [np.minimum(np.roll(old[0], s), np.roll(old[-1], -s)) for s in range(-2, 3)], axis=0
            )
            # Written along the line: it is darker than a line, all across.
            more = old - others[rows.clip(0, height - 1), columns]
            whole = ndimage.uniform_filter1d(more.sum(0), 3)
            kept = whole > ink_on_line * line
            new = np.where(kept, old, np.minimum(old, through))[1:-1]
            places = rows[1:-1][inside[1:-1]], np.broadcast_to(columns, new.shape)[inside[1:-1]]
            darkness[places] = new[inside[1:-1]]
        return darkness


def _quantile(values: np.ndarray, inside: np.ndarray, share: float) -> np.ndarray:
    """Along the last axis, of the values inside the picture; 0 where none is."""
    ordered = np.sort(np.where(inside, values, np.inf), axis=-1)
    place = (share * (inside.sum(-1, keepdims=True) - 1)).clip(0).astype(int)
    quantile = np.take_along_axis(ordered, place, -1)[..., 0]
    return np.where(np.isfinite(quantile), quantile, 0)


def _bands(profile: np.ndarray, strength: np.ndarray) -> list[tuple[int, int]]:
    """The first and last rows of the lines, from how dark most of each row is, and its middle."""
    least = max(LEAST_LINE, 0.25 * profile.max(), 7 * np.median(profile))
    # Where the paper shows through for a stretch, it was no line.
    least = np.maximum(least, EVEN * strength)
    peaks = (profile >= least) & (profile == ndimage.maximum_filter1d(profile, 2 * LINE_WIDTH + 1))
    bands: list[tuple[int, int]] = []
    for peak in np.flatnonzero(peaks).tolist():
        inside = strength >= 0.15 * strength[peak]
        first = last = peak
        while first > max(peak - LINE_WIDTH, 1) and inside[first - 1]:
            first -= 1
        while last < min(peak + LINE_WIDTH, len(profile) - 2) and inside[last + 1]:
            last += 1
        if not bands or first > bands[-1][1] + 1:
            bands.append((first, last))
    return bands


def _ink_at_border(level: np.ndarray, rows: _Lines, columns: _Lines) -> bool:
    """Whether more than a few lines reaches the border, or a line runs along it: a close crop."""
    ends = []
    for lines, length in zip((rows, columns), level.shape, strict=True):
        margin, middle = 0.06 * length, round(lines.shift.mean())
        if any(
            first + middle < margin or last + middle >= length - margin
            for first, last in lines.bands
        ):
            return True
        mask = np.zeros((2, length), bool)
        for first, last in lines.bands:
            for side, shift in enumerate((lines.shift[0], lines.shift[-1])):
                mask[side, max(first + shift - 3, 0) : max(last + shift + 4, 0)] = True
        ends.append(mask)
    strength = max(rows.darkest, columns.darkest)
    smooth = ndimage.gaussian_filter(level, 1.5)
    left, right, top, bottom = (ndimage.black_tophat(side, 61) for side in _borders(smooth))
    dark = left[~ends[0][0]], right[~ends[0][1]], top[~ends[1][0]], bottom[~ends[1][1]]
    return bool((np.concatenate(dark) > max(0.5 * strength, LEAST_CONTRAST)).mean() > 0.01)


def _borders(level: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outermost pixels: left, right, top, bottom."""
    return level[:, 0], level[:, -1], level[0], level[-1]
