"""Uploaded bytes of a PNG or JPEG -> grey levels, or an error that says what is wrong with them.

Format and size are checked in the header, so that nothing harmful is ever decoded.
"""

import io

import numpy as np
from PIL import Image
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from study.pictures.preparation import WORK_SIZE, grey_levels

MAX_BYTES = 8 * 2**20
MAX_PIXELS = 25_000_000  # twice what a phone usually takes; decoded, it needs 100 MB of memory

# Pillow only warns above its own limit, and refuses above twice that; `read` refuses earlier.
Image.MAX_IMAGE_PIXELS = None


def read(content: bytes) -> np.ndarray:
    """Return the grey levels, uint8 (height, width), of a PNG or JPEG, or of its first frame.

    Raises:
        BadRequest: the bytes are not a complete PNG or JPEG.
        RequestEntityTooLarge: it has more than ``MAX_PIXELS`` pixels.
    """
    try:
        picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))  # reads only the header
        if picture.width * picture.height <= MAX_PIXELS:
            # A JPEG can be decoded at a fraction of its size, which saves time and memory.
            picture.draft("L", (2 * WORK_SIZE, 2 * WORK_SIZE))
            return grey_levels(picture)
    except Exception as error:
        # On a damaged file Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise BadRequest("This is not a PNG or JPEG image, or it is damaged.") from error
    raise RequestEntityTooLarge(
        f"The image has {picture.width} x {picture.height} pixels; "
        f"at most {MAX_PIXELS // 10**6} million are accepted."
    )
