"""What the scenes that test the page show beside the digit: tables, shadows, printed lines, forms.

Each function draws on a `Scene` with a random generator. Lengths are in heights of the digit, or,
where noted, in longer sides of the picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from . import fonts


@dataclass
class Scene:
    """A sheet while it is being drawn.

    Attributes:
        level: float32, (height, width): how light it is, 0 to 255.
        box: top, left, bottom and right of the digit, in pixels.
        pen: width of the digit's strokes, in pixels.
        ink: grey level of the pen.
        test: whether to use the parts for testing.
    """

    level: np.ndarray
    box: np.ndarray
    pen: float
    ink: float
    test: bool

    @property
    def height(self) -> int:
        """Return the digit's height, in pixels."""
        return int(self.box[2] - self.box[0])

    @property
    def middle(self) -> np.ndarray:
        """Return x and y of the digit's middle."""
        top, left, bottom, right = self.box
        return np.array([left + right, top + bottom]) / 2

    def cover(self, share: np.ndarray, level: float | np.ndarray) -> None:
        """Give a share of each pixel, 0 to 1, another level, where that is darker."""
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
        """Measure each pixel's distance to a line through ``place``, positive along ``angle``."""
        y, x = np.indices(self.level.shape, np.float32)
        return (x - place[0]) * math.cos(angle) + (y - place[1]) * math.sin(angle)


def table_at_a_side(rng: np.random.Generator, scene: Scene) -> None:
    """Show a strip of the table beside the sheet."""
    _lay_on_table(rng, scene, rng.permutation(4)[: 1 + (rng.random() < 0.2)])


def table_all_round(rng: np.random.Generator, scene: Scene) -> None:
    """Show the whole sheet, on a table."""
    _lay_on_table(rng, scene, np.arange(4))


def shadow(rng: np.random.Generator, scene: Scene) -> None:
    """Lay half the sheet in a shadow that ends across the digit."""
    place = scene.middle + rng.uniform(-0.25, 0.25, 2) * scene.height
    softness = max(1, rng.uniform(0, 0.036) * max(scene.level.shape))
    side = scene.side(rng.uniform(0, 2 * math.pi), place)
    scene.level *= 1 - (1 - rng.uniform(0.5, 0.8)) * (side / softness + 0.5).clip(0, 1)


def ruled(rng: np.random.Generator, scene: Scene) -> None:
    """Draw pale lines under the writing, sometimes with one for the margin."""
    _rule(rng, scene, rng.uniform(150, 200), margin=rng.random() < 0.3)


def squared(rng: np.random.Generator, scene: Scene) -> None:
    """Draw pale squares under the writing."""
    _rule(rng, scene, rng.uniform(150, 200), squares=True)


def dark_lines(rng: np.random.Generator, scene: Scene) -> None:
    """Draw lines or squares as dark as a pen."""
    _rule(rng, scene, rng.uniform(30, 120), squares=rng.random() < 0.4)


def fold(rng: np.random.Generator, scene: Scene) -> None:
    """Fold the sheet once or twice; it is not equally bright on both sides of a crease."""
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
    """Draw a printed box round the digit."""
    gaps = rng.uniform(0.07, 0.35, 4) * scene.height + scene.pen / 2
    top, left, bottom, right = scene.box + np.array([-1, -1, 1, 1]) * gaps
    points = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    width = rng.uniform(0.007, 0.03) * scene.height
    scene.stroke(_turned(points, rng.uniform(-2, 2)), width, rng.uniform(0, 130))


def circle(rng: np.random.Generator, scene: Scene) -> None:
    """Draw a circle round the digit, by hand."""
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
    """Draw one line below the digit, or two."""
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
    """Draw a form's first line, "Name: ____", above the digit."""
    path = fonts.path(*fonts.any_font(rng, scene.test))
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
