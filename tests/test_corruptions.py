"""Each kind of damage against its description, and all of them against what they share."""

from __future__ import annotations

import numpy as np
import pytest

from study.corruptions import CORRUPTIONS, GROUPS, damaged
from study.damages import DAMAGES

KINDS = CORRUPTIONS | DAMAGES


@pytest.fixture(scope="module")
def images(few) -> np.ndarray:
    return few[0].images[:200].numpy()


def under(images, name):
    """Images under one kind of damage, as numbers in [0, 1]."""
    return damaged(images, KINDS[name]) / 255


def centres(images):
    """Centres of mass (N, 2): down and right, in pixels from the middle."""
    images = images.astype(float)
    place = np.arange(28) - 13.5
    ink = images.sum((1, 2))
    return np.stack([images.sum(2) @ place, images.sum(1) @ place], 1) / ink[:, None]


def bar(rows=slice(4, 24), columns=slice(13, 15), value=255):
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, rows, columns] = value
    return image


def many(image):
    """One image in 300 versions, told apart by their first row: each has its own damage."""
    versions = np.repeat(image, 300, axis=0)
    versions[:, 0, 0] = np.arange(300) % 200 // 100
    versions[:, 0, 1] = np.arange(300) % 100
    return versions


def test_there_are_fifteen_and_six():
    assert len(CORRUPTIONS) == 15
    assert len(DAMAGES) == 6
    assert sorted(sum(GROUPS.values(), ())) == sorted(CORRUPTIONS)
    assert not set(CORRUPTIONS) & set(DAMAGES)


@pytest.mark.parametrize("name", KINDS)
def test_an_image_is_damaged_its_own_way_and_alike_in_any_batch(images, name):
    before = images.copy()
    together = damaged(images, KINDS[name])
    assert together.shape == images.shape
    assert together.dtype == np.uint8
    assert np.array_equal(images, before)
    assert np.array_equal(damaged(images[7:8], KINDS[name]), together[7:8])
    assert (together != images).any((1, 2)).all()


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"brightness", "stripe", "canny_edges"}))
def test_blank_paper_is_no_error(name):
    assert under(np.zeros((2, 28, 28), np.uint8), name).max() <= 1


@pytest.mark.parametrize("name", DAMAGES)
def test_the_digit_is_still_there(images, name):
    """Of the ink, most stays where it was, and most of what is bright was ink."""
    changed, ink = under(images, name), images > 127
    assert changed[ink].mean() > 0.55
    assert changed[images == 0].mean() < 0.25


def test_shot_noise_counts_to_three():
    grey = under(many(bar(slice(2, 26), slice(2, 26), 127)), "shot_noise")[:, 2:26, 2:26]
    assert set(np.unique(grey * 3).round(2)) == {0, 1, 2, 3}
    rate = 3 * 127 / 255
    assert (grey == 0).mean() == pytest.approx(np.exp(-rate), abs=0.01)


def test_impulse_noise_is_salt_and_pepper():
    grey = under(many(bar(slice(2, 26), slice(2, 26), 127)), "impulse_noise")[:, 2:26, 2:26]
    assert (grey == 0).mean() == pytest.approx(0.085, abs=0.005)
    assert (grey == 1).mean() == pytest.approx(0.085, abs=0.005)


def test_glass_blur_keeps_the_ink_and_spreads_it(images):
    blurred = under(images, "glass_blur")
    assert blurred.sum((1, 2)) == pytest.approx(images.sum((1, 2)) / 255, rel=0.02)
    point = under(many(bar(slice(13, 15))), "glass_blur").mean(0)[4:]
    place = np.arange(28) - 13.5
    spread = (point.sum(0) * place**2).sum() / point.sum()
    # Two blurs and the square itself; the swaps add to them.
    assert 2 * 0.7**2 + 0.25 < spread < 4


def test_motion_blur_trails_to_one_side():
    changed = under(many(bar(slice(12, 16), slice(20, 24))), "motion_blur")
    moved = centres(changed) - centres(bar(slice(12, 16), slice(20, 24)))
    # The mean of half a Gaussian of 3 pixels, cut off after 20, on whole pixels from 0.
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    length = (weights * np.arange(21)).sum() / weights.sum()
    assert np.hypot(*moved.T) == pytest.approx(length, abs=0.6)
    assert (moved[:, 1] < 0).all()
    assert (abs(moved[:, 0]) < 1.2 * abs(moved[:, 1])).all()


@pytest.mark.parametrize("name, slope", [("shear", 0.4), ("rotate", np.tan(0.4))])
def test_an_upright_bar_leans_to_either_side(name, slope):
    changed = under(many(bar())[:40], name)[:, 8:20, 2:]
    columns = (changed * np.arange(2, 28)).sum(2) / changed.sum(2)
    leans = np.polyfit(np.arange(12), columns.T, 1)[0]
    assert abs(leans) == pytest.approx(slope, abs=0.03)
    assert leans.min() < 0 < leans.max()


def test_scale_shrinks_about_the_middle(images):
    changed = under(images, "scale")
    assert changed.sum() / (images.sum() / 255) == pytest.approx(0.49, abs=0.01)
    assert np.allclose(centres(changed), 0.7 * centres(images), atol=0.5)


def test_translate_moves_by_three_along_both_axes():
    moved = centres(under(many(bar())[:40], "translate")) - centres(bar())
    assert abs(moved) == pytest.approx(3, abs=0.2)
    assert len(np.unique(moved.round(), axis=0)) == 4


def test_brightness_and_stripe():
    image = bar(columns=slice(3, 23), value=100)
    assert under(image, "brightness") == pytest.approx(image / 255 + 0.5, abs=0.002)
    assert under(bar(), "brightness").max() == 1
    sides = np.r_[:7, 21:28]
    striped = damaged(image, CORRUPTIONS["stripe"])
    assert np.array_equal(striped[..., 7:21], image[..., 7:21])
    assert np.array_equal(striped[..., sides], 255 - image[..., sides])


def test_fog_is_smooth_and_leaves_a_quarter_of_the_contrast():
    foggy = under(many(bar(slice(1, 28), slice(14, 28))), "fog")[:, 1:]
    edge = (foggy[..., 14] - foggy[..., 13]).mean()
    assert edge == pytest.approx(1 / 4, abs=0.02)
    assert abs(np.diff(foggy[..., :13])).mean() < 0.03
    assert foggy[..., :13].std(axis=0).mean() > 0.05


def test_spatter_covers_with_dark_grey():
    ink = under(many(bar(slice(1, 28), slice(0, 28))), "spatter")[:, 1:]
    paper = under(many(bar(slice(0, 0))), "spatter")[:, 1:]
    assert 0.1 < (ink < 0.5).mean() < 0.6
    assert ink.min() >= 63 / 255 - 0.01
    assert paper.max() <= 63 / 255 + 0.01
    assert set((paper[paper > 0.05] > 0.8 * 63 / 255 - 0.01).tolist()) == {True}


def test_dotted_line_goes_from_edge_to_edge_in_dashes():
    lines = under(many(bar(slice(0, 0))), "dotted_line")[:, 1:]
    dashes = lines.max(1) > 0.5
    assert not dashes[:, [0, 1, 4, 5, 24, 25]].any()
    assert dashes[:, [2, 3, 6, 7, 26]].mean() > 0.9
    rows = lines.argmax(1)[:, [2, 14, 26]]
    assert abs(rows[:, 1] - (rows[:, 0] + rows[:, 2]) / 2).max() <= 1


def test_zigzag_turns_every_four_pixels():
    lines = under(many(bar(slice(0, 0))), "zigzag")[:, 1:]
    whole = lines[(lines.max(1)[:, 2:25] > 0.4).all(1)]
    assert len(whole) > 100
    assert not lines[:, :, :2].any()
    assert not lines[:, :, 25:].any()
    rows = whole[:, :, 2:25].argmax(1)
    line = np.stack([np.polyval(np.polyfit(np.arange(23), r, 1), np.arange(23)) for r in rows])
    away = rows - line
    assert abs(away).max() < 4
    turns = (np.diff(np.sign(np.where(abs(away) < 0.8, 0, away))) != 0).sum(1)
    assert turns.mean() > 5


def test_canny_edges_of_a_square_are_its_outline():
    edges = damaged(bar(slice(8, 20), slice(8, 20)), CORRUPTIONS["canny_edges"])[0]
    assert set(np.unique(edges)) == {0, 255}
    assert not edges[10:18, 10:18].any()
    assert not edges[:7].any()
    for row in range(10, 18):
        assert 1 <= (edges[row, 6:10] > 0).sum() <= 2
        assert 1 <= (edges[row, 18:22] > 0).sum() <= 2
    faint = bar(slice(8, 20), slice(8, 20), 8)
    assert not damaged(faint, CORRUPTIONS["canny_edges"]).any()
