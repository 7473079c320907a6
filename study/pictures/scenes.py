"""Digits as people send them: photos of sheets and forms, scans, drawings, drawn from a seed.

What the preparation does about them is chosen on digits and hands for training, and tested on
others. Lengths are in heights of the digit, or in longer sides of the picture where that is said.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from . import letters, strokes

NOTHING = 10  # the label of an empty sheet


@dataclass
class Scene:
    """A sheet while it is drawn.

    Attributes:
        level: float32, (height, width): how light it is, 0 to 255.
        box: top, left, bottom and right of the digit, in pixels.
        pen: width of the digit's strokes, in pixels.
        ink: grey level of the pen.
        test: whether its parts are those for testing.
    """

    level: np.ndarray
    box: np.ndarray
    pen: float
    ink: float
    test: bool

    @property
    def height(self) -> int:
        """Of the digit, in pixels."""
        return int(self.box[2] - self.box[0])

    @property
    def middle(self) -> np.ndarray:
        """x and y of the digit's middle."""
        top, left, bottom, right = self.box
        return np.array([left + right, top + bottom]) / 2

    def cover(self, share: np.ndarray, level: float | np.ndarray) -> None:
        """Let a share of each pixel, 0 to 1, have another level, where that is darker."""
        self.level = np.minimum(self.level, self.level * (1 - share) + level * share)

    def stroke(self, points: np.ndarray, width: float, level: float) -> None:
        """Draw a line through points (N, 2), x and y in pixels."""
        scale = 3 if max(self.level.shape) < 1200 else 1
        size = [scale * side for side in self.level.shape[::-1]]
        canvas = Image.new("L", size)
        radius, pen = max(scale * width, 1) / 2, ImageDraw.Draw(canvas)
        places = [tuple(point) for point in (scale * points).tolist()]
        pen.line(places, 255, max(1, round(2 * radius)), "curve")
        for x, y in places if radius > 1 else ():
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
        self.cover(np.asarray(canvas.reduce(scale), np.float32) / 255, level)

    def side(self, angle: float, place: np.ndarray) -> np.ndarray:
        """Pixels to a line through ``place`` (x, y); positive where ``angle`` points to."""
        y, x = np.indices(self.level.shape, np.float32)
        return (x - place[0]) * math.cos(angle) + (y - place[1]) * math.sin(angle)


def table_at_a_side(rng: np.random.Generator, scene: Scene) -> None:
    """A strip of table beside the sheet."""
    _lay_on_table(rng, scene, rng.permutation(4)[: 1 + (rng.random() < 0.2)])


def table_all_round(rng: np.random.Generator, scene: Scene) -> None:
    """A sheet that lies on a table, seen whole."""
    _lay_on_table(rng, scene, np.arange(4))


def shadow(rng: np.random.Generator, scene: Scene) -> None:
    """Half the sheet in a shadow that ends across the digit."""
    place = scene.middle + rng.uniform(-0.25, 0.25, 2) * scene.height
    softness = max(1, rng.uniform(0, 0.036) * max(scene.level.shape))
    side = scene.side(rng.uniform(0, 2 * math.pi), place)
    scene.level *= 1 - (1 - rng.uniform(0.5, 0.8)) * (side / softness + 0.5).clip(0, 1)


def ruled(rng: np.random.Generator, scene: Scene) -> None:
    """Pale lines under the writing, now and then with one for the margin."""
    _rule(rng, scene, rng.uniform(150, 200), margin=rng.random() < 0.3)


def squared(rng: np.random.Generator, scene: Scene) -> None:
    """Pale squares under the writing."""
    _rule(rng, scene, rng.uniform(150, 200), squares=True)


def dark_lines(rng: np.random.Generator, scene: Scene) -> None:
    """Lines or squares as dark as a pen."""
    _rule(rng, scene, rng.uniform(30, 120), squares=rng.random() < 0.4)


def fold(rng: np.random.Generator, scene: Scene) -> None:
    """A crease or two across the sheet, which is not equally bright on both sides."""
    size = max(scene.level.shape)
    for turn in rng.permutation(2)[: 1 + (rng.random() < 0.3)]:
        angle = turn * math.pi / 2 + math.radians(rng.uniform(-6, 6))
        place = np.array(scene.level.shape[::-1]) * rng.uniform(0.3, 0.7, 2)
        side = scene.side(angle, place)
        scene.level -= rng.uniform(0, 25) * (side > 0)
        scene.level -= rng.uniform(25, 90) * np.exp(
            -((side / (rng.uniform(2, 6) * size / 560)) ** 2)
        )


def frame(rng: np.random.Generator, scene: Scene) -> None:
    """A printed box round the digit."""
    gaps = rng.uniform(0.07, 0.35, 4) * scene.height + scene.pen / 2
    top, left, bottom, right = scene.box + np.array([-1, -1, 1, 1]) * gaps
    points = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    width = rng.uniform(0.007, 0.03) * scene.height
    scene.stroke(_turned(points, rng.uniform(-2, 2)), width, rng.uniform(0, 130))


def circle(rng: np.random.Generator, scene: Scene) -> None:
    """A circle round the digit, by hand."""
    top, left, bottom, right = scene.box
    radii = np.array([right - left, bottom - top]) * rng.uniform(0.8, 1.0, 2) + scene.pen
    radii[0] = max(radii[0], radii[1] * rng.uniform(0.65, 1))
    room = np.minimum(scene.middle, np.array(scene.level.shape[::-1]) - scene.middle)
    radii = np.minimum(radii, room / 1.05 - scene.pen)
    angles = np.linspace(0, 2 * math.pi, 60) + rng.uniform(0, 6)
    waves = 1 + rng.uniform(0, 0.05) * np.sin(2 * angles + rng.uniform(0, 6))
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * waves[:, None] * radii
    scene.stroke(scene.middle + points, scene.pen * rng.uniform(0.6, 1.1), scene.ink)


def underline(rng: np.random.Generator, scene: Scene) -> None:
    """One line below the digit, or two."""
    _, left, bottom, right = scene.box
    half = max(right - left, 0.5 * scene.height) * rng.uniform(0.45, 0.9)
    width = scene.pen * rng.uniform(0.5, 1.1)
    y = bottom + rng.uniform(0.08, 0.2) * scene.height + scene.pen
    for _ in range(1 + (rng.random() < 0.2)):
        ends = scene.middle[0] + np.array([-half, half]) + rng.uniform(-0.1, 0.1, 2) * half
        points = np.stack([ends, y + rng.uniform(-0.04, 0.04, 2) * scene.height], axis=1)
        scene.stroke(points, width, scene.ink)
        y += 0.08 * scene.height + 2 * width


def name_above(rng: np.random.Generator, scene: Scene) -> None:
    """A form's first line, "Name: ____", above the digit."""
    fonts = letters.TEST_FONTS if scene.test else letters.TRAINING_FONTS
    path = letters.font_path(*fonts[rng.integers(len(fonts))])
    font = ImageFont.truetype(path, max(8, round(rng.uniform(0.1, 0.2) * scene.height)))
    text = rng.choice(["Name:", "Date:", "Nr.", "Class:", "Page"]) + " " + "_" * rng.integers(4, 15)
    canvas = Image.new("L", scene.level.shape[::-1])
    bottom = scene.box[0] - rng.uniform(0.12, 0.5) * scene.height
    left = rng.uniform(0.03, 0.2) * canvas.width
    ImageDraw.Draw(canvas).text((left, max(bottom, font.size)), text, 255, font, "ls")
    scene.cover(np.asarray(canvas, np.float32) / 255, rng.uniform(0, 120))


def _lay_on_table(rng: np.random.Generator, scene: Scene, sides: Sequence[int]) -> None:
    """Cut the sheet at some sides (0 right, 1 bottom, 2 left, 3 top) and show a table there."""
    size = np.array(scene.level.shape[::-1])
    beyond = np.full(scene.level.shape, -np.inf, np.float32)
    top, left, bottom, right = scene.box + np.array([-1, -1, 1, 1]) * 0.1 * scene.height
    corners = np.array([(left, top), (right, top), (left, bottom), (right, bottom)])
    turn = math.radians(rng.uniform(-5, 5))
    for number in sides:
        angle = number * math.pi / 2 + turn + math.radians(rng.uniform(-1.5, 1.5))
        way = np.array([math.cos(angle), math.sin(angle)])
        place = size / 2 + (0.5 - rng.uniform(0.03, 0.22)) * size * np.round(way)
        reach = ((corners - place) @ way).max()  # the digit stays on the sheet
        beyond = np.maximum(beyond, scene.side(angle, place + max(reach, 0) * way))
    if rng.random() < 0.15:
        scene.level *= 0.7  # a table that is lighter than the sheet
        table = rng.uniform(220, 250)
    else:
        table = rng.uniform(25, 140)
    grain = ndimage.gaussian_filter(rng.normal(size=beyond.shape).astype(np.float32), (0.6, 12))
    outside = (beyond / rng.uniform(1, 3) + 0.5).clip(0, 1)
    rim = rng.uniform(-40, 90) * np.exp(-((beyond / rng.uniform(1, 3)) ** 2))
    table = table + rng.uniform(0, 6) * grain / grain.std()
    scene.level = scene.level * (1 - outside) + table * outside - rim.clip(0)


def _rule(
    rng: np.random.Generator,
    scene: Scene,
    level: float,
    squares: bool = False,
    margin: bool = False,
) -> None:
    """Print lines over the whole sheet, level but for a few degrees."""
    gap = rng.uniform(0.14, 0.4) * scene.height
    width = rng.uniform(1, 2.5) * max(scene.level.shape) / 560
    turn, place = math.radians(rng.normal(0, 1.2)), rng.uniform(0, 1, 2) * scene.level.shape[::-1]
    for angle in [turn + math.pi / 2] + [turn] * squares:
        from_line = np.abs((scene.side(angle, place) + gap / 2) % gap - gap / 2)
        scene.cover((width / 2 - from_line + 0.5).clip(0, min(1, width)), level)
    if margin:
        from_line = np.abs(scene.side(turn, place * (0.25, 1)))
        scene.cover((width / 2 - from_line + 0.5).clip(0, min(1, width)), level)


def _turned(points: np.ndarray, degrees: float) -> np.ndarray:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle = points.mean(0)
    return middle + (points - middle) @ np.array([[cosine, sine], [-sine, cosine]])


def as_png(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """As a program saves it."""
    return picture


def as_photo(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """As a camera saves it: a little noise, and a JPEG."""
    return _jpeg(_grainy(rng, picture, rng.uniform(0, 4)), int(rng.integers(60, 96)))


def as_scan(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """In the light of a lamp at one side."""
    y, x = np.indices(picture.size[::-1], np.float32) / max(picture.size)
    light = 1 - rng.uniform(0, 0.35) * (rng.random() * x + rng.random() * y)
    shaded = Image.fromarray((np.asarray(picture) * light).astype(np.uint8))
    return _grainy(rng, shaded, rng.uniform(1, 6))


def as_bad_jpeg(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """A JPEG of quality 20."""
    return _jpeg(picture, 20)


def inverted(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """White on black."""
    return Image.fromarray(255 - np.asarray(picture))


def transparent(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Ink of one colour on nothing."""
    drawn = Image.new("RGBA", picture.size, tuple(rng.integers(0, 120, 3).tolist()))
    drawn.putalpha(Image.fromarray(255 - np.asarray(picture)))
    return drawn


def lying(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """A photo whose EXIF data say how it has to be turned."""
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
        add: draws what is not the digit.
        save: makes a picture of the sheet.
        size: longer side of the picture, in pixels.
        height: of the digit, in shorter sides of the picture.
        pen: width of a stroke, in heights; MNIST's own may stay wider than the narrowest.
        ink, paper: grey levels.
        place: of the digit, in shares of the room that it leaves.
        lean: how far the digit is sheared, in either direction, in heights.
        empty: whether no digit is written.
    """

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


CANVAS = Kind(save=as_png, size=(280, 560), paper=(255, 255), ink=(0, 40))
PENCIL = Kind(pen=(0.014, 0.04), ink=(110, 160), paper=(235, 250))
FORM = Kind(height=(0.25, 0.45), place=(0.42, 0.58))
KINDS = {
    "canvas": CANVAS,
    "scan": Kind(save=as_scan),
    "30x40 pixels": Kind(size=(40, 40), height=(0.5, 0.8), pen=(0.06, 0.12)),
    "3000x4000 pixels": Kind(size=(4000, 4000), height=(0.3, 0.7)),
    "white on black": replace(CANVAS, save=inverted),
    "JPEG of quality 20": Kind(save=as_bad_jpeg),
    "transparent": replace(CANVAS, save=transparent),
    "turned by EXIF": Kind(save=lying),
    "slanted": Kind(lean=(0.15, 0.4)),
    "thin pen": Kind(pen=(0.018, 0.03)),
    "thick pen": Kind(pen=(0.13, 0.22)),
    "table at a side": Kind(table_at_a_side),
    "table all round": Kind(table_all_round, height=(0.3, 0.5)),
    "empty sheet, table at a side": Kind(table_at_a_side, empty=True),
    "empty sheet, table all round": Kind(table_all_round, height=(0.3, 0.5), empty=True),
    "shadow across": Kind(shadow, pen=(0.018, 0.09)),
    "ruled paper": replace(PENCIL, add=ruled),
    "squared paper": replace(PENCIL, add=squared),
    "dark lines": Kind(dark_lines, ink=(0, 60), pen=(0.03, 0.09)),
    "empty ruled paper": replace(PENCIL, add=ruled, empty=True),
    "empty squared paper": replace(PENCIL, add=squared, empty=True),
    "empty sheet, dark lines": Kind(dark_lines, empty=True),
    "fold": Kind(fold),
    "empty sheet, fold": Kind(fold, empty=True),
    "printed frame": replace(FORM, add=frame),
    "circle round it": replace(FORM, add=circle),
    "underlined": replace(FORM, add=underline),
    "a name's line above": replace(FORM, add=name_above),
}


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
            others, or all without it, are digits drawn as strokes.
        labels: theirs, (N,).
        test: with the hands and fonts for testing.

    Returns:
        pictures: of different sizes, modes L and RGBA.
        labels: int64, (count,); ``NOTHING`` where the sheet is empty.
    """
    pictures, shown = [], np.full(count, NOTHING, np.int64)
    for i in range(count):
        rng = np.random.default_rng([seed, list(KINDS).index(kind), i, int(test)])
        pen = rng.uniform(*KINDS[kind].pen)
        if digits is not None and i % 2:
            index = rng.integers(len(digits))
            digit, label = digits[index], labels[index]
        else:
            digit, label = _written(pen, rng, test)
        pictures.append(_picture(KINDS[kind], digit, pen, rng, test))
        shown[i] = NOTHING if KINDS[kind].empty else label
    return pictures, shown


def _written(pen: float, rng: np.random.Generator, test: bool) -> tuple[np.ndarray, int]:
    """A digit as strokes, bright on black, and what it is."""
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
        pen: wanted width of its strokes, in heights; they get no narrower than about half.
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
