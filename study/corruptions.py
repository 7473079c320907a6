"""Damage to test networks on, for measuring how robust they are; no choice is made on it.

The fifteen kinds of MNIST-C (Mu and Gilmer 2019, https://arxiv.org/abs/1906.02337), reimplemented
from the paper's description with the names and the numbers of its authors. Here every image
has its own random numbers, fixed by the image and the kind, so that it comes out the same in
any batch; theirs were drawn once, in the order of the images. There are further differences:

- motion blur is a sum of images shifted by whole pixels (theirs: ImageMagick's, which computes
  the same in 8 bits);
- a shear of 0.4 is the tangent of the angle (theirs: the angle, and the digit is 9% higher);
- dotted lines and zigzags are drawn from column to column as one polyline (theirs: from pieces
  that overlap by a column, in which they are brighter);
- grey levels are rounded (theirs: cut off).
"""

import math
import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import ndimage

SIZE = 28  # pixels per side
MIDDLE = (SIZE - 1) / 2
# Takes an image, float (28, 28) in [0, 1], and random numbers; returns one that may leave [0, 1].
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def damaged(images: np.ndarray, damage: Damage) -> np.ndarray:
    """Return images with one kind of damage, uint8 (N, 28, 28), from images of the same form.

    Args:
        damage: one of ``CORRUPTIONS`` here, or of ``damages.DAMAGES``.
    """
    results = np.empty_like(images)
    for image, result in zip(images, results, strict=True):
        seed = zlib.crc32(damage.__name__.encode() + image.tobytes())
        changed = damage(image / 255, np.random.default_rng(seed))
        result[:] = (255 * changed).clip(0, 255).round()
    return results


def shot_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace grey levels by Poisson counts: full ink is three photons on average."""
    return rng.poisson(3 * image) / 3


def impulse_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Set 17% of the pixels to black or white."""
    return np.where(rng.random(image.shape) < 0.17, rng.integers(0, 2, image.shape), image)


def glass_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by 0.7 pixels, swap neighbouring pixels in two rounds, and blur again."""
    pixels = ndimage.gaussian_filter(image, 0.7, mode="nearest").ravel().tolist()
    places = [SIZE * y + x for y in range(SIZE - 1, 1, -1) for x in range(SIZE - 1, 1, -1)]
    swapped = rng.random((2, len(places))) < 0.5
    neighbours = (rng.integers(0, 2, (2, len(places), 2)) @ (SIZE, 1)).tolist()
    for one_round in range(2):
        for place, swap, back in zip(
            places, swapped[one_round].tolist(), neighbours[one_round], strict=True
        ):
            if swap:
                pixels[place], pixels[place - back] = pixels[place - back], pixels[place]
    return ndimage.gaussian_filter(np.reshape(pixels, image.shape), 0.7, mode="nearest")


def motion_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a trail on one side, half a Gaussian of 3 pixels, within 45 degrees of the rows."""
    angle = rng.uniform(-math.pi / 4, math.pi / 4)
    reach = np.arange(2 * 10 + 1)  # the radius is 10, but the trail takes both its halves
    weights = np.exp(-(reach**2) / (2 * 3**2))
    padded = np.pad(image, len(reach), mode="edge")
    blurred = np.zeros_like(image)
    for weight, distance in zip(weights / weights.sum(), reach, strict=True):
        top = len(reach) + round(distance * math.sin(angle))
        left = len(reach) + round(distance * math.cos(angle))
        blurred += weight * padded[top : top + SIZE, left : left + SIZE]
    return blurred


def shear(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shear to either side: upright strokes lean by 0.4 of their height."""
    return _affine(image, [[1, 0], [rng.choice([-0.4, 0.4]), 1]])


def scale(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shrink the digit to 0.7 of its size."""
    return _affine(image, [[1 / 0.7, 0], [0, 1 / 0.7]])


def rotate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate the digit by 0.4 radians, to either side."""
    angle = rng.choice([-0.4, 0.4])
    cos, sin = math.cos(angle), math.sin(angle)
    return _affine(image, [[cos, -sin], [sin, cos]])


def translate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move the digit by 3 pixels, up or down and to the left or right."""
    return ndimage.shift(image, rng.choice([-3, 3], 2), order=0)


def brightness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add half of full brightness to every pixel."""
    return image + 0.5


def stripe(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Invert the left and the right quarter, so that a dark stripe is left between them."""
    sides = np.r_[:7, 21:28]
    image = image.copy()
    image[:, sides] = 1 - image[:, sides]
    return image


def fog(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add plasma of three times the ink's brightness, and scale the sum back to the ink's."""
    white = image.max()
    return (image + 3 * _plasma(rng, 256, 1.4**2)[:SIZE, :SIZE]) * white / (white + 3)


def spatter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover some places with drops of dark grey."""
    liquid = ndimage.gaussian_filter(rng.normal(0.65, 0.3, image.shape), 1, mode="nearest")
    drops = ndimage.gaussian_filter((liquid > 0.65).astype(float), 1.5, mode="nearest")
    drops[drops < 0.8] = 0
    return image * (1 - drops) + 63 / 255 * drops


def dotted_line(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a straight line from edge to edge, leaving out two columns of every four."""
    line = _line([0, SIZE - 1], rng.integers(0, 27, 2))
    line[:, np.arange(SIZE) % 4 < 2] = 0
    return image + line


def zigzag(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a zigzag, 2 pixels to either side of a nearly level line, with a turn every 4 pixels."""
    first, last = 2, 25
    start = rng.integers(0, 27)
    angle = math.atan2(rng.integers(-5, 5), last - first)
    length = (last - first) / math.cos(angle)
    along = np.arange(2, length - 2, 4)
    across = np.resize([2, -2], len(along))
    along, across = np.r_[0, along, length], np.r_[0, across, 0]
    columns = first + along * math.cos(angle) - across * math.sin(angle)
    return image + _line(columns, start + along * math.sin(angle) + across * math.cos(angle))


def canny_edges(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep only the edges (Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851).

    As in scikit-image by default: a blur of one pixel, Sobel gradients, and edges where these
    are above 0.2, or above 0.1 and connected to such a place.
    """
    blurred = ndimage.gaussian_filter(image, 1, mode="constant")
    down, right = ndimage.sobel(blurred, 0), ndimage.sobel(blurred, 1)
    gradient = np.hypot(down, right)
    # On an edge the gradient is larger than a step further along it, on either side.
    step = np.stack([down, right]) / np.maximum(np.maximum(abs(down), abs(right)), 1e-9)
    places = np.indices(image.shape)
    either_side = [
        ndimage.map_coordinates(gradient, places + side * step, order=1) for side in (-1, 1)
    ]
    ridge = (gradient >= either_side[0]) & (gradient >= either_side[1])
    ridge[[0, -1]] = ridge[:, [0, -1]] = False
    pieces, _ = ndimage.label(ridge & (gradient >= 0.1), np.ones((3, 3)))
    strong = np.unique(pieces[ridge & (gradient >= 0.2)])
    return np.isin(pieces, strong[strong > 0]).astype(float)


CORRUPTIONS: dict[str, Damage] = {
    function.__name__: function
    for function in (
        shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, translate,
        brightness, stripe, fog, spatter, dotted_line, zigzag, canny_edges,
    )
}  # fmt: skip
# What is damaged: the background; what common augmentation resembles (noise, plain blur, affine
# transforms); and what is neither (glass blur swaps pixels).
GROUPS = {
    "background": ("brightness", "stripe", "fog"),
    "other": ("glass_blur", "spatter", "dotted_line", "zigzag", "canny_edges"),
    "like augmentation": (
        "shot_noise",
        "impulse_noise",
        "motion_blur",
        "shear",
        "scale",
        "rotate",
        "translate",
    ),
}


def by_group(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the means of the ``GROUPS`` and ``all`` kinds, columns, in each row of ``errors``.

    Args:
        errors: a column for each of ``CORRUPTIONS``; other columns are ignored.
    """
    means = {group: errors[list(names)].mean(axis=1) for group, names in GROUPS.items()}
    return pd.DataFrame(means | {"all": errors[list(CORRUPTIONS)].mean(axis=1)})


def _affine(image: np.ndarray, inverse: list[list[float]]) -> np.ndarray:
    """Take each pixel, at (row, column) from the middle, from ``inverse`` times that place."""
    inverse = np.array(inverse)
    offset = MIDDLE - inverse @ (MIDDLE, MIDDLE)
    return ndimage.affine_transform(image, inverse, offset, order=1)


def _line(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a bright polyline from left to right; it fades out over 1.5 pixels above and below."""
    x = np.arange(SIZE)
    distance = np.abs(np.arange(SIZE)[:, None] - np.interp(x, columns, rows))
    line = np.log1p(-np.minimum(distance, 2) / 2.3) + 1
    line[:, (x < math.floor(columns[0])) | (x >= math.ceil(columns[-1]))] = 0
    return line.clip(0, 1)


def _plasma(rng: np.random.Generator, size: int, decay: float) -> np.ndarray:
    """Return periodic clouds in [0, 1], by midpoint displacement: the diamond-square algorithm.

    Fournier, Fussell and Carpenter 1982 (https://doi.org/10.1145/358523.358553). Displacements
    shrink by ``decay`` each time that the grid becomes twice as fine.
    """
    heights, amplitude = np.zeros((1, 1)), 1.0
    while len(heights) < size:
        shift = amplitude * rng.uniform(-1, 1, (3, *heights.shape))
        right, below = np.roll(heights, -1, 1), np.roll(heights, -1, 0)
        centres = (heights + right + below + np.roll(right, -1, 0)) / 4 + shift[0]
        finer = np.empty((2 * len(heights), 2 * len(heights)))
        finer[::2, ::2], finer[1::2, 1::2] = heights, centres
        finer[::2, 1::2] = (heights + right + centres + np.roll(centres, 1, 0)) / 4 + shift[1]
        finer[1::2, ::2] = (heights + below + centres + np.roll(centres, 1, 1)) / 4 + shift[2]
        heights, amplitude = finer, amplitude / decay
    heights -= heights.min()
    return heights / heights.max()
