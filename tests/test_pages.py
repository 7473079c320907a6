"""Pages of digits with the truth of each pixel: what a finder learns from and is tested on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from study import data
from study.drawing import page_kinds, page_marks, pages, sprites
from study.drawing.sheet import Sheet, draw_line, lay
from study.drawing.sprites import Sprite, Writers


def writers_of(part: data.Digits, people, test: bool) -> Writers:
    return Writers(part.images.numpy(), part.labels.numpy(), people.to_numpy(), test)


@pytest.fixture(scope="module")
def writers(digits) -> Writers:
    return writers_of(digits[0], data.writers()[0]["writer"], test=False)


@pytest.fixture(scope="module")
def test_writers(digits) -> Writers:
    return writers_of(digits[1], data.writers()[1]["writer"], test=True)


def drawn(writers: Writers, seed: int, **options) -> pages.Scene:
    return pages.draw(np.random.default_rng(seed), writers, **options)


@pytest.mark.parametrize("kind", pages.KINDS)
def test_every_kind_has_maps_of_its_size(writers, test_writers, kind):
    for seed, given in enumerate([writers, writers, test_writers]):
        scene = drawn(given, seed, shape=(160, 200), kind=kind)
        assert scene.level.shape == scene.ink.shape == scene.core.shape == (160, 200)
        assert scene.level.dtype == np.uint8 and scene.core.dtype == bool
        assert scene.ink.min() >= 0 and scene.ink.max() <= 1
        assert len(scene.boxes) == sum(map(len, scene.lines))
        assert (len(scene.boxes) > 0) == scene.ink.any() == scene.core.any()
        if kind in ("words", "empty"):
            assert not scene.ink.any()
            assert np.ptp(scene.level) > 0 or kind == "empty"


def test_sums_have_operators_and_other_pages_may(writers):
    plain = [drawn(writers, seed, kind="photo", num_lines=(3, 4)) for seed in range(12)]
    sums = [drawn(writers, seed, kind="photo", num_lines=(3, 4), signs=True) for seed in range(12)]
    same = [(one.level == other.level).all() for one, other in zip(plain, sums, strict=True)]
    assert any(same) and not all(same)  # those that have operators anyway


def test_seed_decides_and_testing_has_pages_of_its_own(writers, test_writers):
    one, other = drawn(writers, 5), drawn(writers, 5)
    assert (one.level == other.level).all() and one.lines == other.lines
    assert (one.level != drawn(writers, 6).level).any()
    assert (one.level != drawn(test_writers, 5).level).any()


def test_each_digit_has_one_core_in_its_box_that_touches_no_other(writers):
    for seed in range(30):
        scene = drawn(writers, seed, shape=(300, 400), kind="photo", whole=True)
        _, count = ndimage.label(scene.core, np.ones((3, 3)))
        assert count == len(scene.boxes)
        for box in scene.boxes:
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            assert scene.core[y, x]


def test_ink_is_where_the_boxes_are_and_digits_are_visible(writers):
    visible = []
    for seed in range(20):
        scene = drawn(writers, seed, kind="canvas", whole=True)
        inside = np.zeros(scene.ink.shape, bool)
        for left, top, right, bottom in scene.boxes.round().astype(int):
            inside[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
        assert not scene.ink[~inside].any()
        strokes, paper = scene.level[scene.ink > 0.9], scene.level[scene.ink == 0]
        if len(strokes) > 20:
            visible.append(abs(np.median(strokes.astype(float)) - np.median(paper)) > 12)
    assert len(visible) > 10 and np.mean(visible) >= 0.8  # uneven light can hide it from medians


def test_pages_have_as_many_lines_as_asked(writers):
    counts = []
    for seed in range(12):
        options = {"kind": "photo", "num_lines": (3, 8), "shape": (400, 300), "whole": True}
        scene = drawn(writers, seed, **options)
        assert 2 <= len(scene.lines) <= 8  # what the edge cuts off is left out
        assert max(map(len, scene.lines)) <= pages.MOST_DIGITS
        counts.append(len(scene.lines))
        ends = np.cumsum([len(line) for line in scene.lines])[:-1]
        middles = [boxes[:, 1::2].mean() for boxes in np.split(scene.boxes, ends)]
        assert (np.diff(middles) > 0).all(), "lines go from top to bottom"
    assert max(counts) > 3


def test_one_writer_writes_a_page(writers):
    """All digits of a person of MNIST on a page are that person's."""
    for seed in range(40):
        writer = writers.draw(np.random.default_rng(seed))
        keys = [key for keys in writer.choices for key in keys]
        assert len({key[0] for key in keys}) == 1
        if keys[0][0] == "digit":
            people = [set(images.tolist()) for images in writers.people]
            assert sum({key[1] for key in keys} <= images for images in people) == 1


def test_every_digit_is_written_as_what_it_is(writers):
    seen = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        writer = writers.draw(rng)
        for _ in range(5):
            label, cover = writer.digit(rng, 40)
            assert abs(cover.shape[0] - 40) <= 6 and 0 <= cover.min() <= cover.max() <= 1
            seen.add(label)
    assert seen == set(range(10))


def test_pen_decides_on_the_width_of_strokes():
    ring = np.zeros((120, 120), bool)
    rows, columns = np.indices(ring.shape)
    ring[np.abs(np.hypot(rows - 60, columns - 60) - 40) < 5] = True
    sprite = Sprite.of(ring)
    assert sprite.width == pytest.approx(10, abs=1.5) and sprite.height == 89
    thin, thick = (sprite.rendered(89, pen).sum() for pen in (0.08, 0.2))
    assert 1.7 < thick / thin < 3
    assert sprite.rendered(30, angle=45).shape[0] == pytest.approx(30, abs=3)
    assert sprite.rendered(200, aspect=0.5).shape == pytest.approx((200, 100), abs=4)


@pytest.mark.parametrize("kind", ["letter", "shape", "crossed out"])
def test_marks_are_drawn_and_kept(writers, kind):
    one = writers.mark(kind, np.random.default_rng(1))
    assert one is writers.mark(kind, np.random.default_rng(1))
    assert (one.depth > 0).any()


def test_signs_have_their_names(writers):
    for name in sprites.SIGNS:
        assert writers.mark("sign", np.random.default_rng(0), name).label == name


def test_fonts_of_words_are_apart():
    for fonts in (page_marks.WRITTEN_FONTS, page_marks.PRINTED_FONTS):
        assert fonts[False] and fonts[True] and not set(fonts[False]) & set(fonts[True])


def test_what_lies_beyond_the_sheet_is_cut_off_or_left_out():
    canvas = np.zeros((10, 10), np.float32)
    lay(canvas, np.ones((4, 4), np.float32), -2, 8)
    assert canvas.sum() == 4 and canvas[8:, :2].all()
    lay(canvas, np.ones((4, 4), np.float32), 20, 20)
    assert canvas.sum() == 4
    sheet = Sheet.empty((100, 100))
    sheet.write(3, np.ones((20, 20), np.float32), 90, 50, 0)  # half of it
    assert not sheet.digits and not sheet.ink.any()
    sheet.write(3, np.ones((20, 20), np.float32), 84, 50, 0)
    assert sheet.lines() == [[3]] and not sheet.is_free(80, 50, 10, 10)
    assert sheet.mark(np.ones((5, 5), np.float32), 10, 10) and sheet.other.sum() == 25
    assert not sheet.mark(np.ones((5, 5), np.float32), 88, 55) and sheet.other.sum() == 25


def test_thin_lines_are_pale():
    thin, thick = np.zeros((2, 40, 40), np.float32)
    draw_line(thin, [(5, 20), (35, 20)], 0.25)
    draw_line(thick, [(5, 20), (35, 20)], 4)
    assert 0 < thin.max() <= 0.5 < thick.max() == 1 and thick.sum() > 5 * thin.sum()


@pytest.mark.parametrize(
    "one, other, least",
    [("", "", 0), ("12", "", 2), ("123", "13", 1), ("123", "1723", 1), ("123", "321", 2)],
)
def test_distance_counts_the_fewest_changes(one, other, least):
    assert page_kinds.distance(one, other) == page_kinds.distance(other, one) == least


@pytest.mark.parametrize(
    "truth, text, share",
    [
        ("12\n34", "12\n34", 1),
        ("1234", "12?4", 0.75),
        ("1234", "124", 0.75),
        ("12", "567890", 0),
        ("12", "", 0),
        ("", "", 1),
        ("", "7", 0),
    ],
)
def test_share_of_a_page_that_is_right(truth, text, share):
    assert page_kinds.share_right(truth, text) == share


def test_row_counts_digits_lines_and_silent_mistakes():
    """Read exactly, with a wrong digit, with a "?", not at all; and an answer on empty paper."""
    texts = ["12\n3", "45", "6", "78", ""]
    scenes = [SimpleNamespace(text=one) for one in texts]
    row = page_kinds.row("any", scenes, ["12\n3", "49", "?", "", "1"])
    assert (row["pictures"], row["exactly"], row["wrong without ?"]) == (5, 1, 2)
    assert row["digits"] == pytest.approx(4 / 8) and row["lines"] == pytest.approx(2 / 5)
    assert page_kinds.row("empty", scenes[4:], [""])["digits"] is None
    three = [SimpleNamespace(text="1\n2\n3")]
    assert page_kinds.row("all wrong", three, ["4567890"])["digits"] == 0
