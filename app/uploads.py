"""Uploaded bytes of a PNG or JPEG -> grey levels, or an error that says what is wrong with them.

Format and size are checked in the header, so that nothing harmful is ever decoded.
"""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image

from study.pictures.preparation import WORK_SIZE, grey_levels

MAX_BYTES = 8 * 2**20
MAX_PIXELS = 25_000_000  # twice what a phone usually takes; decoded, it needs 100 MB of memory

# Pillow only warns above its own limit, and refuses above twice that; `_opened` refuses earlier.
Image.MAX_IMAGE_PIXELS = None


class UploadError(ValueError):
    """The upload cannot be read as a picture; the message says why."""


class UploadTooLargeError(UploadError):
    """The uploaded picture has more than ``MAX_PIXELS`` pixels."""


def read(content: bytes) -> np.ndarray:
    """Return the grey levels, uint8 (height, width), of a PNG or JPEG.

    Of an animation, the first frame is read.

    Raises:
        UploadError: the bytes are not a complete PNG or JPEG.
        UploadTooLargeError: it has too many pixels.
    """
    try:
        picture = _opened(content)
        # A JPEG can be decoded at a fraction of its size, which saves time and memory.
        picture.draft("L", (2 * WORK_SIZE, 2 * WORK_SIZE))
        return grey_levels(picture)
    except UploadError:
        raise
    except Exception as error:
        # On a damaged file Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise UploadError("This is not a PNG or JPEG image, or it is damaged.") from error


def from_base64(text: str) -> bytes:
    """Decode base64, with or without ``data:image/png;base64,`` in front.

    Raises:
        UploadError: it is not base64.
    """
    try:
        return base64.b64decode(text.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UploadError('"image" is not valid base64.') from error


def _opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))  # reads only the header
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UploadTooLargeError(
            f"The image has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million "
            "are accepted."
        )
    return picture
