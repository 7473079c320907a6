"""Digits drawn as strokes: legible, repeatable, in hands that are not the same for testing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from conftest import ROOT
from study import evaluation, weights
from study.drawing import strokes
from study.drawing.strokes import MARKER, STYLES, TEST_RANGES, TRAINING_RANGES, Hand
from study.reading.form import prepare_untidied

STEADY = Hand(
    width=0.6,
    slant=0,
    turn=0,
    pen=0.06,
    nib=0,
    nib_angle=0,
    pressure=0,
    wobble=0,
    bend=0,
    tremor=0,
    roundness=1,
    flag=0.4,
    droop=math.radians(45),
)


def num_holes(style: str) -> int:
    picture = strokes.picture(style, STEADY, np.random.default_rng(0))
    return ndimage.label(picture > 128)[1] - 1  # without the paper around it


def test_images_are_like_mnist_and_the_styles_take_turns():
    images, labels = strokes.draw(2 * len(STYLES), seed=0)
    assert images.shape == (2 * len(STYLES), 28, 28) and images.dtype == torch.uint8
    assert labels.tolist() == [int(style[0]) for style in STYLES] * 2
    assert set(labels.tolist()) == set(range(10))
    assert (images.amax((1, 2)) > 200).all()


def test_seed_decides_and_count_does_not():
    ten = strokes.draw(10, seed=3)[0]
    assert torch.equal(ten, strokes.draw(12, seed=3)[0][:10])
    assert not torch.equal(ten, strokes.draw(10, seed=4)[0])


def test_a_third_of_what_is_trained_on_comes_from_few_pixels():
    picture = strokes.picture("3", STEADY, np.random.default_rng(0))
    fine = prepare_untidied(picture)
    shown = {
        test: [strokes.prepared(picture, np.random.default_rng(i), test) for i in range(90)]
        for test in (False, True)
    }
    assert all((image == fine).all() for image in shown[True])
    coarse = [image for image in shown[False] if (image != fine).any()]
    assert 20 <= len(coarse) <= 40
    assert len({image.tobytes() for image in coarse}) > 10
    assert all(np.abs(image.astype(int) - fine).mean() < 40 for image in coarse)  # still a 3


def test_hands_for_testing_are_others_and_wider():
    trained = strokes.draw(10, seed=3)[0]
    tested = strokes.draw(10, seed=3, test=True)[0]
    assert not (trained == tested).all((1, 2)).any()
    for name in ("width", "slant", "turn", "pen", "nib", "bend", "tremor"):
        low, high = TRAINING_RANGES[name]
        values = [getattr(Hand.draw(np.random.default_rng(i), True), name) for i in range(200)]
        assert min(values) < low or max(values) > high, name
        assert TEST_RANGES[name][0] <= min(values) and max(values) <= TEST_RANGES[name][1]


@pytest.mark.parametrize("style", STYLES)
def test_half_of_the_1s_for_training_are_written_with_markers(monkeypatch, style):
    pens = []
    monkeypatch.setattr(strokes, "picture", lambda style, hand, rng: pens.append(hand.pen))
    monkeypatch.setattr(strokes, "prepared", lambda picture, rng, test: np.zeros((28, 28)))
    strokes.draw(400, 0, [style], test=True)
    assert max(pens) <= TEST_RANGES["pen"][1]
    pens.clear()
    strokes.draw(400, 0, [style])
    thinnest, widest = TRAINING_RANGES["pen"]
    if style[0] == "1":
        assert 1.8 * widest < max(pens) <= MARKER * widest
        # Half of them have the mean of the range, the others that times the mean factor.
        mean = (thinnest + widest) / 2 * (1 + (1 + MARKER) / 2) / 2
        assert np.mean(pens) == pytest.approx(mean, rel=0.1)
    else:
        assert max(pens) <= widest


@pytest.mark.parametrize("test", [False, True], ids=["training", "testing"])
def test_digits_are_read_by_a_network_that_never_saw_one(test):
    styles = [style for style in STYLES if style not in ("0 slashed", "1 with a flag")]
    images, labels = strokes.draw(10 * len(styles), 5, styles, test)
    model = weights.load_model(ROOT / "models" / "with_augmentation.pt")
    logits = evaluation.predict(model, images)
    assert evaluation.num_correct(logits, labels) / len(labels) >= 0.97


def test_styles_have_their_marks():
    assert [num_holes(f"0{mark}") for mark in ("", " slashed", " dotted")] == [1, 2, 1]
    assert [num_holes("4 open"), num_holes("4 closed")] == [0, 1]
    assert [num_holes("2"), num_holes("2 with a loop")] == [0, 1]
    dotted = strokes.picture("0 dotted", STEADY, np.random.default_rng(0))
    assert ndimage.label(dotted < 128)[1] == 2
    middle = [
        (strokes.picture(style, STEADY, np.random.default_rng(0))[64] < 128).sum()
        for style in ("7", "7 crossed")
    ]
    assert middle[1] > 2 * middle[0]


@pytest.mark.parametrize("slant", [0, 0.3])
def test_flag_has_its_length_and_angle(slant):
    hand = Hand(**{**vars(STEADY), "slant": slant})
    flag = []
    for seed in range(20):
        picture = strokes.picture("1 with a flag", hand, np.random.default_rng(seed)) < 128
        rows, columns = np.nonzero(picture)
        height = np.ptp(rows)
        tip, top = columns.argmin(), rows.argmin()
        if slant:  # the foot of a stem that leans may be further to the left
            upper = rows < rows.min() + height / 2
            tip = np.flatnonzero(upper)[columns[upper].argmin()]
        flag.append((columns[top] - columns[tip], rows[tip] - rows[top]) / height)
    across, down = np.mean(flag, axis=0)
    # Both ends are rounded by half a pen.
    assert across == pytest.approx(0.4 * math.sin(math.pi / 4), abs=0.06)
    assert down == pytest.approx(0.4 * math.sin(math.pi / 4), abs=0.06)


def test_only_a_foot_makes_a_1_wide_at_its_end():
    widths = {}
    for style in ("1 with a flag", "1 with a flag and a foot"):
        picture = strokes.picture(style, STEADY, np.random.default_rng(1)) < 128
        rows = np.flatnonzero(picture.any(1))
        widths[style] = np.ptp(np.flatnonzero(picture[rows[-4:]].any(0)))
    assert widths["1 with a flag"] < 10 < 25 < widths["1 with a flag and a foot"]
