"""A picture of any size and kind -> images like those that the networks were trained on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from .form import IMAGE_SIZE, Prepared, as_picture, formed
from .ink import PALE, ink_of, ink_of_thumbnail, without_specks
from .levels import grey_levels
from .marks import without_frame, without_print
from .numbers import Piece, taken_apart
from .paper import evened, unlined


def prepare(picture: Image.Image | np.ndarray) -> Prepared:
    """Find the digit in a picture and give it the form of MNIST's digits.

    Tables, shadows, lines, frames and words are taken away first.

    Args:
        picture: a Pillow image of any mode, or uint8 grey levels (height, width); dark ink on
            light paper, or light ink on dark paper.
    """
    ink, steps, _ = _find_ink(picture)
    return _after(steps, formed(ink))


def prepare_all(
    picture: Image.Image | np.ndarray, is_digit: Callable[[np.ndarray], float] | None = None
) -> tuple[Prepared, list[Prepared]]:
    """Prepare a picture as one digit, and each digit of the number that it may show.

    Args:
        picture: as for ``prepare``; the digits of a number stand in one line.
        is_digit: how much an image, uint8 (28, 28), looks like one digit, 0 to 1; for instance one
            minus the probability of "no digit". It decides what belongs together and where digits
            that touch are cut; without it, only pieces above each other are joined.

    Returns:
        whole: what ``prepare`` makes of the picture.
        digits: from left to right; ``whole`` alone if it is in one piece, none if nothing is drawn.
    """
    ink, steps, dirty = _find_ink(picture)
    one = Piece(ink, is_digit)
    whole = _after(steps, one.prepared)
    pieces = []
    if max(ink.shape) >= IMAGE_SIZE:
        dropped = (dirty > ink) & (dirty >= PALE)  # what may be a digit of a number after all
        line = Piece(without_specks(dirty, several=True), is_digit) if dropped.any() else one
        pieces = taken_apart(line)
    if len(pieces) < 2:
        return whole, [] if whole.is_blank else [whole]
    steps[list(steps)[-1]] = as_picture(255 * line.ink)  # the last step took the specks away
    return whole, [_after(steps, piece.prepared) for piece in pieces]


def _after(steps: dict[str, np.ndarray], prepared: Prepared) -> Prepared:
    """The same with the steps that led to its ink."""
    return replace(prepared, steps=steps | prepared.steps)


def _find_ink(
    picture: Image.Image | np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """How much ink each pixel has, 0 to 1; the steps to it; and the same with specks."""
    level = grey_levels(picture).astype(np.float32)
    steps = {"picture": as_picture(level)}
    if max(level.shape) < IMAGE_SIZE:
        ink = ink_of_thumbnail(level)
        return ink, steps | {"ink found": as_picture(255 * ink)}, ink
    for name, step in (("light evened", evened), ("lines removed", unlined)):
        changed = step(level)
        if changed is not level:
            level = changed
            steps[name] = as_picture(level)
    found = ink_of(level)
    kept = without_print(without_frame(found))
    ink = without_specks(kept)
    if kept is found:
        return ink, steps | {"ink found": as_picture(255 * ink)}, kept
    steps |= {"ink found": as_picture(255 * found)}
    return ink, steps | {"frame and print removed": as_picture(255 * ink)}, kept
