"""Pictures of what is no digit: of every kind, repeatable, with fonts apart for testing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from study.data import NO_DIGIT
from study.drawing import letters, non_digits, scenes, strokes
from study.drawing.kinds import numbered
from study.drawing.non_digits import KINDS

WRITTEN_LIKE_A_DIGIT = set("OoDQIlijZzySsGbBgq|/\\!()[]{}',>$")


@pytest.mark.parametrize("test", [False, True], ids=["training", "testing"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_pictures_that_differ(kind, test):
    images = non_digits.draw(kind, 6, seed=1, test=test)
    assert images.shape == (6, 28, 28) and images.dtype == torch.uint8
    assert (images.amax((1, 2)) > 60).all()
    assert len({image.numpy().tobytes() for image in images}) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_seed_decides_and_testing_has_pictures_of_its_own(kind):
    images = non_digits.draw(kind, 3, seed=1)
    assert torch.equal(images, non_digits.draw(kind, 4, seed=1)[:3])
    assert not torch.equal(images, non_digits.draw(kind, 3, seed=2))
    assert not (images == non_digits.draw(kind, 3, seed=1, test=True)).all((1, 2)).any()


@pytest.mark.parametrize("kind", ["folds", "edges of tables", "cut digits", "letters in fonts"])
def test_none_is_as_narrow_as_a_1(kind):
    for image in non_digits.draw(kind, 40, seed=0).numpy():
        rows, columns = (np.ptp(np.flatnonzero((image > 60).any(axis))) for axis in (1, 0))
        assert columns >= 0.4 * rows


@pytest.mark.parametrize("pen", [0.05, 0.12, 0.3])
def test_a_steep_bar_is_drawn_again_and_nothing_else_is(monkeypatch, pen):
    drawn = []

    def line(rng, test=False):
        form = rng.choice(["20", "40", "60", "90", "140", "angle"])
        drawn.append(str(form))
        hand = replace(strokes.Hand.draw(rng), pen=pen, slant=0, turn=0, bend=0, wobble=0)
        turn = math.radians(60 if form == "angle" else float(form))
        reach = 0.5 * np.array([math.cos(turn), -math.sin(turn)])
        ends = [-reach, 0 * reach, (0.5, 0) if form == "angle" else reach]
        return strokes.ink([np.array(ends)], replace(hand, roundness=0), rng)

    monkeypatch.setitem(KINDS, "dashes", replace(KINDS["dashes"], make=line))
    non_digits.draw("dashes", 10, seed=0)
    assert len(set(drawn)) == 6
    assert drawn.count("20") + drawn.count("angle") == 10


def test_all_kinds_are_drawn_by_their_shares():
    shares = [kind.share for kind in KINDS.values()]
    count = 2 * sum(shares)
    images, labels = non_digits.draw_all(count, seed=0)
    assert images.shape == (count, 28, 28) and labels.tolist() == [NO_DIGIT] * count
    assert labels.dtype == torch.int64
    first = 2 * shares[0]
    assert torch.equal(images[:first], non_digits.draw(next(iter(KINDS)), first, seed=0))
    assert torch.equal(images[-2:], non_digits.draw(list(KINDS)[-1], 2, seed=0))


@pytest.mark.parametrize("kind", KINDS)
def test_each_needs_a_generator_only(kind):
    picture = KINDS[kind].make(np.random.default_rng(0))
    assert picture.dtype == np.uint8 and picture.ndim == 2


def test_letters_that_are_digits_are_left_out():
    drawn = {*letters.LETTERS, *letters.SIGNS, *letters.WRITTEN_LETTERS}
    assert not drawn & WRITTEN_LIKE_A_DIGIT
    assert not drawn & set("0123456789")


def test_crossed_out_means_lines_beyond_the_outline(digits):
    images = digits[0].images[:20].numpy()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        picture = non_digits.crossed_out(rng, images[seed : seed + 1])
        columns = np.flatnonzero((picture < 128).any(0))
        outline = np.flatnonzero((images[seed] > 128).any(0))
        assert np.ptp(columns) > np.ptp(outline) * non_digits.SIZE / 28 + 4


def test_half_of_the_pairs_are_made_of_the_digits_given(digits):
    given = digits[0].images[:50].numpy()
    for kind in [kind for kind, look in KINDS.items() if look.of_digits]:
        drawn, mixed = non_digits.draw(kind, 6, 0), non_digits.draw(kind, 6, 0, given)
        assert (drawn == mixed).all((1, 2)).tolist() == [True, False] * 3


def test_surfaces_show_more_than_white_paper():
    for kind in [kind for kind in KINDS.values() if kind.surface]:
        picture = kind.make(np.random.default_rng(2))
        assert picture.std() > 2 and max(picture.shape) <= strokes.SIZE


def drawn_by(module, kind: str) -> list[bytes]:
    drawn = module.draw(kind, 2, seed=0)
    return [np.asarray(one).tobytes() for one in (drawn[0] if module is scenes else drawn)]


@pytest.mark.parametrize("module", [non_digits, scenes])
def test_a_new_kind_may_stand_anywhere(module, monkeypatch):
    """It draws pictures of its own, and the others draw what they drew."""
    kinds, names = module.KINDS, list(module.KINDS)
    before = {name: drawn_by(module, name) for name in (names[0], names[8], names[-1])}
    items = list(kinds.items())
    items.insert(8, ("new", replace(kinds[names[-1]], number=len(kinds))))
    monkeypatch.setattr(module, "KINDS", numbered(dict(items)))
    assert {name: drawn_by(module, name) for name in before} == before
    assert drawn_by(module, "new") != before[names[-1]]
    with pytest.raises(ValueError, match=f"{names[0]!r} and 'twin' have the same number"):
        numbered(kinds | {"twin": replace(kinds[names[8]], number=0)})
