"""MNIST's digits, turned into bad pictures on which the preparation is tested.

Each function takes one digit, uint8 (28, 28) with bright ink, and returns a uint8 picture.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage


def as_it_is(digit: np.ndarray) -> np.ndarray:
    """The digit itself."""
    return digit


def shrunk(digit: np.ndarray) -> np.ndarray:
    """Shrunk to a height of 14 pixels, in the middle of 28x28."""
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(1, round(box.shape[1] * 14 / box.shape[0]))
    small = np.asarray(Image.fromarray(box).resize((width, 14), Image.Resampling.BILINEAR))
    small = small[:, :28]
    picture = np.zeros((28, 28), np.uint8)
    left = (28 - small.shape[1]) // 2
    picture[7:21, left : left + small.shape[1]] = small
    return picture


def in_a_corner(digit: np.ndarray) -> np.ndarray:
    """Moved until its ink touches the top and the left edge."""
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    return np.roll(digit, (-rows[0], -columns[0]), axis=(0, 1))


def enlarged(digit: np.ndarray) -> np.ndarray:
    """Enlarged to 300x300."""
    return np.asarray(Image.fromarray(digit).resize((300, 300), Image.Resampling.BILINEAR))


def inverted(digit: np.ndarray) -> np.ndarray:
    """Dark ink on white."""
    return 255 - digit


def on_grey_paper(digit: np.ndarray) -> np.ndarray:
    """Dark ink on grey paper with a fine texture."""
    texture = np.random.default_rng(int(digit.sum())).normal(0, 6, digit.shape)
    return (170 + texture - digit * 0.5).clip(0, 255).astype(np.uint8)


def unevenly_lit(digit: np.ndarray) -> np.ndarray:
    """Dark ink on paper that is half as bright in one corner as in the opposite corner."""
    rows, columns = np.indices(digit.shape)
    light = 1 - 0.5 * (rows + columns) / (rows + columns).max()
    return (light * (240 - digit * 0.7)).astype(np.uint8)


def eroded(digit: np.ndarray) -> np.ndarray:
    """Thinner strokes: eroded by 3x3 at a size of 84x84."""
    return ndimage.grey_erosion(_at_84(digit), size=(3, 3))


def dilated(digit: np.ndarray) -> np.ndarray:
    """Thicker strokes: dilated by 3x3 at a size of 84x84."""
    return ndimage.grey_dilation(_at_84(digit), size=(3, 3))


def as_jpeg(digit: np.ndarray) -> np.ndarray:
    """Saved as a JPEG of quality 50 and read again."""
    file = io.BytesIO()
    Image.fromarray(digit).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def _at_84(digit: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(digit).resize((84, 84), Image.Resampling.BILINEAR))


DEGRADATIONS = (
    as_it_is,
    shrunk,
    in_a_corner,
    enlarged,
    inverted,
    on_grey_paper,
    unevenly_lit,
    eroded,
    dilated,
    as_jpeg,
)
