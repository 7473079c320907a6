"""The API: answers, refusals, and whatever else may be sent to it."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import app
from app.service import ANSWERING, Service
from conftest import ROOT
from study import weights
from study.pictures import non_digits, refusal
from study.pictures.preparation import prepare

MB = 2**20


@pytest.fixture(scope="session")
def service() -> Service:
    return Service()


@pytest.fixture(scope="session")
def client(service):
    return app.create_app(service).test_client()


@pytest.fixture(scope="session")
def seven(digits) -> Image.Image:
    """The first test digit, a 7: dark ink on white."""
    return Image.fromarray(255 - digits[1].images[0].numpy()).resize((140, 140))


def encoded(picture: Image.Image, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def post(client, content, content_type="image/png", query="?votes=0"):
    return client.post(f"/api/predict{query}", data=content, content_type=content_type)


def digit_of(response) -> int | None:
    assert response.status_code == 200, response.text
    return response.get_json()["digit"]


def assert_refused(response, status: int) -> None:
    assert response.status_code == status
    assert response.content_type == "application/json"
    message = response.get_json()["error"]
    assert len(message) > 10 and "Traceback" not in message


# --- Answers ---


def test_answer_has_all_its_parts(client, seven, service):
    answer = post(client, encoded(seven), query="").get_json()
    assert answer["digit"] == 7 and answer["reason"] is None
    assert len(answer["probabilities"]) == 10
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-3)
    assert np.array(answer["image"]).shape == (28, 28)
    assert answer["image"] == prepare(seven).image.tolist()
    version = weights.version(weights.load_model(ROOT / "models" / f"{ANSWERING}.pt"))
    assert answer["model"] == {"name": ANSWERING, "version": version}
    assert [vote["name"] for vote in answer["models"]] == [v.name for v in service.voters]
    assert "steps" not in answer


def test_every_saved_model_votes_and_is_listed(client, seven):
    names = {path.stem for path in (ROOT / "models").glob("*.pt")}
    votes = post(client, encoded(seven), query="").get_json()["models"]
    listed = client.get("/api/models").get_json()["models"]
    assert {vote["name"] for vote in votes} == {model["name"] for model in listed} == names
    assert {vote["name"]: vote["version"] for vote in votes} == {
        model["name"]: model["version"] for model in listed
    }
    assert [model["name"] for model in listed if model["answers"]] == [ANSWERING]


def test_votes_can_be_left_out(client, seven):
    answer = post(client, encoded(seven), query="?votes=0").get_json()
    assert [vote["name"] for vote in answer["models"]] == [ANSWERING]


def test_explanation_shows_pictures(client, seven):
    answer = post(client, encoded(seven), query="?explain=1").get_json()
    pictures = [answer["saliency"]]
    pictures += [part["picture"] for part in answer["steps"] + answer["neighbours"]]
    for picture in pictures:
        content = base64.b64decode(picture.removeprefix("data:image/png;base64,"))
        Image.open(io.BytesIO(content)).load()
    assert [one["label"] for one in answer["neighbours"]].count(7) >= 5


def test_json_with_base64(client, seven):
    text = base64.b64encode(encoded(seven)).decode()
    for image in (text, "data:image/png;base64," + text):
        body = json.dumps({"image": image})
        assert digit_of(post(client, body, "application/json")) == 7


def test_same_picture_same_answer(client, seven):
    one, other = (post(client, encoded(seven), query="?explain=1").get_json() for _ in range(2))
    assert one == other


def test_healthz(client):
    assert client.get("/healthz").get_json() == {"status": "ok"}


def test_readme_names_the_parts_of_an_answer(client, seven):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sample = json.loads(re.search(r"```json\n(\{.*?\})\n```", readme, re.DOTALL)[1])
    answer = post(client, encoded(seven), query="").get_json()
    assert list(sample) == list(answer)
    assert list(sample["models"][0]) == list(answer["models"][0])
    assert sample["model"] == answer["model"]


# --- Something that is no digit ---


def test_refusal_belongs_to_the_answering_model():
    fixed = refusal.load()
    assert fixed.model == ANSWERING
    assert fixed.version == weights.version(
        weights.load_model(ROOT / "models" / f"{ANSWERING}.pt")
    ), "the threshold was fixed for another weights file: run `make app-notebook`"


@pytest.mark.parametrize("query", ["", "?explain=1"])
def test_nothing_drawn_is_no_error(client, query):
    response = post(client, encoded(Image.new("L", (300, 300), 255)), query=query)
    assert digit_of(response) is None
    answer = response.get_json()
    assert answer["reason"] == "nothing drawn" and answer["probabilities"] is None
    assert not np.any(answer["image"])


def test_most_of_what_is_no_digit_is_refused(client):
    rng = np.random.default_rng(7)
    answers = {
        kind.__name__: [
            digit_of(post(client, encoded(Image.fromarray(kind(rng))))) for _ in range(20)
        ]
        for kind in (non_digits.scribble, non_digits.noise, non_digits.shape)
    }
    for kind, digits in answers.items():
        assert digits.count(None) >= 10, kind


def test_few_real_digits_are_refused(client, digits):
    pictures = [Image.fromarray(image.numpy()) for image in digits[1].images[:200]]
    answers = [digit_of(post(client, encoded(picture))) for picture in pictures]
    assert answers.count(None) <= 8


# --- Pictures of every kind ---


def test_jpeg(client, seven):
    assert digit_of(post(client, encoded(seven, "JPEG"), "image/jpeg")) == 7


def test_palette_image(client, seven):
    assert digit_of(post(client, encoded(seven.convert("P")))) == 7


def test_palette_image_with_transparency(client, seven):
    picture = seven.point(lambda level: 255 if level > 127 else 0).convert("P")
    assert digit_of(post(client, encoded(picture, transparency=255))) == 7


def test_16_bit_image(client, seven):
    picture = Image.fromarray(np.asarray(seven).astype(np.uint16) * 257)
    assert digit_of(post(client, encoded(picture))) == 7


def test_one_bit_image(client, seven):
    assert digit_of(post(client, encoded(seven.convert("1")))) == 7


def test_alpha_image(client, seven):
    picture = Image.new("RGBA", seven.size, (20, 20, 20, 255))
    picture.putalpha(seven.point(lambda level: 255 - level))
    assert digit_of(post(client, encoded(picture))) == 7


def test_cmyk_image(client, seven):
    assert digit_of(post(client, encoded(seven.convert("CMYK"), "JPEG"), "image/jpeg")) == 7


def test_exif_rotated_image(client, seven):
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise by 90 degrees
    lying = seven.transpose(Image.Transpose.ROTATE_90)
    assert digit_of(post(client, encoded(lying, "JPEG", exif=exif), "image/jpeg")) == 7


def test_animated_image_is_read_by_its_first_picture(client, seven):
    blank = Image.new("L", seven.size, 255)
    content = encoded(seven, save_all=True, append_images=[blank, blank], duration=100)
    assert Image.open(io.BytesIO(content)).n_frames > 1
    assert digit_of(post(client, content)) == 7


def test_1x1_image(client):
    assert digit_of(post(client, encoded(Image.new("L", (1, 1))))) is None


def test_long_thin_images(client):
    for size in ((1, 5000), (5000, 1)):
        assert digit_of(post(client, encoded(Image.new("L", size, 255)))) is None


# --- What is no picture ---


def test_zero_bytes(client):
    assert_refused(post(client, b""), 400)


def test_truncated_image(client, seven):
    for file_format in ("PNG", "JPEG"):
        content = encoded(seven, file_format)
        assert_refused(post(client, content[: len(content) // 2]), 400)


def test_text_instead_of_an_image(client):
    assert_refused(post(client, b"this is no image at all"), 400)


def test_other_formats(client, seven):
    for file_format in ("GIF", "BMP", "TIFF", "WEBP"):
        content = encoded(seven.convert("RGB"), file_format)
        assert_refused(post(client, content, f"image/{file_format.lower()}"), 415)
        assert_refused(post(client, content, "image/png"), 400)


def test_wrong_content_type(client, seven):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", None):
        assert_refused(post(client, encoded(seven), content_type), 415)


def test_multipart_is_not_read(client, seven):
    response = client.post("/api/predict", data={"image": (io.BytesIO(encoded(seven)), "7.png")})
    assert_refused(response, 415)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_decompression_bomb_is_refused_before_decoding(client, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    for size in ((30_000, 30_000), (2**31 - 1, 1), (10_000, 10_000)):
        assert_refused(post(client, bomb(*size)), 413)


def test_over_8_mb(client):
    assert_refused(post(client, bytes(8 * MB + 1)), 413)
    assert_refused(post(client, b" " * (8 * MB + 1), "application/json"), 413)


def test_8_mb_is_not_too_large(client):
    assert_refused(post(client, bytes(8 * MB)), 400)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"image": 7}',
        '{"image": null}',
        "\udcff",
        "[" * 999,
    ],
    ids=lambda body: ascii(body[:12]),
)
def test_broken_json(client, body):
    content = body.encode("utf-8", "surrogateescape")
    assert_refused(post(client, content, "application/json"), 400)


@pytest.mark.parametrize("image", ["", "!!!", "aGVsbG8", "é", "aGVsbG8=", "data:image/png;base64,"])
def test_wrong_base64(client, image):
    assert_refused(post(client, json.dumps({"image": image}), "application/json"), 400)


def test_unknown_choice(client, seven):
    for query in ("?votes=yes", "?explain=2"):
        assert_refused(post(client, encoded(seven), query=query), 400)


def test_unknown_address_and_method(client):
    assert_refused(client.get("/nothing/here"), 404)
    assert_refused(client.get("/static/../routes.py"), 404)
    assert_refused(client.get("/api/predict"), 405)


def test_an_error_inside_shows_no_trace(service, seven, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(service, "answer", fail)
    response = post(app.create_app(service).test_client(), encoded(seven))
    assert_refused(response, 500)
    assert "secret" not in response.text
    assert "secret" in caplog.text  # the log has it


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mutated_images_never_crash(client, seven, data):
    file_format = data.draw(st.sampled_from(["PNG", "JPEG"]))
    options = {"exif": Image.Exif()} if data.draw(st.booleans()) else {}
    modes = {"JPEG": ["L", "RGB", "CMYK"], "PNG": ["P", "RGBA"]}
    mode = data.draw(st.sampled_from(modes[file_format]))
    content = bytearray(encoded(seven.convert(mode), file_format, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(1, len(content)))])
    response = post(client, content)
    assert response.status_code in (200, 400, 413)
    assert response.get_json()


# --- Headers, and what is kept ---


@pytest.mark.parametrize("address", ["/", "/static/page.js", "/api/models", "/nothing", "/healthz"])
def test_security_headers(client, address):
    headers = client.get(address).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_page_has_no_inline_script_or_style():
    page = (ROOT / "app" / "static" / "index.html").read_text(encoding="utf-8")
    assert "<style" not in page and " style=" not in page and " on" + "click=" not in page
    assert page.count("<script") == page.count('<script type="module" src="static/page.js">') == 1
    assert "http://" not in page and "https://" not in page


def test_answers_are_not_kept_by_caches(client, seven):
    assert post(client, encoded(seven)).headers["Cache-Control"] == "no-store"


def test_no_file_is_written_and_nothing_logged(client, seven, monkeypatch, caplog):
    def refuse(file, mode="r", *_, **__):
        assert not set(mode) & set("wax+"), f"{file} opened for writing"
        return opened(file, mode, *_, **__)

    opened = io.open
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    large = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1400, 1400), np.uint8))
    for content in (encoded(seven), encoded(large)):
        post(client, content, query="?explain=1")
    assert not caplog.records
