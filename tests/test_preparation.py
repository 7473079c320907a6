"""The preparation: any picture of a digit, brought to the form of MNIST's."""

from __future__ import annotations

import hashlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from sklearn.datasets import load_digits

from app.service import ANSWERING
from conftest import ROOT
from study import evaluation, weights
from study.data import NO_DIGIT
from study.drawing import fonts, non_digits, scenes, strokes
from study.drawing.capture_defects import DEFECTS
from study.reading import prepare
from study.reading.form import prepare_untidied
from study.reading.levels import WORK_SIZE

NUM_IMAGES = 1000  # of the test set, from its start; the notebook shows the table with more


@pytest.fixture(scope="module")
def model():
    return weights.load_model(ROOT / "models" / f"{ANSWERING}.pt")


@pytest.fixture(scope="module")
def seven(digits) -> np.ndarray:
    """A test digit, dark ink on white, 280x280."""
    picture = Image.fromarray(255 - digits[1].images[0].numpy())
    return np.asarray(picture.resize((280, 280), Image.Resampling.BICUBIC))


def accuracy(model, pictures, labels) -> float:
    images = np.stack([prepare(picture).image for picture in pictures])
    logits = evaluation.predict(model, torch.from_numpy(images))
    return evaluation.num_correct(logits, torch.as_tensor(labels)) / len(labels)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two images, one moved by at most a pixel: 1 where they are the same."""
    moves = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    moved = [np.roll(one, move, axis=(0, 1)) for move in moves]
    return max(float(np.corrcoef(each.ravel(), other.ravel())[0, 1]) for each in moved)


@pytest.mark.parametrize("degrade", DEFECTS, ids=lambda function: function.__name__)
def test_degraded_test_digits_are_read_nearly_as_well(degrade, model, digits):
    test = digits[1][:NUM_IMAGES]
    plain = evaluation.evaluate(model, test)[1]
    degraded = accuracy(model, [degrade(image) for image in test.images.numpy()], test.labels)
    assert degraded >= plain - 0.015


def test_digits_of_another_source_are_read(model):
    source = load_digits()  # 8x8, 0 to 16
    pictures = (source.images * 255 / 16).astype(np.uint8)
    assert accuracy(model, pictures, source.target) >= 0.95


def test_form_is_that_of_mnist(seven):
    image = prepare(seven).image
    assert image.shape == (28, 28) and image.dtype == np.uint8
    rows, columns = (np.flatnonzero((image > 25).any(axis)) for axis in (1, 0))
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 22
    assert np.abs(np.array(ndimage.center_of_mass(image)) - 13.5).max() <= 0.75
    assert image.max() >= 250


def test_steps_lead_from_the_picture_to_the_input(seven):
    prepared = prepare(seven)
    assert list(prepared.steps) == ["picture", "ink found", "cropped", "scaled", "centred"]
    assert (prepared.steps["centred"] == prepared.image).all()
    assert all(step.dtype == np.uint8 for step in prepared.steps.values())


def test_input_stays_as_it_was(seven):
    before = seven.copy()
    prepare(seven)
    assert (seven == before).all()


def test_dark_and_light_ink_give_the_same_image(seven):
    assert overlap(prepare(seven).image, prepare(255 - seven).image) > 0.99


@pytest.mark.parametrize("ink", ["black", "white", "#3355cc"])
def test_transparent_paper(seven, ink):
    picture = Image.new("RGBA", seven.shape, ink)
    picture.putalpha(Image.fromarray(255 - seven))
    assert overlap(prepare(picture).image, prepare(seven).image) > 0.9


def paper(seed=0, size=(240, 240), light=200, texture=6) -> np.ndarray:
    return np.random.default_rng(seed).normal(light, texture, size).clip(0, 255)


def test_scan_on_grey_paper_with_texture(seven):
    scan = (paper(size=seven.shape) * (0.4 + 0.6 * seven / 255)).astype(np.uint8)
    assert overlap(prepare(scan).image, prepare(seven).image) > 0.9


def test_photo_in_uneven_light_with_a_shadow(seven):
    photo = np.full((480, 640), 255.0)
    photo[120:400, 300:580] = seven
    rows, columns = np.indices(photo.shape)
    light = 0.45 + 0.55 * np.exp(-((rows - 100) ** 2 + (columns - 500) ** 2) / 400**2)
    light = ndimage.gaussian_filter(np.where(columns < 160, 0.75, 1) * light, 12)
    photo = (photo * 0.8 + 40) * light * paper(size=photo.shape, texture=3) / 255
    assert overlap(prepare(photo.astype(np.uint8)).image, prepare(seven).image) > 0.85


def test_faint_thin_pencil():
    sheet = paper(texture=3)
    rows, columns = np.indices(sheet.shape)
    distance = np.abs(np.hypot((rows - 120) / 80, (columns - 120) / 50) - 1) * 50
    sheet -= 40 * (distance < 1.2)  # a zero, 2 pixels wide
    image = prepare(sheet.astype(np.uint8)).image
    assert image.max() > 200  # not a grey shade of itself
    assert image[12:16, 12:16].max() < 50 and ndimage.label(image > 60)[1] == 1


def test_specks_are_removed(seven):
    dirty = seven.copy()
    for row, column in np.random.default_rng(0).integers(0, 270, (12, 2)):
        dirty[row : row + 4, column : column + 4] = 90
    assert overlap(prepare(dirty).image, prepare(seven).image) > 0.9


@pytest.mark.parametrize("side", ["top", "left", "bottom", "right"])
def test_strokes_that_touch_the_border(seven, side):
    rows, columns = (np.flatnonzero((seven < 128).any(axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    cut = {
        "top": seven[top:],
        "left": seven[:, left:],
        "bottom": seven[:bottom],
        "right": seven[:, :right],
    }[side]
    assert overlap(prepare(cut).image, prepare(seven).image) > 0.9


@pytest.mark.parametrize(
    "nothing",
    [
        np.full((300, 300), 255, np.uint8),
        np.zeros((300, 300), np.uint8),
        np.full((1, 1), 77, np.uint8),
        np.full((1, 900), 77, np.uint8),
        paper(texture=8).astype(np.uint8),
        np.tile(np.linspace(90, 220, 300), (200, 1)).astype(np.uint8),
    ],
    ids=["white", "black", "1x1", "1x900", "paper", "gradient"],
)
def test_nothing_drawn(nothing):
    prepared = prepare(nothing)
    assert prepared.is_blank and not prepared.image.any()
    assert list(prepared.steps) == ["picture", "ink found"]


def test_a_transparent_picture_is_nothing_drawn():
    assert prepare(Image.new("RGBA", (50, 50))).is_blank


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_every_mode(mode, seven):
    picture = Image.fromarray(seven)
    if mode in ("I", "F"):  # 16 bits
        picture = Image.fromarray(seven.astype(np.int32) * 257).convert(mode)
    prepared = prepare(picture.convert(mode))
    assert overlap(prepared.image, prepare(seven).image) > 0.9


@pytest.mark.parametrize("size", [(3, 3), (9, 200), (200, 9), (2000, 1500)])
def test_every_size(size, seven):
    picture = Image.fromarray(seven).resize(size)
    prepared = prepare(picture)
    assert prepared.image.shape == (28, 28)
    assert max(prepared.steps["picture"].shape) <= WORK_SIZE


def test_broad_marker_and_fine_pen_give_similar_strokes(digits):
    picture = Image.fromarray(digits[1].images[0].numpy()).resize((280, 280))
    fine = ndimage.grey_erosion(np.asarray(picture), size=(9, 9))
    broad = ndimage.grey_dilation(np.asarray(picture), size=(15, 15))
    inks = [prepare(picture).image.sum(dtype=float) for picture in (fine, broad)]
    assert 0.4 < inks[0] / inks[1] < 1


def test_pictures_that_networks_learn_from_stay_as_they_were(digits):
    """Another image would throw every trained network away."""
    images = [
        strokes.draw(30, seed=0)[0],
        strokes.draw(30, seed=0, test=True)[0],
        fonts.draw(30, seed=0)[0],
        non_digits.draw_all(60, 0, digits[0].images[:50].numpy())[0],
    ]
    digest = hashlib.sha256(torch.cat(images).numpy().tobytes()).hexdigest()
    assert digest == "514e4b71296c706a6fb3b4e728c7c3ef7e7e7c92a9f45af930d2c008db1db628"


@pytest.mark.parametrize("kind", [k for k, v in non_digits.KINDS.items() if not v.surface])
def test_clean_pictures_need_no_tidying(kind):
    # The outline of a face in a thick pen, for training, is a ring round something: see below.
    for test in [True] if kind == "faces" else [False, True]:
        for seed in range(4):
            picture = non_digits.KINDS[kind].make(np.random.default_rng(seed), test=test)
            assert (prepare(picture).image == prepare_untidied(picture)).all()


def test_a_face_that_loses_its_outline_is_no_digit_either(model):
    faces = [non_digits.face(np.random.default_rng(seed)) for seed in range(40)]
    images = np.stack([prepare(face).image for face in faces])
    whole = np.stack([prepare_untidied(face) for face in faces])
    assert (images != whole).any((1, 2)).sum() > 4
    answers = evaluation.predict(model, torch.from_numpy(images)).argmax(1)
    assert (answers == NO_DIGIT).sum() >= 38


def test_strip_of_table_beside_the_sheet():
    digit = strokes.picture(
        "8", strokes.Hand.draw(np.random.default_rng(0)), np.random.default_rng(0)
    )
    ink = scenes.enlarged(255 - digit, 280, 9 / 280)[..., None]
    sheet = np.full((480, 560, 3), (245, 243, 238), float)
    left, top = (560 - ink.shape[1]) // 2, 100
    there = sheet[top : top + 280, left : left + ink.shape[1]]
    there[:] = there * (1 - ink) + 30 * ink
    alone = prepare(Image.fromarray(sheet.astype(np.uint8)))
    sheet[:, :58] = (92, 62, 40)
    prepared = prepare(Image.fromarray(sheet.astype(np.uint8)))
    assert overlap(prepared.image, alone.image) > 0.97
    assert "light evened" in prepared.steps and "light evened" not in alone.steps


@pytest.mark.parametrize("side", ["left", "top", "all"])
def test_empty_sheet_on_a_table_is_nothing_drawn(side):
    sheet = paper(light=230, texture=2, size=(300, 360))
    strips = {"left": np.s_[:, :50], "top": np.s_[:40]}
    for strip in (np.s_[:, :50], np.s_[:, -40:], np.s_[:40], np.s_[-50:]):
        if side == "all" or strip == strips[side]:
            sheet[strip] = paper(1, size=sheet[strip].shape, light=80, texture=4)
    assert prepare(sheet.astype(np.uint8)).is_blank


def test_bar_of_a_close_crop_is_no_table():
    bar = np.full((240, 160), 255, np.uint8)
    bar[:30] = 0  # a 7 of straight lines, from edge to edge
    for row in range(240):
        left = 130 - row // 3
        bar[row, left : left + 30] = 0
    assert (prepare(bar).image == prepare_untidied(bar)).all()


def test_slashed_and_dotted_zeros_are_no_frames():
    for style in ("0 slashed", "0 dotted"):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            picture = strokes.picture(style, strokes.Hand.draw(rng), rng)
            assert (prepare(picture).image == prepare_untidied(picture)).all()


def test_frame_lines_and_words_are_removed(seven):
    form = Image.new("L", (500, 560), 255)
    form.paste(Image.fromarray(seven), (110, 180))
    pen = ImageDraw.Draw(form)
    pen.rectangle((90, 170, 410, 480), outline=0, width=4)
    pen.text((30, 40), "Name: ______", 0, font_size=40)
    prepared = prepare(form)
    assert overlap(prepared.image, prepare(seven).image) > 0.97
    assert list(prepared.steps)[1:3] == ["ink found", "frame and print removed"]
    pen.rectangle((90, 170, 410, 480), outline=255, width=4)
    pen.line((150, 480, 350, 486), 0, 10)
    assert overlap(prepare(form).image, prepare(seven).image) > 0.97


def test_box_is_where_the_digit_is():
    picture = np.full((200, 400), 255, np.uint8)
    picture[50:150, 300:320] = 0
    assert prepare(picture).box == pytest.approx((0.75, 0.25, 0.8, 0.75), abs=0.02)
    assert prepare(np.full((200, 400), 255, np.uint8)).box is None


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh Python has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    return set(subprocess.check_output(command, cwd=ROOT, text=True).split())


def test_preparation_loads_neither_flask_nor_torch():
    loaded = loaded_by("from study.reading import prepare")
    assert "study.reading.paper" in loaded and not {"flask", "app", "torch"} & loaded


def test_nothing_in_the_study_loads_flask():
    modules = [m.name for m in pkgutil.walk_packages([str(ROOT / "study")], "study.")]
    assert "study.reading.ink" in modules and "study.data" in modules
    assert not {"flask", "app"} & loaded_by(f"import {', '.join(modules)}")


def test_drawing_shares_the_form_of_a_digit_with_the_preparation_and_no_more():
    """What tidies a user's picture can be mended without other pictures to train on."""
    modules = [
        m.name for m in pkgutil.walk_packages([str(ROOT / "study/drawing")], "study.drawing.")
    ]
    loaded = loaded_by(f"import {', '.join(modules)}")
    reading = {name.split(".")[2] for name in loaded if name.startswith("study.reading.")}
    assert reading == {"form", "ink", "levels"}
