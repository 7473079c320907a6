"""Pictures as people send them: of every kind, repeatable, and read as if they were clean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from study.data import NO_DIGIT
from study.drawing import scenes
from study.drawing.scenes import KINDS
from study.reading import prepare
from study.reading.levels import WORK_SIZE

SMALL = [kind for kind in KINDS if "4000" not in kind]
EMPTY = [kind for kind, look in KINDS.items() if look.empty]
DISTURBED = [kind for kind, look in KINDS.items() if look.add and not look.empty]


def levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))


@pytest.mark.parametrize("kind", SMALL)
def test_every_kind_draws_pictures_that_differ(kind, digits):
    train = digits[0][:100]
    pictures, labels = scenes.draw(kind, 4, 1, train.images.numpy(), train.labels.numpy())
    assert len(pictures) == len(labels) == 4
    assert len({picture.tobytes() for picture in pictures}) == 4
    assert set(labels.tolist()) <= ({NO_DIGIT} if kind in EMPTY else set(range(10)))


@pytest.mark.parametrize(
    "kind", ["canvas", "table at a side", "turned by EXIF", "a name's line above"]
)
def test_seed_decides_and_testing_has_pictures_of_its_own(kind):
    one, other = (scenes.draw(kind, count, seed=1)[0][0] for count in (1, 2))
    assert (levels(one) == levels(other)).all()
    for options in ({"seed": 2}, {"seed": 1, "test": True}):
        different = scenes.draw(kind, 1, **options)[0][0]
        assert one.size != different.size or (levels(one) != levels(different)).any()


def test_every_other_digit_is_one_of_those_given(digits):
    train = digits[0][:1]
    _, labels = scenes.draw("canvas", 20, 0, train.images.numpy(), train.labels.numpy())
    assert (labels[1::2] == train.labels[0].item()).all()
    assert len(set(labels[::2].tolist())) > 3


def test_sizes_and_modes():
    (large,), _ = scenes.draw("3000x4000 pixels", 1, seed=0)
    (tiny,), _ = scenes.draw("30x40 pixels", 1, seed=0)
    assert max(large.size) == 4000 and max(tiny.size) == 40
    assert max(prepare(large).steps["picture"].shape) == WORK_SIZE
    assert scenes.draw("transparent", 1, seed=0)[0][0].mode == "RGBA"
    lying = scenes.draw("turned by EXIF", 3, seed=0)[0]
    assert all(picture.getexif()[0x0112] in (3, 6, 8) for picture in lying)


def test_enlarged_digit_has_its_height_and_pen(digits):
    image = digits[0].images[0].numpy()
    inks = [scenes.enlarged(image, 300, pen) for pen in (None, 0.2)]
    assert all(ink.shape[0] == 300 and 0 <= ink.min() <= ink.max() == 1 for ink in inks)
    assert inks[1].sum() / inks[1].size > 1.2 * inks[0].sum() / inks[0].size
    leaning = scenes.enlarged(image, 300, lean=0.5)
    assert leaning.shape[1] > inks[0].shape[1]


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two images, one moved by at most a pixel, are of the same digit."""
    moved = [np.roll(one, (y, x), axis=(0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(np.corrcoef(each.ravel(), other.ravel())[0, 1] for each in moved) > 0.8


@pytest.mark.parametrize("kind", DISTURBED)
def test_what_is_not_the_digit_makes_no_difference(kind, monkeypatch):
    disturbed = scenes.draw(kind, 10, 3, test=True)[0]
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], add=None))
    clean = scenes.draw(kind, 10, 3, test=True)[0]
    same = [
        alike(prepare(one).image, prepare(other).image)
        for one, other in zip(disturbed, clean, strict=True)
    ]
    assert sum(same) >= 9


@pytest.mark.parametrize("kind", EMPTY)
def test_hardly_anything_is_found_on_empty_sheets(kind):
    pictures, _ = scenes.draw(kind, 10, 3, test=True)
    assert sum(prepare(picture).is_blank for picture in pictures) >= 7
