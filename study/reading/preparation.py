"""A picture of any size and kind -> a 28x28 image like those that the networks were trained on.

MNIST's digits were scaled to a longer side of 20 pixels and placed with their centre of mass in
the middle of a 28x28 image (http://yann.lecun.com/exdb/mnist/). This module does the same to a
drawing, a scan or a photo. Every number below was chosen on training images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from .ink import PALE, ink_of, ink_of_thumbnail, without_frame, without_print, without_specks
from .numbers import taken_apart
from .paper import evened, unlined

WORK_SIZE = 224  # pixels, longer side; larger pictures are shrunk before the ink is looked for
DIGIT_SIZE, IMAGE_SIZE = 20, 28
FINE = 4  # the strokes are drawn at this multiple of the digit's final size
EDGE = 0.4  # of full ink: pixels with more belong to a stroke
SOFTNESS = 0.3  # pixels: standard deviation of the blur at the edges of strokes
STROKE_WIDTHS = (2.0, 5.0)  # pixels at the final size; nearly all of MNIST lies in between


@dataclass(frozen=True)
class Prepared:
    """A picture in the form that the networks take, and the steps that led to it.

    Attributes:
        image: uint8, shape (28, 28); 0 is paper, 255 is ink; all 0 if nothing is drawn.
        steps: name -> uint8 picture of any size, in order; from "ink found" on, ink is bright.
            Those that changed nothing are left out.
        box: left, top, right and bottom of the digit, in shares of the picture's width and height;
            ``None`` if nothing is drawn.
    """

    image: np.ndarray
    steps: dict[str, np.ndarray]
    box: tuple[float, float, float, float] | None

    @property
    def is_blank(self) -> bool:
        """Whether nothing is drawn."""
        return not self.image.any()


def prepare(picture: Image.Image | np.ndarray, tidy: bool = True) -> Prepared:
    """Find the digit in a picture and give it the form of MNIST's digits.

    Args:
        picture: a Pillow image of any mode, or uint8 grey levels (height, width); dark ink on
            light paper, or light ink on dark paper.
        tidy: take away tables, shadows, lines, frames and words first. A network that is to refuse
            them should see them as they are.
    """
    ink, steps, _ = _find_ink(picture, tidy)
    return _formed(ink, steps)


def prepare_all(
    picture: Image.Image | np.ndarray, is_digit: Callable[[np.ndarray], float] | None = None
) -> list[Prepared]:
    """Find the digits of a number in a picture, and give each the form of MNIST's digits.

    Args:
        picture: as for ``prepare``; the digits stand in one line.
        is_digit: how much an image, uint8 (28, 28), looks like one digit, 0 to 1; for instance one
            minus the probability of "no digit". It decides what belongs together and where digits
            that touch are cut; without it, only pieces above each other are joined.

    Returns:
        The digits from left to right; none if nothing is drawn. Of a picture of one digit, the same
        as ``prepare`` makes.
    """
    ink, steps, dirty = _find_ink(picture, tidy=True)
    if max(ink.shape) < IMAGE_SIZE:
        return [_formed(ink, steps)] if ink.any() else []
    dropped = (dirty > ink) & (dirty >= PALE)  # what may be a digit of a number after all
    line = without_specks(dirty, several=True) if dropped.any() else ink
    # By the id of a part, which is kept as well, so that its id is not used again.
    formed: dict[int, tuple[np.ndarray, Prepared]] = {}
    scores: dict[bytes, float] = {}

    def form(part: np.ndarray) -> Prepared:
        if id(part) not in formed:
            formed[id(part)] = part, _formed(part, {})
        return formed[id(part)][1]

    def score(part: np.ndarray) -> float:
        image = form(part).image
        key = image.tobytes()
        if key not in scores:
            scores[key] = float(is_digit(image))
        return scores[key]

    parts = taken_apart(line, score if is_digit else None)
    if len(parts) > 1:
        steps[list(steps)[-1]] = 255 * line  # the last step took the specks away
    elif parts:
        parts = [ink] if ink.any() else []
    steps = _as_pictures(steps)
    return [replace(form(part), steps=steps | form(part).steps) for part in parts]


def _find_ink(
    picture: Image.Image | np.ndarray, tidy: bool
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """How much ink each pixel has, 0 to 1; the steps to it; and the same with specks."""
    level = grey_levels(picture).astype(np.float32)
    steps = {"picture": level}
    if max(level.shape) < IMAGE_SIZE:
        ink = ink_of_thumbnail(level)
        return ink, steps | {"ink found": 255 * ink}, ink
    for name, step in (("light evened", evened), ("lines removed", unlined)) if tidy else ():
        changed = step(level)
        if changed is not level:
            steps[name] = level = changed
    found = ink_of(level)
    kept = without_print(without_frame(found)) if tidy else found
    ink = without_specks(kept)
    if kept is not found:
        steps |= {"ink found": 255 * found, "frame and print removed": 255 * ink}
    else:
        steps |= {"ink found": 255 * ink}
    return ink, steps, kept


def _formed(ink: np.ndarray, steps: dict[str, np.ndarray]) -> Prepared:
    """Give ink the form of MNIST's digits; the steps that led to it come first."""
    box = None
    if ink.any():
        ((rows, columns),) = ndimage.find_objects((ink > 0.1).astype(int))
        cropped = ink[rows, columns]
        scaled = _scaled(cropped)
        steps = steps | {"cropped": 255 * cropped, "scaled": 255 * scaled}
        steps["centred"] = 255 * _centred(scaled)
        height, width = ink.shape
        box = columns.start / width, rows.start / height, columns.stop / width, rows.stop / height
    steps = _as_pictures(steps)
    blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    return Prepared(steps.get("centred", blank), steps, box)


def _as_pictures(steps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: step.round().astype(np.uint8) for name, step in steps.items()}


def grey_levels(picture: Image.Image | np.ndarray) -> np.ndarray:
    """Return the grey levels, uint8 (height, width), of a picture, turned upright.

    Its longer side shrinks to ``WORK_SIZE``, transparent parts become paper, and 16 bits become 8.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        levels = np.asarray(picture, dtype=np.float32) / 257
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:  # lay it on white, or on black where its ink is light
        picture = picture.convert("RGBA")
        luminance, alpha = np.asarray(picture.convert("LA"), float).transpose(2, 0, 1)
        ink = (luminance * alpha).sum() / max(alpha.sum(), 1)
        paper = Image.new("RGBA", picture.size, "white" if ink < 128 else "black")
        picture = Image.alpha_composite(paper, picture)
    picture = picture.convert("L")
    factor = max(picture.size) / WORK_SIZE
    if factor > 1:
        size = [max(1, round(side / factor)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture)


def _scaled(ink: np.ndarray) -> np.ndarray:
    """Scale to a longer side of 20 pixels, with strokes as wide as MNIST's.

    As with the originals of MNIST, the ink is first made black and white at a finer scale; pixels
    of the final size that it covers only in part become grey.
    """
    factor = DIGIT_SIZE / max(ink.shape)
    height, width = (max(1, round(side * factor)) for side in ink.shape)
    ink = Image.fromarray(ink)
    if factor >= 1:  # too coarse for black and white: its greys say more
        return np.asarray(ink.resize((width, height), Image.Resampling.LANCZOS)).clip(0, 1)
    fine = ink.resize((FINE * width, FINE * height), Image.Resampling.BICUBIC)
    fine = np.pad(fine, FINE)  # room for wider strokes
    covered = fine > min(EDGE, 0.5 * fine.max())
    depth = ndimage.distance_transform_edt(covered) - ndimage.distance_transform_edt(~covered)
    # Across a stroke, the depth rises to half its width and falls again: a quarter on average.
    stroke = 4 * depth[covered].mean() / FINE
    depth += FINE * (np.clip(stroke, *STROKE_WIDTHS) - stroke) / 2
    fine = ndimage.gaussian_filter((depth + 0.5).clip(0, 1), SOFTNESS * FINE)
    return np.asarray(Image.fromarray(fine.astype(np.float32)).reduce(FINE))


def _centred(ink: np.ndarray) -> np.ndarray:
    """Move the centre of mass to the middle of 28x28, to the pixel, as far as there is room."""
    wished = np.round((IMAGE_SIZE - 1) / 2 - np.array(ndimage.center_of_mass(ink))).astype(int)
    room = IMAGE_SIZE - np.array(ink.shape)
    corner = wished.clip(0, room)
    return np.pad(ink, np.stack([corner, room - corner], axis=1))
