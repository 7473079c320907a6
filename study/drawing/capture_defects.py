"""MNIST's digits made worse, to test the preparation: small, moved, noisy, badly lit.

Each function takes one digit, uint8 (28, 28) with bright ink, and returns a uint8 picture.
"""

import io

import numpy as np
from PIL import Image
from scipy import ndimage


def as_it_is(digit: np.ndarray) -> np.ndarray:
    """Return the digit itself."""
    return digit


def shrunk(digit: np.ndarray) -> np.ndarray:
    """Shrink it to a height of 14 pixels, in the middle of 28x28."""
    box = Image.fromarray(digit)
    box = box.crop(box.getbbox())
    width = max(1, round(box.width * 14 / box.height))
    picture = Image.new("L", (28, 28))
    small = box.resize((width, 14), Image.Resampling.BILINEAR)
    picture.paste(small, (max(0, (28 - width) // 2), 7))
    return np.asarray(picture)


def in_a_corner(digit: np.ndarray) -> np.ndarray:
    """Move it until its ink touches the top and the left edge."""
    left, top, _, _ = Image.fromarray(digit).getbbox()
    return np.roll(digit, (-top, -left), axis=(0, 1))


def enlarged(digit: np.ndarray, side: int = 300) -> np.ndarray:
    """Enlarge it to ``side`` x ``side`` pixels."""
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BILINEAR))


def inverted(digit: np.ndarray) -> np.ndarray:
    """Show it in dark ink on white."""
    return 255 - digit


def on_grey_paper(digit: np.ndarray) -> np.ndarray:
    """Show it in dark ink on grey paper with a fine texture."""
    texture = np.random.default_rng(int(digit.sum())).normal(0, 6, digit.shape)
    return (170 + texture - digit * 0.5).clip(0, 255).astype(np.uint8)


def unevenly_lit(digit: np.ndarray) -> np.ndarray:
    """Show it on paper that is half as bright in one corner as in the opposite corner."""
    rows, columns = np.indices(digit.shape)
    light = 1 - 0.5 * (rows + columns) / (rows + columns).max()
    return (light * (240 - digit * 0.7)).astype(np.uint8)


def eroded(digit: np.ndarray) -> np.ndarray:
    """Make its strokes thinner: erode it with a 3x3 window at 84x84 pixels."""
    return ndimage.grey_erosion(enlarged(digit, 84), size=(3, 3))


def dilated(digit: np.ndarray) -> np.ndarray:
    """Make its strokes thicker: dilate it with a 3x3 window at 84x84 pixels."""
    return ndimage.grey_dilation(enlarged(digit, 84), size=(3, 3))


def as_jpeg(digit: np.ndarray) -> np.ndarray:
    """Save it as a JPEG of quality 50, and read it again."""
    file = io.BytesIO()
    Image.fromarray(digit).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


DEFECTS = (
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
