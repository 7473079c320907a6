"""Which pixels of a picture are ink.

Every number below was chosen on training images.
"""

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from .levels import LEAST_CONTRAST, thumbnail

PAPER_WINDOW = 0.5  # of the shorter side: a square of this size that is all dark is a shadow
NOISE_WIDTHS = 3.5  # standard deviations of the paper's texture that still count as paper
STROKE = 0.3  # of full ink: what belongs to a stroke
SPECK = 0.04  # of all ink: a piece with less is dirt
PALE = 0.7  # of full ink: a piece that is nowhere darker is a shadow


def ink_of(grey: np.ndarray) -> np.ndarray:
    """Return how much ink each pixel has, 0 to 1; all 0 if nothing stands out from the paper.

    Args:
        grey: grey levels, float32 (height, width), 0 to 255.
    """
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
    """Return the ink of an image too small for shadows, texture or specks: the rarer level."""
    low, high = grey.min(), grey.max()
    if high - low < LEAST_CONTRAST:
        return np.zeros_like(grey)
    share = (grey - low) / (high - low)
    return share if share.mean() < 0.5 else 1 - share


def _light(grey: np.ndarray) -> np.ndarray:
    """Return how light the paper is, judged by the edge of the picture, most of which is paper.

    A surface is fitted to the edge: flat, then sloped, then curved. Each fit after the first leaves
    out the half that the previous one fitted worst, since it may be ink.
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
    # The picture is mirrored at its edges, so a window there sees only what is inside.
    paper = ndimage.grey_closing(small, window)
    paper = ndimage.gaussian_filter(paper, window / 6, mode="nearest")
    return np.asarray(Image.fromarray(paper).resize(level.shape[::-1], Image.Resampling.BILINEAR))


def without_specks(ink: np.ndarray) -> np.ndarray:
    """Drop separate pieces with little of the ink, 0 to 1, and those as pale as a shadow."""
    reach = 1 + max(ink.shape) // 80  # bridges the gaps in a faint line
    near = ndimage.maximum_filter(ink > STROKE, 2 * reach + 1)
    pieces, _ = ndimage.label(near)
    masses = np.bincount(pieces.ravel(), ink.ravel())
    kept = masses >= SPECK * masses.sum()
    kept &= np.bincount(pieces[ink >= PALE], minlength=len(kept)) > 0
    kept[0] = False  # the paper
    return ink * kept[pieces]
