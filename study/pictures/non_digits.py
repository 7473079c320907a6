"""Pictures of something that is no digit: what the refusal is fixed against.

Each function takes a random generator and returns dark ink on white, uint8 (200, 200). Letters
and shapes that are written like a digit (O, l, S, Z, a circle) are left out.
"""

import math

import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.interpolate import make_interp_spline

SIZE = 200
LETTERS = "AEFHKMNPRTWXYaefhkmnrwxy&@#%?"
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")


def scribble(rng: np.random.Generator) -> np.ndarray:
    """A curve that turns back and forth many times."""
    count = rng.integers(9, 18)
    points = rng.uniform(25, SIZE - 25, (count, 2))
    curve = make_interp_spline(np.arange(count), points)(np.linspace(0, count - 1, 40 * count))
    return _lines([curve], rng)


def letter(rng: np.random.Generator) -> np.ndarray:
    """A letter or sign in one of the fonts that Matplotlib brings, slightly turned."""
    family = rng.choice(FONTS)
    weight, style = rng.choice(["normal", "bold"]), rng.choice(["normal", "oblique"])
    path = findfont(FontProperties(family=family, weight=weight, style=style))
    font = ImageFont.truetype(path, int(rng.integers(90, 150)))
    picture = Image.new("L", (SIZE, SIZE), 255)
    pen = ImageDraw.Draw(picture)
    pen.text((SIZE / 2, SIZE / 2), rng.choice(list(LETTERS)), 0, font, anchor="mm")
    return np.asarray(picture.rotate(rng.uniform(-15, 15), fillcolor=255))


def noise(rng: np.random.Generator) -> np.ndarray:
    """Clouds, coarse or fine."""
    clouds = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), rng.uniform(0, 14))
    levels = (clouds - clouds.min()) / (clouds.max() - clouds.min())
    return (255 * levels).astype(np.uint8)


def shape(rng: np.random.Generator) -> np.ndarray:
    """A star, a box, a cross, a grid, an arrow, or spots; of any size and turn."""
    kind = rng.choice(["star", "box", "cross", "grid", "arrow", "spots"])
    turn = rng.uniform(-0.3, 0.3)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    outline = _outline(kind, rng)
    lines = [SIZE / 2 + rng.uniform(40, 85) * np.asarray(line) @ rotation for line in outline]
    return _lines(lines, rng)


def two_digits(rng: np.random.Generator, digits: np.ndarray) -> np.ndarray:
    """Two of ``digits``, uint8 (N, 28, 28), side by side."""
    pair = np.hstack([np.pad(digits[rng.integers(len(digits))][:, 3:-3], 4) for _ in range(2)])
    return np.asarray(Image.fromarray(255 - pair).resize((SIZE, SIZE * 36 // 60)))


def _lines(lines: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("L", (SIZE, SIZE), 255)
    pen = ImageDraw.Draw(picture)
    width = int(rng.integers(6, 16))
    for line in lines:
        pen.line([tuple(point) for point in line], 0, width, joint="curve")
    return np.asarray(picture)


def _outline(kind: str, rng: np.random.Generator) -> list:
    """The lines of a shape, each a list of points (x, y) between -1 and 1."""
    match kind:
        case "star":
            corners = np.arange(2 * rng.integers(4, 8) + 1)
            angles = corners * math.pi / (len(corners) // 2)
            radius = np.where(corners % 2, 0.4, 1)
            return [np.stack([radius * np.sin(angles), -radius * np.cos(angles)], axis=1)]
        case "box":
            height = rng.uniform(0.6, 1)
            box = [(-1, -height), (1, -height), (1, height), (-1, height), (-1, -height)]
            return [box, [(-1, -height), (1, height)]] if rng.random() < 0.5 else [box]
        case "cross":
            return [[(-1, 0), (1, 0)], [(0, -1), (0, 1)]]
        case "grid":
            places = np.linspace(-1, 1, rng.integers(3, 5))
            return [[(-1, y), (1, y)] for y in places] + [[(x, -1), (x, 1)] for x in places]
        case "arrow":
            return [[(-1, 0), (1, 0)], [(0.4, -0.6), (1, 0), (0.4, 0.6)]]
        case "spots":
            centres = rng.uniform(-1, 1, (rng.integers(4, 9), 2))
            return [[centre - 0.06, centre + 0.06] for centre in centres]


KINDS = (scribble, letter, noise, shape)
