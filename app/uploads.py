"""Bytes of a PNG or JPEG -> grey levels, or the reason why not.

Format and size are read from the header and refused there; only what is harmless is decoded.
"""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image

from study.pictures.preparation import WORK_SIZE, gray_levels

MAX_BYTES = 8 * 2**20
MAX_PIXELS = 25_000_000  # more than a phone's usual 12 million; decoded it takes 100 MB

# Pillow would warn above its own limit, and refuse above twice that; `_opened` refuses earlier.
Image.MAX_IMAGE_PIXELS = None


class PictureError(ValueError):
    """The bytes are no picture that can be read; the message says why."""


class PictureTooLargeError(PictureError):
    """The picture has more than ``MAX_PIXELS`` pixels."""


def read(content: bytes) -> np.ndarray:
    """Return the grey levels, uint8 (height, width), of a PNG or JPEG; of an animation, its first
    picture.

    Raises:
        PictureError: the bytes are not a whole PNG or JPEG.
        PictureTooLargeError: it has too many pixels.
    """
    try:
        picture = _opened(content)
        # A JPEG can be decoded at a fraction of its size, for a fraction of the time and memory.
        picture.draft("L", (2 * WORK_SIZE, 2 * WORK_SIZE))
        return gray_levels(picture)
    except PictureError:
        raise
    except Exception as error:
        # A damaged file makes Pillow raise OSError, SyntaxError, ValueError, struct.error, ...
        raise PictureError("This is not a PNG or JPEG image, or it is damaged.") from error


def from_base64(text: str) -> bytes:
    """Return the bytes behind base64, with or without ``data:image/png;base64,`` before it.

    Raises:
        PictureError: it is not base64.
    """
    try:
        return base64.b64decode(text.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError('"image" is not valid base64.') from error


def as_png(picture: np.ndarray) -> str:
    """Return a uint8 picture, grey or RGB, as the address of a PNG, for an <img>."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))  # reads only the header
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureTooLargeError(
            f"The image has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million "
            "are accepted."
        )
    return picture
