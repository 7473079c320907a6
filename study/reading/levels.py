"""A picture of any size and kind -> its grey levels."""

import numpy as np
from PIL import Image, ImageOps

WORK_SIZE = 224  # pixels, longer side; larger pictures are shrunk before the ink is looked for
FULL_SIZE = 4096  # pixels, longer side, of what the finder looks at
LEAST_CONTRAST = 10  # grey levels (of 255) between paper and ink; with less, nothing is drawn
EIGHT = np.ones((3, 3))  # a pixel and its neighbours


def grey_levels(picture: Image.Image | np.ndarray, longest: int = WORK_SIZE) -> np.ndarray:
    """Return the grey levels, uint8 (height, width), of a picture, turned upright.

    It shrinks to a longer side of at most ``longest``, transparent parts become paper, and 16 bits
    become 8.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        levels = np.asarray(picture, dtype=np.float32) / 257
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:  # lay it on white, or on black where its ink is light
        picture = picture.convert("RGBA")
        luminance, alpha = np.asarray(picture.convert("LA"), float).transpose(2, 0, 1)
        ink = (luminance * alpha).sum() / max(alpha.sum(), 1)
        paper = Image.new("RGBA", picture.size, "white" if ink < 128 else "black")
        picture = Image.alpha_composite(paper, picture)
    picture = picture.convert("L")
    factor = max(picture.size) / longest
    if factor > 1:
        size = [max(1, round(side / factor)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture)


def thumbnail(level: np.ndarray, size: int) -> np.ndarray:
    """Shrink to a longer side of ``size`` pixels, if it is longer."""
    small = Image.fromarray(level)
    small.thumbnail((size, size), Image.Resampling.BOX)
    return np.asarray(small)
