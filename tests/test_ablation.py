"""The preparation with steps left out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from study.drawing import capture_defects
from study.reading.ablation import INK, MASS, SCALE, STEPS, STROKES, prepared_with
from study.reading.form import prepare_untidied


@pytest.mark.parametrize("degrade", capture_defects.DEFECTS)
def test_all_steps_are_the_preparation(digits, degrade):
    for image in digits[0].images[:5].numpy():
        picture = degrade(image)
        assert (prepared_with(picture) == prepare_untidied(picture)).all()


def test_without_any_step_an_image_of_mnist_stays_as_it_is(digits):
    image = digits[0].images[0].numpy()
    assert (prepared_with(image, ()) == image).all()
    large = Image.fromarray(image).resize((280, 280), Image.Resampling.NEAREST)
    assert (prepared_with(large, ()) == image).all()
    assert prepared_with(np.full((10, 300), 200, np.uint8), ()).shape == (28, 28)


def test_each_step_does_what_it_says(digits):
    digit = Image.fromarray(digits[0].images[0].numpy()).resize((240, 240))
    picture = np.full((300, 400), 255, np.uint8)
    picture[20:260, 10:250] = 255 - np.asarray(digit)
    assert prepared_with(picture, [SCALE])[8:20, 5:23].mean() > 180  # paper is taken for ink
    found = prepared_with(picture, [INK])
    assert found[:4].max() == 0 and found.max() > 240
    for steps, wanted in (((INK, SCALE), False), ((INK, SCALE, MASS), True)):
        image = prepared_with(picture, steps)
        rows, columns = (np.flatnonzero((image > 25).any(axis)) for axis in (1, 0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
        middle = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
        assert (np.abs(np.subtract(middle, 13.5)).max() <= 0.5) or wanted
        mass = ndimage.center_of_mass(image)
        assert (np.abs(np.subtract(mass, 13.5)).max() <= 0.75) or not wanted


def test_strokes_are_evened_only_where_that_is_asked(digits):
    image = Image.fromarray(digits[0].images[0].numpy()).resize((280, 280))
    filters = ImageFilter.MinFilter(15), ImageFilter.MaxFilter(41)
    thin, thick = (np.asarray(image.filter(one)) for one in filters)
    ratios = []
    for steps in (STEPS, set(STEPS) - {STROKES}):
        inks = [prepared_with(one, steps).sum(dtype=float) for one in (thin, thick)]
        ratios.append(inks[0] / inks[1])
    assert ratios[1] + 0.02 < ratios[0] < 1


def test_unknown_steps():
    with pytest.raises(ValueError, match="no step 'polish'"):
        prepared_with(np.zeros((28, 28), np.uint8), ["polish"])
