"""A picture of one digit -> an image like those that the networks were trained on, by rules."""

from dataclasses import replace

import numpy as np
from PIL import Image

from .form import IMAGE_SIZE, Prepared, as_picture, formed
from .ink import ink_of, ink_of_thumbnail, without_specks
from .levels import grey_levels
from .marks import without_frame, without_print
from .paper import evened, unlined


def prepare(picture: Image.Image | np.ndarray) -> Prepared:
    """Find the digit in a picture and give it the form of MNIST's digits.

    Tables, shadows, lines, frames and words are removed first.

    Args:
        picture: a Pillow image of any mode, or uint8 grey levels (height, width); dark ink on
            light paper, or light ink on dark paper.
    """
    ink, steps = _find_ink(picture)
    prepared = formed(ink)
    return replace(prepared, steps=steps | prepared.steps)


def _find_ink(picture: Image.Image | np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """How much ink each pixel has, 0 to 1; and the steps to it."""
    level = grey_levels(picture).astype(np.float32)
    steps = {"picture": as_picture(level)}
    if max(level.shape) < IMAGE_SIZE:
        ink = ink_of_thumbnail(level)
        return ink, steps | {"ink found": as_picture(255 * ink)}
    for name, step in (("light evened", evened), ("lines removed", unlined)):
        changed = step(level)
        if changed is not level:
            level = changed
            steps[name] = as_picture(level)
    found = ink_of(level)
    kept = without_print(without_frame(found))
    ink = without_specks(kept)
    if kept is found:
        return ink, steps | {"ink found": as_picture(255 * ink)}
    steps |= {"ink found": as_picture(255 * found)}
    return ink, steps | {"frame and print removed": as_picture(255 * ink)}
