"""A picture of any size and kind -> a 28x28 image like those that the networks were trained on.

MNIST's digits were scaled to a longer side of 20 pixels and placed with their centre of mass in
the middle of a 28x28 image (http://yann.lecun.com/exdb/mnist/). This module does the same to a
drawing, a scan or a photo. Every number below was chosen on training images.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

WORK_SIZE = 224  # pixels, longer side; larger pictures are shrunk before the ink is looked for
DIGIT_SIZE, IMAGE_SIZE = 20, 28
LEAST_CONTRAST = 10  # grey levels, of 255, between paper and ink; with less, nothing is drawn
PAPER_WINDOW = 0.5  # of the shorter side: a square of this size that is all dark is a shadow
NOISE_WIDTHS = 3.5  # standard deviations of the paper's texture that still count as paper
SPECK = 0.04  # of all ink: a piece with less is dirt
PALE = 0.7  # of full ink: a piece that is nowhere darker is a shadow
FINE = 4  # the strokes are drawn at this multiple of the digit's final size
EDGE = 0.4  # of full ink: pixels with more belong to a stroke
SOFTNESS = 0.3  # pixels: standard deviation of the blur at the edges of strokes
STROKE_WIDTHS = (2.0, 5.0)  # pixels at the final size; nearly all of MNIST lies in between


@dataclass(frozen=True)
class Prepared:
    """A picture in the form that the networks take, and the steps that led to it.

    Attributes:
        image: uint8, shape (28, 28); 0 is paper, 255 is ink; all 0 if nothing is drawn.
        steps: name -> uint8 picture of any size, in order; after the first, ink is bright.
    """

    image: np.ndarray
    steps: dict[str, np.ndarray]

    @property
    def is_blank(self) -> bool:
        """Whether nothing is drawn."""
        return not self.image.any()


def prepare(picture: Image.Image | np.ndarray) -> Prepared:
    """Find the digit in a picture and give it the form of MNIST's digits.

    Args:
        picture: a Pillow image of any mode, or uint8 grey levels (height, width); dark ink on
            light paper, or light ink on dark paper.
    """
    grey = grey_levels(picture).astype(np.float32)
    small = max(grey.shape) < IMAGE_SIZE
    ink = _ink_of_thumbnail(grey) if small else _without_specks(_ink(grey))
    steps = {"picture": grey, "ink found": 255 * ink}
    if ink.any():
        (box,) = ndimage.find_objects((ink > 0.1).astype(int))
        scaled = _scaled(ink[box])
        steps |= {"cropped": 255 * ink[box], "scaled": 255 * scaled}
        steps["centred"] = 255 * _centred(scaled)
    steps = {name: step.round().astype(np.uint8) for name, step in steps.items()}
    blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    return Prepared(steps.get("centred", blank), steps)


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


def _ink(grey: np.ndarray) -> np.ndarray:
    """How much ink each pixel has, 0 to 1; all 0 if nothing stands out from the paper."""
    # A blur removes the texture of the paper and spares the strokes; small images get none.
    grey = ndimage.gaussian_filter(grey, max(grey.shape) // 100 / 3)
    level = (grey - _light(grey)).astype(np.float32)
    if (_thumbnail(level, 32) ** 3).sum() > 0:  # what differs most from the paper is lighter
        level = -level
    darkness = _paper(level) - level
    # The paper's texture is assumed normal: a quarter of it lies below -0.67 standard deviations, a
    # twentieth below -1.64. Quantiles this low are paper even if ink covers half the picture.
    low, quarter = np.quantile(darkness, (0.05, 0.25))
    darkness = darkness - quarter - (0.67 + NOISE_WIDTHS) * (quarter - low)
    strong = darkness[darkness > max(darkness.max() / 2, LEAST_CONTRAST)]
    if len(strong) == 0:
        return np.zeros_like(grey)
    return (darkness / np.median(strong)).clip(0, 1)


def _ink_of_thumbnail(grey: np.ndarray) -> np.ndarray:
    """The same for an image too small for shadows, texture or specks: the rarer level is ink."""
    low, high = grey.min(), grey.max()
    if high - low < LEAST_CONTRAST:
        return np.zeros_like(grey)
    share = (grey - low) / (high - low)
    return share if share.mean() < 0.5 else 1 - share


def _light(grey: np.ndarray) -> np.ndarray:
    """How light the paper is, judged by the edge of the picture, most of which is paper.

    A surface is fitted to the edge: flat, then sloped, then curved. Each fit after the first leaves
    out the half that fitted the previous one worst, since it may be ink.
    """
    levels = _thumbnail(grey, 32)
    edge = np.ones(levels.shape, bool)
    edge[1:-1, 1:-1] = False
    terms, levels = _terms(levels.shape)[edge.ravel()], levels[edge]
    misfit = levels - np.median(levels)
    for num_terms in (3, 6):
        fitting = np.argsort(np.abs(misfit))[: len(levels) // 2 + 1]
        weights = np.linalg.lstsq(terms[fitting, :num_terms], levels[fitting], rcond=None)[0]
        misfit = levels - terms[:, :num_terms] @ weights
    return (_terms(grey.shape) @ weights).reshape(grey.shape).clip(grey.min(), grey.max())


def _terms(shape: tuple[int, int]) -> np.ndarray:
    """1, x, y and their products at the centre of each pixel: (pixels, 6)."""
    y, x = (np.indices(shape).reshape(2, -1) + 0.5) / np.array(shape)[:, None]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _paper(level: np.ndarray) -> np.ndarray:
    """The paper with its dark ink removed: uneven light, shadows and stains remain.

    This is a morphological closing: only what is dark over a whole window stays dark.
    """
    small = _thumbnail(level, 64)  # shrinking averages the paper's texture away
    window = 2 * round(PAPER_WINDOW * min(small.shape) / 2) + 1
    # The picture is mirrored at its edges, so a window there sees what it would if it ended there.
    paper = ndimage.grey_closing(small, window)
    paper = ndimage.gaussian_filter(paper, window / 6, mode="nearest")
    return np.asarray(Image.fromarray(paper).resize(level.shape[::-1], Image.Resampling.BILINEAR))


def _thumbnail(grey: np.ndarray, size: int) -> np.ndarray:
    small = Image.fromarray(grey)
    small.thumbnail((size, size), Image.Resampling.BOX)
    return np.asarray(small)


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """Drop separate pieces with little of the ink, and those as pale as a shadow."""
    reach = 1 + max(ink.shape) // 80  # bridges the gaps in a faint line
    near = ndimage.maximum_filter(ink > 0.3, 2 * reach + 1)
    pieces, _ = ndimage.label(near)
    masses = np.bincount(pieces.ravel(), ink.ravel())
    kept = np.bincount(pieces.ravel(), ink.ravel() >= PALE) > 0
    kept &= masses >= SPECK * masses.sum()
    kept[0] = False  # the paper
    return ink * kept[pieces]


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
