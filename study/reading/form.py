"""Ink -> a 28x28 image in the form of MNIST's digits.

MNIST's digits were scaled to a longer side of 20 pixels and placed with their centre of mass in
the middle of a 28x28 image (http://yann.lecun.com/exdb/mnist/). This module does the same, and
gives the strokes MNIST's width. Every number below was chosen on training images.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from .ink import ink_of, ink_of_thumbnail, without_specks
from .levels import grey_levels

DIGIT_SIZE, IMAGE_SIZE = 20, 28  # pixels
FINE = 4  # strokes are drawn at this multiple of the digit's final size
EDGE = 0.4  # of full ink: pixels with more belong to a stroke
SOFTNESS = 0.3  # pixels: standard deviation of the blur at the edges of strokes
STROKE_WIDTHS = (2.0, 5.0)  # pixels at the final size; nearly all of MNIST lies in between


@dataclass(frozen=True)
class Prepared:
    """A picture in the form that the networks take, and the steps that led to it.

    Attributes:
        image: uint8, shape (28, 28); 0 is paper, 255 is ink; all 0 if nothing is drawn.
        steps: name -> uint8 picture of any size, in order; from "ink found" on, ink is bright.
            Those that changed nothing are left out.
        box: left, top, right and bottom of the digit, as fractions of the picture's width and
            height; ``None`` if nothing is drawn.
    """

    image: np.ndarray
    steps: dict[str, np.ndarray]
    box: tuple[float, float, float, float] | None

    @property
    def is_blank(self) -> bool:
        """Return whether nothing is drawn."""
        return not self.image.any()


def prepare_untidied(picture: Image.Image | np.ndarray) -> np.ndarray:
    """Give everything in a picture, even lines, frames and words, the form of MNIST's digits.

    Networks that are to reject such things learn from them in this form.

    Args:
        picture: as for ``study.reading.prepare``.

    Returns:
        uint8, (28, 28): 0 is paper, 255 is ink.
    """
    level = grey_levels(picture).astype(np.float32)
    if max(level.shape) < IMAGE_SIZE:
        return formed(ink_of_thumbnail(level)).image
    return formed(without_specks(ink_of(level))).image


def formed(ink: np.ndarray, *, even_strokes: bool = True, by_mass: bool = True) -> Prepared:
    """Give ink the form of MNIST's digits, and keep the steps.

    Args:
        ink: 0 to 1, (height, width).
        even_strokes: give the strokes MNIST's width.
        by_mass: put the centre of mass in the middle; otherwise, the centre of the box.
    """
    if not ink.any():
        return Prepared(np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8), {}, None)
    ((rows, columns),) = ndimage.find_objects((ink > 0.1).astype(int))
    cropped = ink[rows, columns]
    scaled = _scaled(cropped, even_strokes)
    shown = {"cropped": cropped, "scaled": scaled, "centred": _centred(scaled, by_mass)}
    steps = {name: as_picture(255 * step) for name, step in shown.items()}
    height, width = ink.shape
    box = columns.start / width, rows.start / height, columns.stop / width, rows.stop / height
    return Prepared(steps["centred"], steps, box)


def as_picture(levels: np.ndarray) -> np.ndarray:
    """Round levels, 0 to 255, to uint8."""
    return levels.round().astype(np.uint8)


def _scaled(ink: np.ndarray, even_strokes: bool) -> np.ndarray:
    """Scale to a longer side of 20 pixels, perhaps with strokes as wide as MNIST's.

    As with the originals of MNIST, the ink is first made black and white at a finer scale; pixels
    of the final size that it covers only in part become grey.
    """
    factor = DIGIT_SIZE / max(ink.shape)
    height, width = (max(1, round(side * factor)) for side in ink.shape)
    ink = Image.fromarray(ink)
    if factor >= 1:  # too coarse for black and white: its greys say more
        return np.asarray(ink.resize((width, height), Image.Resampling.LANCZOS)).clip(0, 1)
    if not even_strokes:
        return np.asarray(ink.resize((width, height), Image.Resampling.BOX)).clip(0, 1)
    fine = ink.resize((FINE * width, FINE * height), Image.Resampling.BICUBIC)
    fine = np.pad(fine, FINE)  # room for wider strokes
    covered = fine > min(EDGE, 0.5 * fine.max())
    depth = ndimage.distance_transform_edt(covered) - ndimage.distance_transform_edt(~covered)
    # Across a stroke, the depth rises to half its width and falls again: a quarter on average.
    stroke = 4 * depth[covered].mean() / FINE
    depth += FINE * (np.clip(stroke, *STROKE_WIDTHS) - stroke) / 2
    fine = ndimage.gaussian_filter((depth + 0.5).clip(0, 1), SOFTNESS * FINE)
    return np.asarray(Image.fromarray(fine.astype(np.float32)).reduce(FINE))


def _centred(ink: np.ndarray, by_mass: bool) -> np.ndarray:
    """Move a centre to the middle of 28x28, by whole pixels, as far as there is room."""
    centre = ndimage.center_of_mass(ink) if by_mass else (np.array(ink.shape) - 1) / 2
    wished = np.round((IMAGE_SIZE - 1) / 2 - np.array(centre)).astype(int)
    room = IMAGE_SIZE - np.array(ink.shape)
    corner = wished.clip(0, room)
    return np.pad(ink, np.stack([corner, room - corner], axis=1))
