"""The preparation with steps left out, to measure what each of them contributes."""

from collections.abc import Collection

import numpy as np
from PIL import Image

from .form import IMAGE_SIZE, as_picture, formed
from .ink import ink_of, ink_of_thumbnail, without_specks
from .levels import grey_levels

INK = "find the ink"
SCALE = "crop, and scale to 20 pixels"
MASS = "centre by mass"
STROKES = "equalise the strokes"
STEPS = INK, SCALE, MASS, STROKES


def prepared_with(picture: Image.Image | np.ndarray, steps: Collection[str] = STEPS) -> np.ndarray:
    """Prepare a picture by some of the steps.

    Args:
        picture: as for ``study.reading.prepare``.
        steps: some of ``STEPS``. Without the first, bright pixels count as ink, as in MNIST;
            without the second, the whole picture is scaled to 28x28, and nothing else is done.

    Returns:
        uint8 (28, 28): 0 is paper, 255 is ink.

    Raises:
        ValueError: there is no such step.
    """
    if unknown := set(steps) - set(STEPS):
        raise ValueError(f"there is no step {min(unknown)!r} among {', '.join(STEPS)}")
    level = grey_levels(picture).astype(np.float32)
    ink = level / 255
    if INK in steps:
        small = max(level.shape) < IMAGE_SIZE
        ink = ink_of_thumbnail(level) if small else without_specks(ink_of(level))
    if SCALE not in steps:
        return _fitted(ink)
    return formed(ink, even_strokes=STROKES in steps, by_mass=MASS in steps).image


def _fitted(ink: np.ndarray) -> np.ndarray:
    """Scale all of a picture to fit 28x28, in the middle."""
    factor = IMAGE_SIZE / max(ink.shape)
    size = [max(1, round(side * factor)) for side in ink.shape[::-1]]
    way = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    fitted = np.asarray(Image.fromarray(ink).resize(size, way)).clip(0, 1)
    room = IMAGE_SIZE - np.array(fitted.shape)
    return as_picture(255 * np.pad(fitted, np.stack([room // 2, room - room // 2], axis=1)))
