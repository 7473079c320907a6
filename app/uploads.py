"""What somebody sends -> grey levels, or an error that says what is wrong with it and what to do.

The content decides what a picture is, whatever type was declared. Format and size are checked in
its header, so that nothing harmful is ever decoded.
"""

import base64
import io
import json
import math
import re
import warnings
from urllib.parse import unquote_plus

import flask
import numpy as np
from PIL import Image
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from study.reading.levels import FULL_SIZE, grey_levels

MAX_BYTES = 8 * 2**20
MAX_PIXELS = 25_000_000  # twice what a phone usually takes; decoded, it needs up to 400 MB
FORMATS = "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"
READ = "a PNG, JPEG, WebP, GIF, BMP or TIFF"
TRANSPARENT_SIZE = 1500  # pixels, longer side; larger pictures with transparency are shrunk
FIELD = "image"  # of a form, or of JSON
# Types that say nothing about the content. The last one is what curl declares by default.
UNDECLARED = (
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-www-form-urlencoded",
)
TOO_LARGE = f"A picture may have at most {MAX_BYTES // 2**20} MB; this one has more."
RAW = {330, 33421, 50706}  # tags of a TIFF that is a camera's raw picture (SubIFDs, CFA, DNG)
RAW_ADVICE = "This is a camera's raw picture. Export it as a JPEG and use that."
# How files that are not read begin, and what to say about them.
OTHERS = {
    rb"II\*\0.{4}CR": RAW_ADVICE,
    rb"....ftyp.{0,40}?avi[fs]": "This is an AVIF picture. Save it as a PNG or JPEG and use that.",
    rb"....ftyp(hei|hev|mif1|msf1)": "This is a HEIC photo, as iPhones take them. Export it as a "
    "JPEG and use that; Settings > Camera > Formats > Most Compatible takes JPEGs from now on.",
    rb"(?i)[\xef\xbb\xbf\s]*<(svg|(\?xml|!--|!doctype svg).*?<svg)\b": "This is an SVG drawing, "
    "which has no pixels. Export it as a PNG and use that.",
    rb"%PDF": "This is a PDF. Save the page, or a screenshot of it, as a PNG and use that.",
    rb"\xff\x0a|\0\0\0\x0c(JXL|jP) ": "This is a JPEG XL or JPEG 2000 picture. Save it as a PNG or "
    "an ordinary JPEG and use that.",
    rb"P[1-7]\s": "This is a PBM, PGM or PPM picture. Save it as a PNG and use that.",
    # The first bytes of a PNG were chosen to show this.
    rb"\x89PNG(?!\r\n\x1a\n)": "The line endings of this PNG were changed on the way, as if it "
    "were text. With curl, send it with --data-binary or -F instead of -d.",
}

# Pillow warns above this number, and refuses above twice as many; `read` refuses all of them.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Request(flask.Request):
    """A request whose parts stay in memory; Flask writes those above 500 kB to disk."""

    def _get_file_stream(self, *_, **__) -> io.BytesIO:
        return io.BytesIO()


def received(request: Request) -> bytes:
    """Return the bytes of the picture in a request.

    It is the body itself, or the field "image" of a form or of JSON.

    Raises:
        BadRequest: there is no such field, or what it holds is not base64.
        UnsupportedMediaType: the body is declared as something other than a picture.
        RequestEntityTooLarge: the body is larger than Flask's ``MAX_CONTENT_LENGTH``.
    """
    body = request.get_data()  # all of it: what is left unread would be taken for the next request
    if request.mimetype == "multipart/form-data":
        return _from_form(request)
    declared = request.is_json or request.mimetype.startswith("image/")
    if not declared and request.mimetype not in UNDECLARED:
        raise UnsupportedMediaType(
            f"{request.mimetype} is not a type of picture. Send {READ} as it is (Content-Type: "
            "image/png, for instance), in a form (multipart/form-data), or as base64 in JSON "
            "(application/json)."
        )
    if request.is_json or body.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        return _from_json(body)
    name, _, text = body.partition(b"&")[0].partition(b"=")
    if name == FIELD.encode():  # a form without files; where nothing is escaped, + is itself
        written = text.decode("latin-1")
        return _from_base64(unquote_plus(written) if "%" in written else written)
    return body


def _from_form(request: Request) -> bytes:
    """Return the file, or the base64, in the field "image" of a multipart form."""
    try:
        files, texts = request.files.getlist(FIELD), request.form.getlist(FIELD)
    except RequestEntityTooLarge as error:  # the body is not: it has been read
        raise BadRequest("The form has too many fields, or one that is too long.") from error
    if len(files) + len(texts) != 1:
        found = ", ".join(repr(name[:40]) for name in [*request.files, *request.form][:5])
        raise BadRequest(
            f'Send one picture in a field named "{FIELD}"; with curl, "-F {FIELD}=@FILE". '
            + (f"The fields of this form: {found}." if found else "This form has no fields.")
        )
    return files[0].read() if files else _from_base64(texts[0])


def _from_json(body: bytes) -> bytes:
    try:
        text = json.loads(body, strict=False)[FIELD]  # line breaks in a string need no escape
    except (LookupError, RecursionError, TypeError, ValueError):
        text = None
    if not isinstance(text, str):
        raise BadRequest(f'The JSON must look like {{"{FIELD}": "<base64 of {READ}>"}}.')
    return _from_base64(text)


def _from_base64(text: str) -> bytes:
    """Decode base64 of either alphabet, with or without "data:...,", white space and padding."""
    text = re.sub(r"^\s*data:[^,]*,", "", text, flags=re.IGNORECASE)
    text = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise BadRequest(
            f'The text in "{FIELD}" is not valid base64. Names and addresses of files are not '
            f'read; with curl, send a file with "-F {FIELD}=@FILE".'
        ) from error


def read(content: bytes) -> np.ndarray:
    """Return the grey levels, uint8 (height, width), of a picture, or of its first frame.

    Raises:
        BadRequest: the bytes are not a complete picture of ``FORMATS``.
        RequestEntityTooLarge: it has more than ``MAX_BYTES`` or ``MAX_PIXELS``.
        UnsupportedMediaType: it is a picture of another kind.
    """
    if not content:
        raise BadRequest("The picture is empty: it has 0 bytes.")
    if len(content) > MAX_BYTES:
        raise RequestEntityTooLarge(TOO_LARGE)
    for beginning, advice in OTHERS.items():
        if re.match(beginning, content[:4096], re.DOTALL):
            raise UnsupportedMediaType(advice)
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)  # reads only the header
        if RAW & set(getattr(picture, "tag_v2", ())):
            raise UnsupportedMediaType(RAW_ADVICE)
        if picture.width * picture.height <= MAX_PIXELS:
            return _levels(picture)
    except UnsupportedMediaType:
        raise
    except Image.DecompressionBombError:
        pass
    except Exception as error:
        # On a damaged file Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise BadRequest(f"This is not {READ} picture, or it is damaged.") from error
    raise RequestEntityTooLarge(
        f"A picture may have at most {MAX_PIXELS // 10**6} million pixels; this one has more. "
        "Make it smaller: a digit that is 100 pixels high is large enough."
    )


def _levels(picture: Image.Image) -> np.ndarray:
    """Return the grey levels of an opened picture, decoded as cheaply as its format allows."""
    picture.draft("L", (FULL_SIZE // 2,) * 2)  # decodes only a JPEG's grey, at half size if large
    factor = math.ceil(max(picture.size) / TRANSPARENT_SIZE)
    if factor > 1 and picture.has_transparency_data and not picture.mode.startswith("I"):
        # Laying it on paper at its full size takes ten times as much memory, and seconds.
        picture = picture.convert("RGBA").reduce(factor)
    return grey_levels(picture, FULL_SIZE)
