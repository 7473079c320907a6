"""The API: answers, refusals, and whatever else may be sent to it."""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

import app
from app.service import (
    ANSWERING,
    HIDDEN,
    NO_ANSWER,
    NUM_NEIGHBOURS,
    STEP,
    VOTERS,
    Service,
    _entry,
    occlusion,
)
from asking import assert_refused, digit_of, encoded, post, writing_watched
from conftest import ROOT
from experiments.scenes import side_by_side
from network import CNN
from study import evaluation, weights
from study.drawing import non_digits
from study.reading import prepare
from study.reading.reader import Digit
from study.tables import NAMES

MB = 2**20


# --- Answers ---


def test_answer_to_one_digit(client, seven):
    answer = post(client, encoded(seven), query="").get_json()
    assert answer["digit"] == answer["closest"] == 7 and answer["reason"] is None
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-3)
    assert answer["score"] == answer["probabilities"][10] < answer["threshold"] == 0.5
    assert answer["image"] == prepare(seven).image.tolist()
    version = weights.version(weights.load_model(ROOT / "models" / f"{ANSWERING}.pt"))
    label = {"name": NAMES[ANSWERING], "file": ANSWERING, "version": version}
    assert answer["model"] == label
    [one] = answer["digits"]
    assert {key: one[key] for key in one if key != "box"} == {
        key: answer[key] for key in (*NO_ANSWER, "image")
    }
    rows, columns = (np.flatnonzero((np.asarray(seven) < 128).any(axis)) for axis in (1, 0))
    ends = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    assert one["box"] == pytest.approx(ends / 140, abs=0.04)


def test_voters_are_few_and_called_as_in_the_table_of_results(client, seven):
    """Those with ten outputs cannot say that it is no digit."""
    assert len(VOTERS) == len(set(VOTERS)) <= 8
    votes = post(client, encoded(seven), query="").get_json()["models"]
    listed = client.get("/api/models").get_json()["models"]
    for models in (votes, listed):
        assert [model["file"] for model in models] == list(VOTERS)
        assert [model["name"] for model in models] == [NAMES[file] for file in VOTERS]
    assert [vote["version"] for vote in votes] == [model["version"] for model in listed]
    assert [model["file"] for model in listed if model["answers"]] == [ANSWERING]
    eleven = {vote["file"] for vote in votes if len(vote["probabilities"]) == 11}
    assert eleven == {"robust", "robust_small"}
    alone = post(client, encoded(seven), query="?votes=0").get_json()["models"]
    assert alone == votes[:1]


def pixels_of(address: str) -> np.ndarray:
    """The pixels of a PNG in a data URL."""
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))


def test_explanation_shows_pictures(client, seven):
    answer = post(client, encoded(seven), query="?explain=1").get_json()
    assert answer == post(client, encoded(seven), query="?explain=1").get_json()
    for part in [answer["occlusion"], *answer["steps"], *answer["neighbours"]]:
        assert pixels_of(part["picture"]).size
    assert [one["label"] for one in answer["neighbours"]].count(7) >= 5


def hidden_square(image: torch.Tensor, top: int, left: int) -> torch.Tensor:
    copy = image.clone()
    copy[top : top + HIDDEN, left : left + HIDDEN] = 0
    return copy


def test_occlusion_is_the_fall_where_that_ink_is_hidden(service, digits):
    """Each pixel's is that of some square with it, and of none with it the fall is larger."""
    network = service.answering.network
    for image, label in zip(digits[1].images[3:6], digits[1].labels[3:6], strict=True):
        probability, falls = occlusion(network, image)
        assert not falls[image.numpy() == 0].any() and falls.max() > 1e-3
        corners = [(top, left) for top in range(0, 22, STEP) for left in range(0, 22, STEP)]
        images = torch.stack([image, *(hidden_square(image, *corner) for corner in corners)])
        asked = evaluation.predict(network, images).softmax(1)[:, label].numpy()
        assert probability == pytest.approx(asked[0], abs=1e-5)
        for row, column in image.nonzero()[::9].tolist():
            near = [
                fall
                for fall, (top, left) in zip(asked[0] - asked[1:], corners, strict=True)
                if 0 <= row - top < HIDDEN and 0 <= column - left < HIDDEN
            ]
            assert falls[row, column] == pytest.approx(max(0, *near), abs=1e-5)


class LeftHalf(torch.nn.Module):
    """Sees nothing but the left half: the more ink is there, the likelier a 3."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.05))

    def forward(self, images):
        ink = self.weight * images[..., :14].sum((1, 2, 3))
        return ink[:, None] * torch.nn.functional.one_hot(torch.tensor(3), 11)


def test_occlusion_shows_only_what_a_network_sees(digits):
    """From a square's width beyond it on, no square that hides a pixel reaches the left half."""
    image = digits[1].images[8]
    _, falls = occlusion(LeftHalf(), image)
    ink = image.numpy() > 100
    assert (falls[:, :14][ink[:, :14]] > 0).all() and ink[:, :14].any()
    assert not falls[:, 14 + HIDDEN :].any() and ink[:, 14 + HIDDEN :].any()


def test_occlusion_of_blank_paper_is_nothing(service):
    _, falls = occlusion(service.answering.network, torch.zeros(28, 28, dtype=torch.uint8))
    assert not falls.any()


def test_picture_of_the_occlusion_is_black_but_for_ink_and_orange_where_it_matters(service, digits):
    answer = service.answer(255 - digits[1].images[9].numpy(), explain=True)
    image = torch.tensor(answer["image"], dtype=torch.uint8)
    probability, falls = occlusion(service.answering.network, image)
    lowest = answer["occlusion"]["lowest"]
    assert lowest == pytest.approx(probability - falls.max(), abs=1e-4)
    colours = pixels_of(answer["occlusion"]["picture"]).astype(int)
    assert not colours[image.numpy() == 0].any()
    orange, strong = colours[..., 0] - colours[..., 2], image.numpy() > 100
    assert orange[falls < 1e-3].max() <= 1
    assert orange[strong & (falls > 0.5)].min() > 40


def test_healthz(client):
    assert client.get("/healthz").get_json() == {"status": "ok"}


def form(value) -> object:
    """What stays the same from one answer, or one training, to the next: keys and types.

    Of a list it is the form of its first item, of a version its length in hexadecimal digits.
    """
    if isinstance(value, dict):
        return [
            (key, len(re.fullmatch("[0-9a-f]+", part)[0]) if key == "version" else form(part))
            for key, part in value.items()
        ]
    return [form(value[0])] if isinstance(value, list) else type(value)


def test_documentation_shows_an_answer_and_names_every_key(client, seven):
    documentation = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    sample = json.loads(re.search(r"```json\n(.*?)\n```", documentation, re.DOTALL)[1])
    answer = post(client, encoded(seven), query="").get_json()
    assert form(sample) == form(answer)
    for key in ("digit", "closest", "reason", "probabilities", "score"):
        assert sample["digits"][0][key] == sample[key]
    for key in ("name", "file"):
        assert sample["model"][key] == sample["models"][0][key] == answer["model"][key]
    explained = post(client, encoded(seven), query="?explain=1").get_json()
    listed = client.get("/api/models").get_json()["models"]
    parts = explained["occlusion"], explained["steps"][0], explained["neighbours"][0]
    keys = {*explained, *listed[0]}.union(*parts)
    assert keys <= set(re.findall(r"`(\w+)`", documentation))


# --- Several digits ---


def sheet(*images: np.ndarray, gap: int = 5) -> Image.Image:
    """Images, uint8 (28, 28), bright on black, in a line on a white sheet, six times as large."""
    line = Image.fromarray(side_by_side(images, gap))
    line = line.resize((6 * line.width, 6 * line.height), Image.Resampling.BICUBIC)
    paper = Image.new("L", (line.width + 200, line.height + 300), 255)
    paper.paste(line, (60, 110))
    return paper


def hash_sign() -> np.ndarray:
    """A fence of three posts and two rails, like a test digit; it is none."""
    image = np.zeros((28, 28), np.uint8)
    image[4:24, [7, 8, 13, 14, 19, 20]] = image[[9, 10, 17, 18], 5:23] = 255
    return image


def read_digits(answer: dict) -> list[int | None]:
    return [one["digit"] for one in answer["digits"]]


def test_numbers_are_read_from_left_to_right(client, digits):
    images, labels = digits[1].images.numpy(), digits[1].labels.tolist()
    right = 0
    for start, length in [(start, 2 + start % 5) for start in range(0, 48, 4)]:
        places = slice(start, start + length)
        answer = post(client, encoded(sheet(*images[places]))).get_json()
        right += read_digits(answer) == labels[places]
        lefts = [one["box"][0] for one in answer["digits"]]
        assert lefts == sorted(lefts)
    assert right >= 11


def test_answer_to_several_digits_has_all_its_parts(client, digits):
    picture = sheet(*digits[1].images[:3].numpy())
    answer = post(client, encoded(picture), query="?explain=1").get_json()
    assert read_digits(answer) == [7, 2, 1] and answer["reason"] == "several digits"
    assert all(answer[key] is None for key in (*NO_ANSWER, "image") if key != "reason")
    assert answer["models"] == [] and not {"occlusion", "neighbours"} & answer.keys()
    for one in answer["digits"]:
        assert one["reason"] is None and one["closest"] == one["digit"]
        assert len(one["probabilities"]) == 11 and one["probabilities"][one["digit"]] > 0.9
        assert one["score"] == one["probabilities"][10] < answer["threshold"]
        assert np.array(one["image"]).shape == (28, 28)
    names = [step["name"] for step in answer["steps"]]
    assert names == ["picture", "ink of digits", "middles of digits", *["centred"] * 3]


def page_of(lines: list[np.ndarray]) -> Image.Image:
    """Lines of images, (N, 28, 28), below each other on a white sheet, four times as large."""
    rows = [Image.fromarray(side_by_side(images, 5)) for images in lines]
    paper = Image.new("L", (max(row.width for row in rows), 44 * len(rows)), 255)
    for place, row in enumerate(rows):
        paper.paste(row, (0, 44 * place))
    return paper.resize((4 * paper.width, 4 * paper.height), Image.Resampling.BICUBIC)


def test_lines_are_read_from_the_top(client, digits):
    images, labels = digits[1].images[:15].numpy(), digits[1].labels[:15].tolist()
    answer = post(client, encoded(page_of(np.split(images, [4, 9])))).get_json()
    wanted = [labels[:4], labels[4:9], labels[9:]]
    read = [[one["digit"] for one in line["digits"]] for line in answer["lines"]]
    assert read == wanted and read_digits(answer) == labels
    assert [line["text"] for line in answer["lines"]] == ["".join(map(str, w)) for w in wanted]
    places = [one["place"] for line in answer["lines"] for one in line["digits"]]
    assert places == list(range(15))
    for line in answer["lines"]:
        boxes = np.array([answer["digits"][one["place"]]["box"] for one in line["digits"]])
        assert line["box"] == [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
        assert (np.diff(boxes[:, 0]) > 0).all()
    tops = [line["box"][1] for line in answer["lines"]]
    assert tops == sorted(tops)


def test_no_line_where_there_is_no_digit(client):
    for picture in (Image.new("L", (300, 200), 255), Image.fromarray(255 - hash_sign())):
        answer = post(client, encoded(picture)).get_json()
        assert answer["lines"] == [] and answer["digit"] is None


def test_a_refused_piece_among_digits(client, digits):
    seven, two = digits[1].images[:2].numpy()
    answer = post(client, encoded(sheet(seven, hash_sign(), two))).get_json()
    assert read_digits(answer) == [7, None, 2] and answer["reason"] == "several digits"
    refused = answer["digits"][1]
    assert refused["reason"] == "no digit that I know" and refused["closest"] is not None
    assert refused["score"] >= answer["threshold"]


@pytest.mark.parametrize(
    ("none", "reason"), [(0.5, "no digit that I know"), (0.1, "not sure which digit")]
)
def test_a_refusal_says_whether_it_is_none_or_doubtful(digits, none, reason):
    probabilities = np.zeros(11)
    probabilities[[4, 9, 10]] = 0.5 * (1 - none), 0.5 * (1 - none), none
    one = Digit(None, 4, probabilities, prepare(digits[1].images[4].numpy()), 0.9)
    assert _entry(one)["reason"] == reason


def test_letters_are_no_number(client):
    """None of them looks like a digit, or only one does, as the o in "Home"."""
    font = ImageFont.truetype(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 90
    )
    for word in ("HAWK", "Home"):
        picture = Image.new("L", (460, 200), 255)
        ImageDraw.Draw(picture).text((50, 40), word, 0, font)
        answer = post(client, encoded(picture)).get_json()
        assert answer["reason"] == "no digit that I know" and read_digits(answer) == [None]


def test_a_digit_in_two_pieces_is_one(client):
    """A 5 whose top is loose and reaches far to the right."""
    picture = Image.new("L", (400, 400), 255)
    pen = ImageDraw.Draw(picture)
    pen.line(
        [(150, 110), (150, 190), (200, 180), (235, 215), (235, 265), (200, 300)], 0, 18, "curve"
    )
    pen.line([(200, 300), (150, 295)], 0, 18)
    pen.line([(172, 100), (280, 92)], 0, 18)
    answer = post(client, encoded(picture)).get_json()
    assert answer["digit"] == 5 and len(answer["digits"]) == 1


def test_network_sees_each_image_once(service, digits):
    """What was scored to take a number apart is not evaluated again."""
    seen = []
    network = service.answering.network
    hook = network.register_forward_hook(lambda _, inputs, __: seen.extend(inputs[0].tolist()))
    for images in (digits[1].images[:1], digits[1].images[:4]):
        seen.clear()
        answer = service.answer(np.asarray(sheet(*images.numpy())), votes=False)
        assert len(answer["digits"]) == len(images) <= len(seen)
        assert not any(image in seen[:place] for place, image in enumerate(seen))
    hook.remove()


def test_service_without_voters(seven, monkeypatch):
    """As the command line uses it; the training images are loaded once they are needed."""
    monkeypatch.setattr("app.service.NUM_GALLERY", 100)
    answer = Service(votes=False).answer(np.asarray(seven), explain=True)
    assert answer["digit"] == 7 and [vote["file"] for vote in answer["models"]] == [ANSWERING]
    assert len(answer["neighbours"]) == NUM_NEIGHBOURS


# --- The saved models ---


def linked(root: Path, replaced: dict[str, bytes | None]) -> Path:
    """A folder with models and data like the repository's, but for the files in ``replaced``."""
    (root / "models").mkdir()
    (root / "data").symlink_to(ROOT / "data")
    for file in (*VOTERS, "finder"):
        path = root / "models" / f"{file}.pt"
        if file not in replaced:
            path.symlink_to(ROOT / "models" / path.name)
        elif replaced[file] is not None:
            path.write_bytes(replaced[file])
    return root


def content_of(model: torch.nn.Module) -> bytes:
    history = pd.DataFrame({"seconds": [1.0]})
    return weights.pack(model, hyperparameters={}, seed=0, history=history)


def foreign() -> bytes:
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, file)
    return file.getvalue()


def test_voters_that_fail_are_left_out(tmp_path, monkeypatch, caplog, seven):
    monkeypatch.setattr("app.service.NUM_GALLERY", 100)
    not_finite = CNN()
    torch.nn.init.constant_(not_finite.classifier.bias, torch.nan)
    whole = (ROOT / "models" / "with_augmentation.pt").read_bytes()
    bad = {
        "robust_small": foreign(),
        "with_augmentation": b"these are my notes",
        "ensemble": whole[: len(whole) // 2],
        "rnn": None,
        "gru": content_of(CNN(num_classes=12)),
        "lstm": content_of(not_finite),
    }
    root = linked(tmp_path, bad)
    (root / "models" / "notes.pt").write_text("not a model, and none of the voters")
    service = Service(root)
    left = [file for file in VOTERS if file not in bad]
    assert [voter.file for voter in service.voters] == left
    assert len(caplog.messages) == len(bad)
    for file, message in zip(bad, caplog.messages, strict=True):
        assert repr(NAMES[file]) in message and f"{file}.pt" in message
    answer = post(app.create_app(service).test_client(), encoded(seven), query="").get_json()
    assert answer["digit"] == 7 and [vote["file"] for vote in answer["models"]] == left


def test_page_does_not_start_without_an_answering_model_that_can_refuse(tmp_path):
    contents = content_of(CNN()), content_of(CNN(num_classes=12)), b"my notes", foreign(), None
    for number, content in enumerate(contents):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(weights.ModelFileError, match=f"{ANSWERING}.pt"):
            Service(linked(tmp_path / str(number), {ANSWERING: content}))


# --- Starting ---


def test_a_prediction_takes_one_thread(service):
    torch.set_num_threads(2)
    app.create_app(service)
    assert torch.get_num_threads() == 1


def test_page_starts_without_writing(tmp_path, monkeypatch):
    """So a clone on a read-only disc is enough, with the archives of MNIST not unpacked."""
    monkeypatch.setattr("app.service.NUM_GALLERY", 100)
    root = linked(tmp_path, {})
    (root / "data").unlink()
    raw = root / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in (ROOT / "data" / "MNIST" / "raw").glob("*.gz"):
        (raw / archive.name).symlink_to(archive)
    with writing_watched() as changed:
        app.create_app(Service(root))
    assert changed == []


# --- Something that is no digit ---


def letter_m() -> Image.Image:
    """An M in dark strokes on white."""
    picture = Image.new("L", (200, 200), 255)
    corners = [(40, 160), (45, 40), (100, 110), (155, 40), (160, 160)]
    ImageDraw.Draw(picture).line(corners, 0, 14, joint="curve")
    return picture


@pytest.mark.parametrize("letter", ["A", "H", "K", "N", "W"])
def test_a_letter_in_one_piece_is_no_number_of_its_parts(client, letter):
    picture = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(picture).text((50, 20), letter, font=ImageFont.load_default(200), fill=0)
    answer = post(client, encoded(picture)).get_json()
    assert answer["lines"] == [] and answer["reason"] == "no digit that I know"


def test_a_refusal_names_the_closest_digit(client):
    answer = post(client, encoded(letter_m()), query="?explain=1").get_json()
    assert answer["digit"] is None and answer["reason"] == "no digit that I know"
    assert answer["closest"] in range(10)
    assert answer["score"] == answer["probabilities"][10] >= answer["threshold"]
    assert answer["occlusion"] and answer["neighbours"]


@pytest.mark.parametrize(("none", "digit"), [(4.5, 4), (5.0, None)])
def test_the_answer_is_refused_from_one_half_and_votes_go_to_the_largest_output(
    service, monkeypatch, none, digit
):
    """ "No digit" has a probability near one half, and is likelier than any digit."""
    logits = [0.0] * 3 + [3.0, 4.0, 3.0] + [0.0] * 4 + [none]

    def predict(network, image, **_):
        return torch.tensor([logits] * len(image))[:, : 11 if network in knows else 10]

    knows = [voter.network for voter in service.voters[:2]]
    monkeypatch.setattr("app.service.evaluation.predict", predict)
    answering = service.answering.network
    monkeypatch.setattr(answering, "forward", lambda images: predict(answering, images))
    answer = service.answer(np.asarray(letter_m()))
    assert 0.4 < answer["score"] < 0.6
    assert answer["digit"] == digit and answer["closest"] == 4
    assert (answer["reason"] is None) == (digit is not None)
    assert [vote["digit"] for vote in answer["models"]] == [digit, None] + [4] * 6


@pytest.mark.parametrize("query", ["", "?explain=1"])
def test_nothing_drawn_is_no_error(client, query):
    response = post(client, encoded(Image.new("L", (300, 300), 255)), query=query)
    assert digit_of(response) is None
    answer = response.get_json()
    assert answer["reason"] == "nothing drawn" and answer["models"] == answer["digits"] == []
    assert all(answer[key] is None for key in ("closest", "probabilities", "score"))
    assert not np.any(answer["image"])


def test_most_non_digits_are_refused_and_hardly_a_digit_is(service, digits):
    images = torch.cat([non_digits.draw(kind, 3, seed=7) for kind in non_digits.KINDS])
    refused = []
    for pictures in (images, digits[1].images[:100]):
        answers = [service.answer(one, votes=False)["digit"] for one in pictures.numpy()]
        refused.append(answers.count(None) / len(answers))
    assert refused[0] >= 0.9 and refused[1] <= 0.02


def test_unknown_choice_address_and_method(client, seven):
    for query in ("?votes=yes", "?explain=2"):
        assert_refused(post(client, encoded(seven), query=query), 400)
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


# --- Headers, and what is kept ---


@pytest.mark.parametrize("address", ["/", "/static/page.js", "/api/models", "/nothing"])
def test_security_headers(client, address):
    headers = client.get(address).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(("site", "status"), [("same-origin", 200), ("same-site", 403)])
def test_pages_of_other_origins_are_not_served(client, seven, site, status):
    """Another port of the same machine is another origin, although it is the same site."""
    headers = {"Sec-Fetch-Site": site, "Origin": "http://127.0.0.1:3000"}
    body, address = encoded(seven), "/api/predict?votes=0"
    response = client.post(address, data=body, headers=headers, content_type="image/png")
    assert response.status_code == status
    preflight = client.options(address, headers=headers)
    for answer in (response, preflight):
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_answers_are_not_kept_by_caches(client, seven):
    assert post(client, encoded(seven)).headers["Cache-Control"] == "no-store"


def test_no_file_is_written_and_nothing_logged(client, seven, caplog):
    large = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1400, 1400), np.uint8))
    contents = [encoded(seven), encoded(large)]
    assert len(contents[1]) > MB
    with writing_watched() as changed:
        for content in contents:
            post(client, content, query="?explain=1")
    assert changed == [] and not caplog.records
    with writing_watched() as changed:  # it sees even files that leave no trace
        tempfile.TemporaryFile().close()
    assert changed
