"""Digits printed in fonts: legible, repeatable, in fonts apart for testing."""

from __future__ import annotations

import pytest
import torch
from fontTools.ttLib import TTFont

from conftest import ROOT
from study import evaluation, weights
from study.drawing import fonts, letters

EVERY_FONT = sorted({*fonts.TRAINING_FONTS, *fonts.TEST_FONTS})


def test_fonts_for_testing_are_never_trained_on():
    trained, tested = set(fonts.TRAINING_FONTS), set(fonts.TEST_FONTS)
    packages = [{package for package, _ in names} for names in (trained, tested)]
    assert packages[0] & packages[1] == {"matplotlib"}
    assert not trained & tested


@pytest.mark.parametrize("font", EVERY_FONT, ids=lambda font: font[1])
def test_every_font_is_there_with_its_characters(font):
    with TTFont(fonts.path(*font)) as file:
        known = set(file.getBestCmap() or file["cmap"].tables[0].cmap)
    wanted = fonts.DIGITS + letters.LETTERS + letters.SIGNS
    if font[1].startswith(("DejaVu", "STIX")):
        wanted += letters.FOREIGN_LETTERS
    assert not [sign for sign in wanted if ord(sign) not in known]


def test_images_are_like_mnist_and_the_digits_take_turns():
    images, labels = fonts.draw(20, seed=0)
    assert images.shape == (20, 28, 28) and images.dtype == torch.uint8
    assert labels.tolist() == [*range(10)] * 2 and labels.dtype == torch.int64
    assert (images.amax((1, 2)) > 200).all()


def test_seed_decides_and_count_does_not():
    ten = fonts.draw(10, seed=3)[0]
    assert torch.equal(ten, fonts.draw(12, seed=3)[0][:10])
    assert not torch.equal(ten, fonts.draw(10, seed=4)[0])
    assert not (ten == fonts.draw(10, seed=3, test=True)[0]).all((1, 2)).any()


def test_networks_read_what_is_printed_in_fonts_for_testing():
    images, labels = fonts.draw(300, seed=0, test=True)
    robust = weights.load_model(ROOT / "models" / "robust.pt")
    assert evaluation.num_correct(evaluation.predict(robust, images), labels) / len(labels) > 0.95
