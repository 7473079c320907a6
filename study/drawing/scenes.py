"""Digits as people send them, to test the page: photos of sheets and forms, scans, drawings.

How the preparation handles them was chosen on digits and handwriting for training, and is tested on
others.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from study.data import NO_DIGIT

from . import scenery, strokes
from .kinds import numbered
from .scenery import Scene


def as_png(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Save it as a program does."""
    return picture


def as_photo(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Save it as a camera does: with a little noise, as a JPEG."""
    return _jpeg(_grainy(rng, picture, rng.uniform(0, 4)), int(rng.integers(60, 96)))


def as_scan(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Scan it in the light of a lamp on one side."""
    y, x = np.indices(picture.size[::-1], np.float32) / max(picture.size)
    light = 1 - rng.uniform(0, 0.35) * (rng.random() * x + rng.random() * y)
    shaded = Image.fromarray((np.asarray(picture) * light).astype(np.uint8))
    return _grainy(rng, shaded, rng.uniform(1, 6))


def as_bad_jpeg(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Save it as a JPEG of quality 20."""
    return _jpeg(picture, 20)


def inverted(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Show it in white on black."""
    return Image.fromarray(255 - np.asarray(picture))


def transparent(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Show its ink in one colour on a transparent background."""
    drawn = Image.new("RGBA", picture.size, tuple(rng.integers(0, 120, 3).tolist()))
    drawn.putalpha(Image.fromarray(255 - np.asarray(picture)))
    return drawn


def lying(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Save a photo whose EXIF data say how it has to be turned."""
    way, orientation = [
        (Image.Transpose.ROTATE_90, 6),
        (Image.Transpose.ROTATE_180, 3),
        (Image.Transpose.ROTATE_270, 8),
    ][rng.integers(3)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _jpeg(picture.transpose(way), 85, exif=exif)


def _jpeg(picture: Image.Image, quality: int, **options) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, **options)
    return Image.open(file)


def _grainy(rng: np.random.Generator, picture: Image.Image, noise: float) -> Image.Image:
    levels = np.asarray(picture) + noise * rng.standard_normal(picture.size[::-1], np.float32)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Kind:
    """What a kind of picture looks like; pairs are ranges.

    Attributes:
        number: see ``numbered``.
        add: draws everything but the digit.
        save: makes a picture of the sheet.
        size: longer side of the picture, in pixels.
        height: of the digit, in shorter sides of the picture.
        pen: width of a stroke, in heights; MNIST's own may stay wider than the narrowest.
        ink, paper: grey levels.
        place: of the digit, as shares of the room that it leaves.
        lean: how far the digit is sheared, in either direction, in heights.
        empty: whether no digit is written.
    """

    number: int
    add: Callable[[np.random.Generator, Scene], None] | None = None
    save: Callable[[np.random.Generator, Image.Image], Image.Image] = as_photo
    size: tuple[float, float] = (300, 900)
    height: tuple[float, float] = (0.4, 0.7)
    pen: tuple[float, float] = (0.03, 0.11)
    ink: tuple[float, float] = (0, 90)
    paper: tuple[float, float] = (215, 255)
    lean: tuple[float, float] = (0, 0)
    place: tuple[float, float] = (0.3, 0.7)
    empty: bool = False


CANVAS = {"save": as_png, "size": (280, 560), "paper": (255, 255), "ink": (0, 40)}
PENCIL = {"pen": (0.014, 0.04), "ink": (110, 160), "paper": (235, 250)}
FORM = {"height": (0.25, 0.45), "place": (0.42, 0.58)}
ROUND = {"add": scenery.table_all_round, "height": (0.3, 0.5)}
KINDS = numbered(
    {
        "canvas": Kind(0, **CANVAS),
        "scan": Kind(1, save=as_scan),
        "30x40 pixels": Kind(2, size=(40, 40), height=(0.5, 0.8), pen=(0.06, 0.12)),
        "3000x4000 pixels": Kind(3, size=(4000, 4000), height=(0.3, 0.7)),
        "white on black": Kind(4, **CANVAS | {"save": inverted}),
        "JPEG of quality 20": Kind(5, save=as_bad_jpeg),
        "transparent": Kind(6, **CANVAS | {"save": transparent}),
        "turned by EXIF": Kind(7, save=lying),
        "slanted": Kind(8, lean=(0.15, 0.4)),
        "thin pen": Kind(9, pen=(0.018, 0.03)),
        "thick pen": Kind(10, pen=(0.13, 0.22)),
        "table at a side": Kind(11, scenery.table_at_a_side),
        "table all round": Kind(12, **ROUND),
        "empty sheet, table at a side": Kind(13, scenery.table_at_a_side, empty=True),
        "empty sheet, table all round": Kind(14, **ROUND, empty=True),
        "shadow across": Kind(15, scenery.shadow, pen=(0.018, 0.09)),
        "ruled paper": Kind(16, scenery.ruled, **PENCIL),
        "squared paper": Kind(17, scenery.squared, **PENCIL),
        "dark lines": Kind(18, scenery.dark_lines, ink=(0, 60), pen=(0.03, 0.09)),
        "empty ruled paper": Kind(19, scenery.ruled, **PENCIL, empty=True),
        "empty squared paper": Kind(20, scenery.squared, **PENCIL, empty=True),
        "empty sheet, dark lines": Kind(21, scenery.dark_lines, empty=True),
        "fold": Kind(22, scenery.fold),
        "empty sheet, fold": Kind(23, scenery.fold, empty=True),
        "printed frame": Kind(24, scenery.frame, **FORM),
        "circle round it": Kind(25, scenery.circle, **FORM),
        "underlined": Kind(26, scenery.underline, **FORM),
        "a name's line above": Kind(27, scenery.name_above, **FORM),
    }
)


def draw(
    kind: str,
    count: int,
    seed: int,
    digits: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    test: bool = False,
) -> tuple[list[Image.Image], np.ndarray]:
    """Draw pictures of one kind.

    Args:
        kind: one of ``KINDS``.
        count: how many.
        seed: not negative. The first pictures are the same for any count.
        digits: uint8, (N, 28, 28): every other picture shows one of them, smoothly enlarged. The
            others, or all if none are given, are digits drawn as strokes.
        labels: of ``digits``, (N,).
        test: use the handwriting and fonts for testing.

    Returns:
        pictures: of different sizes, modes L and RGBA.
        labels: int64, (count,); ``NO_DIGIT`` where the sheet is empty.
    """
    look, pictures, shown = KINDS[kind], [], np.zeros(count, np.int64)
    for i in range(count):
        rng = np.random.default_rng([seed, look.number, i, int(test)])
        pen = rng.uniform(*look.pen)
        if digits is not None and i % 2:
            index = rng.integers(len(digits))
            digit, label = digits[index], labels[index]
        else:
            digit, label = _written(pen, rng, test)
        pictures.append(_picture(look, digit, pen, rng, test))
        shown[i] = NO_DIGIT if look.empty else label
    return pictures, shown


def _written(pen: float, rng: np.random.Generator, test: bool) -> tuple[np.ndarray, int]:
    """A digit as strokes, bright on black, and its label."""
    style = rng.choice(strokes.STYLES)
    hand = replace(strokes.Hand.draw(rng, test), pen=max(pen, 0.03))
    return 255 - strokes.picture(style, hand, rng), int(style[0])


def _picture(
    kind: Kind, digit: np.ndarray, pen: float, rng: np.random.Generator, test: bool
) -> Image.Image:
    """Write the digit on a sheet, add what the kind adds, and take a picture."""
    longer = round(rng.uniform(*kind.size))
    size = np.array([longer, round(longer * rng.uniform(0.7, 1))])[:: rng.choice([-1, 1])]
    lean = rng.uniform(*kind.lean) * rng.choice([-1, 1])
    ink = enlarged(digit, round(rng.uniform(*kind.height) * min(size)), pen, lean)
    ink = ink[: size[0], : size[1]]
    room = size - ink.shape
    corner = (rng.uniform(*kind.place, 2) * room).astype(int)
    level = np.full(size, rng.uniform(*kind.paper), np.float32)
    pen_level = rng.uniform(*kind.ink)
    box = np.concatenate([corner, corner + ink.shape])
    scene = Scene(level, box, pen * ink.shape[0], pen_level, test)
    if not kind.empty:
        scene.cover(np.pad(ink, np.stack([corner, room - corner], axis=1)), pen_level)
    if kind.add:
        kind.add(rng, scene)
    return kind.save(rng, Image.fromarray(scene.level.clip(0, 255).round().astype(np.uint8)))


def enlarged(digit: np.ndarray, height: int, pen: float | None = None, lean: float = 0):
    """Enlarge a digit smoothly: the share of each pixel that its strokes cover, float32.

    Args:
        digit: uint8 (height, width), bright on black.
        height: wanted, in pixels.
        pen: wanted width of its strokes, in heights; they lose at most about half of theirs.
        lean: by which it is sheared to the right, in heights.
    """
    fine = int(np.clip(height, 150, 360))
    image = Image.fromarray(digit)
    image = image.crop(image.getbbox())
    zoom = fine / image.height
    pad = math.ceil(4 + abs(lean) * image.height / 2)
    image = Image.fromarray(np.pad(image, ((2, 2), (pad, pad))))
    image = image.resize([round(side * zoom) for side in image.size], Image.Resampling.BICUBIC)
    # A point of the sheared image comes from as far to its left as it lies above the middle.
    shear = (1, lean, -lean * image.height / 2, 0, 1, 0)
    image = image.transform(image.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
    covered = np.pad(np.asarray(image) > 127, 40)
    depth = ndimage.distance_transform_edt(covered) - ndimage.distance_transform_edt(~covered)
    width = 4 * depth[covered].mean()
    wider = 0 if pen is None else max(pen * fine, 0.55 * width) - width
    ink = (depth + wider / 2 + 0.5).clip(0, 1)
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    size = (max(1, round(height * ink.shape[1] / ink.shape[0])), height)
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))
