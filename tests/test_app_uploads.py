"""What may be sent to the API: pictures of every kind, in every wrapping, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app import uploads
from asking import assert_refused, digit_of, encoded, post, writing_watched

MB = 2**20


# --- Wrappings ---


@pytest.mark.parametrize("declared", ["image/png", "image/jpg", None, *uploads.UNDECLARED[1:]])
def test_content_decides_whatever_is_declared(client, seven, declared):
    """The last of these types is what `curl --data-binary` declares."""
    for file_format in uploads.FORMATS:
        assert digit_of(post(client, encoded(seven, file_format), declared)) == 7
    assert digit_of(post(client, as_json(in_base64(seven)), declared)) == 7


def in_base64(picture: Image.Image) -> str:
    return base64.b64encode(encoded(picture)).decode()


def as_json(text: str) -> bytes:
    return json.dumps({"image": text}).encode()


FORMS = "multipart/form-data", "application/x-www-form-urlencoded"
WRITTEN = {
    "lines of Windows": lambda text: "\r\n".join(text[i : i + 64] for i in range(0, len(text), 64)),
    "indented, more padding": lambda text: f"\n\t {text[:9]} {text[9:]}==\n",
    "for addresses": lambda text: text.translate(str.maketrans("+/", "-_")).rstrip("="),
    "data URL in lines": lambda text: " DATA:image/png;base64,\n" + text[:76] + "\n" + text[76:],
}


@pytest.mark.parametrize("way", WRITTEN)
def test_base64_as_people_write_it(client, seven, way):
    """In JSON, and in the field of a form; with no, one and two signs of padding."""
    for more in range(3):  # bytes after the end of a PNG mean nothing
        written = WRITTEN[way](base64.b64encode(encoded(seven) + bytes(more)).decode())
        assert digit_of(post(client, as_json(written), "application/json")) == 7
        for content_type in FORMS:
            assert digit_of(form(client, {"image": written}, content_type)) == 7


def test_json_as_shells_and_programs_write_it(client, seven):
    """`base64` breaks lines, which a string in JSON should not have; PowerShell writes UTF-16."""
    broken = b'{"image": "%b"}' % base64.encodebytes(encoded(seven))
    plain = as_json(in_base64(seven)).decode()
    for body in (broken, plain.encode("utf-8-sig"), plain.encode("utf-16")):
        assert digit_of(post(client, body, "application/json; charset=utf-8")) == 7
    assert digit_of(post(client, plain.encode(), "application/vnd.api+json")) == 7
    assert digit_of(post(client, broken, FORMS[1])) == 7


def form(client, fields: dict, content_type: str = FORMS[0]):
    return client.post("/api/predict?votes=0", data=fields, content_type=content_type)


def file_of(content: bytes, name: str = "7.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


def test_form_with_a_file(client, seven):
    file = file_of(encoded(seven, "WEBP"), "no name that says more")
    assert digit_of(form(client, {"image": file, "n": "1"})) == 7


@pytest.mark.parametrize(
    ("fields", "part_of_the_message"),
    [
        ({}, "no fields"),
        ({"picture": file_of(b"anything"), "n": "1"}, "'picture', 'n'"),
        ({"image": [file_of(b"one"), file_of(b"two")]}, "one picture"),
        ({"image": "digit.png"}, "-F image=@FILE"),  # curl -F image=digit.png
        ({"image": file_of(b"")}, "empty"),
        ({str(i): "1" for i in range(2000)}, "too many fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_form_that_is_not_understood(client, fields, part_of_the_message):
    response = form(client, fields)
    assert_refused(response, 400)
    assert part_of_the_message in response.get_json()["error"]


def multipart(content: bytes, name: bytes = b'image"; filename="7.png') -> bytes:
    """A form as it is sent, with "b" between its parts."""
    return b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--b--' % (name, content)


def test_form_in_pieces(client, seven):
    body = multipart(encoded(seven))
    assert digit_of(post(client, body, "multipart/form-data; boundary=b")) == 7
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=other"):
        assert_refused(post(client, body, content_type), 400)
    for length in (0, 1, 40, 80, len(body) // 2):
        assert_refused(post(client, body[:length], "multipart/form-data; boundary=b"), 400)


def test_large_parts_of_a_form_stay_in_memory(client):
    """By default, those above 500 kB would be written to a temporary file, or refused."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1400, 1400), np.uint8))
    content = encoded(noise)
    assert len(content) > MB
    with writing_watched() as changed:
        for body in (multipart(content), multipart(base64.b64encode(content), b"image")):
            response = post(client, body, "multipart/form-data; boundary=b")
            assert response.status_code == 200
    assert changed == []


def test_plus_signs_that_a_form_should_have_escaped(client, seven):
    """As `curl -d "image=$(base64 -w0 7.png)"` sends them."""
    text = next(
        text
        for text in (in_base64(seven.resize((side, side))) for side in range(140, 200))
        if text.count("+") > 9
    )
    body = b"image=" + text.encode() + b"&n=1"
    assert digit_of(post(client, body, FORMS[1])) == 7


# --- Pictures of every kind ---


def with_ink_alone(picture: Image.Image) -> Image.Image:
    drawn = Image.new("RGBA", picture.size, (20, 20, 20, 255))
    drawn.putalpha(picture.point(lambda level: 255 - level))
    return drawn


def in_two_levels(picture: Image.Image) -> Image.Image:
    return picture.point(lambda level: 255 if level > 127 else 0)


KINDS = {
    "palette": lambda seven: encoded(seven.convert("P")),
    "palette, transparent": lambda seven: encoded(
        in_two_levels(seven).convert("P"), transparency=255
    ),
    "large GIF, transparent": lambda seven: encoded(
        in_two_levels(seven).convert("P").resize((1000, 1000)), "GIF", transparency=255
    ),
    "16 bits": lambda seven: encoded(Image.fromarray(np.asarray(seven).astype(np.uint16) * 257)),
    "1 bit": lambda seven: encoded(seven.convert("1")),
    "alpha": lambda seven: encoded(with_ink_alone(seven)),
    "CMYK": lambda seven: encoded(seven.convert("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_kind(client, seven, kind):
    assert digit_of(post(client, KINDS[kind](seven))) == 7


def test_animated_image_is_read_by_its_first_picture(client, seven):
    blank = Image.new("L", seven.size, 255)
    options = {"save_all": True, "append_images": [blank, blank], "duration": 100}
    for file_format in ("PNG", "GIF", "WEBP"):
        content = encoded(seven, file_format, **options)
        assert Image.open(io.BytesIO(content)).n_frames > 1
        assert digit_of(post(client, content)) == 7


@pytest.mark.parametrize(
    ("file_format", "side"), [("JPEG", 140), ("PNG", 140), ("PNG", 1000), ("WEBP", 1000)]
)
def test_picture_is_turned_upright(client, seven, file_format, side):
    """Large transparent ones are made smaller before they are laid on paper."""
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise by 90 degrees
    picture = seven if file_format == "JPEG" else with_ink_alone(seven)
    lying = picture.resize((side, side)).transpose(Image.Transpose.ROTATE_90)
    assert digit_of(post(client, encoded(lying, file_format, exif=exif, method=0))) == 7
    assert digit_of(post(client, encoded(lying, file_format, method=0))) != 7


def test_pictures_of_a_row_or_a_pixel(client):
    for size in ((1, 1), (1, 5000), (5000, 1)):
        assert digit_of(post(client, encoded(Image.new("L", size, 255)))) is None


# --- What is no picture ---


@pytest.mark.parametrize("file_format", uploads.FORMATS)
def test_truncated_image(client, seven, file_format):
    content = encoded(seven, file_format)
    for length in (0, 1, 20, len(content) // 2):
        assert_refused(post(client, content[:length]), 400)


ELSEWHERE = {
    "heic": (b"\0\0\0\x24ftypheix\0\0\0\0mif1heic", "JPEG"),
    "avif": (b"\0\0\0\x24ftypmif1\0\0\0\0avifmif1", "AVIF"),
    "svg": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="9"/>', "SVG"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    "jpeg xl": (b"\xff\x0a\xfa\x1f\x41\x90", "JPEG XL"),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_pictures_of_other_kinds_are_told_what_to_do(client, kind):
    """In every wrapping, and whatever they are declared as."""
    content, name = ELSEWHERE[kind]
    text = base64.b64encode(content).decode()
    for response in (
        *(post(client, content, type_) for type_ in ("image/png", "image/heic", None)),
        form(client, {"image": file_of(content)}),
        post(client, as_json(text), "application/json"),
    ):
        assert_refused(response, 415)
        message = response.get_json()["error"]
        assert name in message and "use that" in message


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
@pytest.mark.parametrize("file_format", ["BMP", "TIFF"])
def test_pictures_of_scanners_and_paint_programs(client, seven, file_format, mode):
    response = post(client, encoded(seven.convert(mode), file_format))
    assert response.get_json()["digit"] == 7


def test_tiff_of_16_bits_and_of_several_pages(client, seven):
    deep = Image.fromarray(np.asarray(seven).astype(np.uint16) * 257)
    assert post(client, encoded(deep, "TIFF")).get_json()["digit"] == 7
    file = io.BytesIO()
    blank = Image.new("L", (50, 50), 255)
    seven.save(file, "TIFF", save_all=True, append_images=[blank], compression="tiff_lzw")
    assert post(client, file.getvalue()).get_json()["digit"] == 7


def test_raw_pictures_of_cameras_are_told_what_to_do(client, seven):
    file = io.BytesIO()
    seven.save(file, "TIFF", tiffinfo={50706: bytes([1, 4, 0, 0])})  # as a DNG has it
    for content in (file.getvalue(), b"II*\0\x10\0\0\0CR\2\0" + bytes(99)):
        response = post(client, content)
        assert_refused(response, 415)
        assert "raw picture" in response.get_json()["error"]


def test_other_formats_of_pixels(client, seven):
    for file_format in ("JPEG2000", "PPM"):
        assert_refused(post(client, encoded(seven.convert("RGB"), file_format)), 415)


def test_html_is_no_drawing(client):
    page = b"<!doctype html><html><body><svg></svg></body></html>"
    assert_refused(post(client, page, "image/png"), 400)


def test_line_ends_that_curl_took_away_are_noticed(client, seven):
    content = encoded(seven).replace(b"\r", b"").replace(b"\n", b"")  # as `curl -d @7.png` does
    response = post(client, content, "application/x-www-form-urlencoded")
    assert_refused(response, 415)
    assert "--data-binary" in response.get_json()["error"]
    response = post(client, b"image=@7.png", "application/x-www-form-urlencoded")
    assert_refused(response, 400)
    assert "-F image=@FILE" in response.get_json()["error"]


def test_what_is_declared_as_no_picture(client, seven):
    for content_type in ("text/plain", "video/mp4"):
        response = post(client, encoded(seven), content_type)
        assert_refused(response, 415)
        assert content_type in response.get_json()["error"]


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def webp_bomb(width: int, height: int, chunk: bytes) -> bytes:
    """A WebP whose header promises so many pixels."""
    if chunk == b"VP8X":
        sides = [(side - 1).to_bytes(3, "little") for side in (width, height)]
        header = bytes([2, 0, 0, 0]) + sides[0] + sides[1]  # animated
    else:  # VP8L
        header = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(5)
    body = b"WEBP" + chunk + struct.pack("<I", len(header)) + header
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_bomb(width: int, height: int, frame: tuple[int, int]) -> bytes:
    """A GIF whose canvas, or whose first frame, is that large."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\0;"


BOMBS = {
    "PNG in a row": bomb(2**31 - 1, 1),
    "PNG of 26 million": bomb(5_200, 5_000),
    "lossless WebP": webp_bomb(16_000, 16_000, b"VP8L"),
    "animated WebP": webp_bomb(2**16, 2**15, b"VP8X"),
    "GIF": gif_bomb(60_000, 60_000, (1, 1)),
    "frame of a GIF": gif_bomb(10, 10, (60_000, 60_000)),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", BOMBS)
def test_decompression_bomb_is_refused_before_decoding(client, monkeypatch, kind):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    response = post(client, BOMBS[kind])
    assert_refused(response, 413)
    assert "25 million pixels" in response.get_json()["error"]


def test_25_million_pixels_are_not_too_many(client):
    for file_format in ("JPEG", "GIF"):
        content = encoded(Image.new("L", (5000, 5000), 255), file_format)
        assert digit_of(post(client, content)) is None


def test_over_8_mb(client):
    assert_refused(post(client, bytes(8 * MB + 1)), 413)
    assert_refused(post(client, b" " * (8 * MB + 1), "application/json"), 413)
    assert_refused(form(client, {"image": file_of(bytes(8 * MB))}), 413)


def test_8_mb_is_not_too_large(client):
    assert_refused(post(client, bytes(8 * MB)), 400)


@pytest.mark.parametrize(
    "body",
    ["{", "", "[]", "{}", '{"image": null}', "\udcff", "[" * 999],
    ids=lambda body: ascii(body[:12]),
)
def test_broken_json(client, body):
    content = body.encode("utf-8", "surrogateescape")
    assert_refused(post(client, content, "application/json"), 400)


@pytest.mark.parametrize("image", ["", "aGVsbG8", "é", "aGV=sbG8=", "data:image/png;base64,", "a"])
def test_wrong_base64(client, image):
    assert_refused(post(client, json.dumps({"image": image}), "application/json"), 400)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mutated_images_never_crash(client, seven, data):
    file_format = data.draw(st.sampled_from(uploads.FORMATS))
    options = {"exif": Image.Exif()} if data.draw(st.booleans()) else {}
    modes = {"JPEG": ["L", "RGB", "CMYK"], "PNG": ["P", "RGBA"], "GIF": ["P"]}
    modes |= {"WEBP": ["RGB", "RGBA"], "BMP": ["L", "RGB"], "TIFF": ["1", "L", "RGB"]}
    mode = data.draw(st.sampled_from(modes[file_format]))
    content = bytearray(encoded(seven.convert(mode), file_format, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(1, len(content)))])
    response = post(client, content)
    assert response.status_code in (200, 400, 413, 415)
    assert response.get_json()
