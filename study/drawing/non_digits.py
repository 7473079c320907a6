"""Pictures of non-digits, to train networks that reject them, and to test these networks.

Circles are left out, and so are single lines that are not nearly level: they are a 0 and a 1.
Letters that are written like a digit are left out too, as `letters` says. The handwriting and the
fonts for testing are never those for training.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from study.data import NO_DIGIT

from . import strokes
from .empty_paper import fold, noise, ruled_paper, shadow, table_edge, texture
from .kinds import numbered
from .letters import letter, sign, written_letter

SIZE = strokes.SIZE
HEARTS = (
    "50,28 35,2 8,5 0,35 25,70 50,100! 78,68 100,35 92,5 65,2 50,28",
    "50,25 30,0 5,12 5,45 50,100 | 50,25 70,0 95,12 95,45 50,100",
)
PIS = (
    "0,8 50,5 100,0 | 30,8 28,50 15,100 | 70,6 68,60 78,98 95,92",
    "0,22 15,5 50,6 100,2 | 32,8 28,60 8,98 | 72,8 70,60 80,100",
    "0,2 50,0 100,2 | 25,2 25,50 25,100 | 75,2 75,50 75,100",
)
TICKS = ("0,55 30,100! 100,0", "0,60 18,65 32,100! 60,40 100,0", "0,65 12,85 28,98! 55,45 100,0")
SHAPES = {
    "star": "50,0 20,95! 100,35! 0,35! 80,95! 50,0",
    "star of six": "50,0 5,75! 95,75! 50,0 | 50,100 5,25! 95,25! 50,100",
    "box": "0,0 100,0! 100,100! 0,100! 0,0",
    "crossed box": "0,0 100,0! 100,100! 0,100! 0,0! 100,100",
    "triangle": "50,0 100,100! 0,100! 50,0",
    "triangle on its tip": "50,100 100,0! 0,0! 50,100",
    "diamond": "50,0 100,50! 50,100! 0,50! 50,0",
    "cross": "0,50 100,50 | 50,0 50,100",
    "grid": "0,25 100,25 | 0,75 100,75 | 25,0 25,100 | 75,0 75,100",
    "arrow": "0,50 100,50 | 65,20 100,50! 65,80",
    "arrow up": "50,100 50,0 | 20,35 50,0! 80,35",
    "house": "0,45 50,0! 100,45! 100,100! 0,100! 0,45! 100,45",
    "spiral": "50,50 60,45 62,58 45,65 35,48 50,30 75,38 80,65 50,85 15,70 12,35 45,5 90,15",
    "zigzag": "0,60 20,20! 40,80! 60,20! 80,80! 100,30",
    "waves": "0,50 12,20 25,50 38,80 50,50 62,20 75,50 88,80 100,50",
    "flower": "50,50 30,10 70,10 50,50! 90,30 90,70 50,50! 70,90 30,90 50,50! 10,70 10,30 50,50",
    "hash": "30,0 25,100 | 75,0 70,100 | 0,32 100,30 | 0,70 100,66",
    "spots": "5,10 8,14 | 60,0 64,3 | 95,40 98,44 | 40,55 44,57 | 10,95 14,98 | 80,92 84,96",
}


def scribble(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a curve that turns back and forth many times, on the spot or from left to right."""
    points = rng.uniform(0, 1, (rng.integers(8, 18), 2))
    if rng.random() < 0.5:
        points[:, 0] = np.linspace(0, 1.2, len(points)) + rng.normal(0, 0.06, len(points))
        points[::2, 1] *= 0.5
        points[1::2, 1] = 1 - 0.5 * points[1::2, 1]
    hand = replace(strokes.Hand.draw(rng, test), pen=rng.uniform(0.03, 0.1))
    return strokes.ink([points], hand, rng)


def heart(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw the outline of a heart, or a filled one."""
    picture = strokes.written(HEARTS, rng, test, widths=(0.8, 1.3))
    return _filled(picture) if rng.random() < 0.2 else picture


def pi(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw the Greek letter."""
    return strokes.written(PIS, rng, test, widths=(0.8, 1.5))


def tick(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a tick, as teachers make it."""
    return strokes.written(TICKS, rng, test, widths=(0.7, 1.4))


def dash(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw one to three dashes, nearly level, or a wave."""
    hand = strokes.Hand.draw(rng, test)
    x = np.linspace(0, 1, 5)
    wave = rng.uniform(0, 0.15) * np.sin(rng.uniform(3, 8) * x) + rng.uniform(-0.2, 0.2) * x
    gap = rng.uniform(0.25, 0.5)
    lines = [np.stack([x, wave + gap * row], axis=1) for row in range(rng.integers(1, 4))]
    return strokes.ink(lines, hand, rng)


def face(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a round face with eyes, a mouth, and sometimes a nose."""
    mood = rng.uniform(-12, 12)  # how far the mouth's corners rise
    parts = [
        "55,2 20,10 0,50 20,90 50,100 80,90 100,50 80,10 45,1",
        f"32,25 32,{rng.integers(38, 46)} | 66,25 66,{rng.integers(38, 46)}",
        f"28,{70 - mood:.0f} 50,{72 + mood:.0f} 72,{70 - mood:.0f}",
    ]
    if rng.random() < 0.3:
        parts.append("50,45 46,58 54,58")
    return strokes.written([" | ".join(parts)], rng, test, widths=(0.75, 1.15), pens=(0.04, 0.08))


def shape(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a star, a box, an arrow, a grid, spots or the like; sometimes filled or turned."""
    name = rng.choice(list(SHAPES))
    picture = strokes.written([SHAPES[name]], rng, test, widths=(0.75, 1.4), pens=(0.05, 0.12))
    if name in ("box", "triangle", "diamond") and rng.random() < 0.4:
        picture = _filled(picture)
    return picture


def two_digits(
    rng: np.random.Generator, digits: np.ndarray | None = None, test: bool = False
) -> np.ndarray:
    """Draw two to four digits side by side: of ``digits``, uint8 (N, 28, 28), or by one `Hand`."""
    count = rng.choice([2, 2, 2, 3, 4])
    hand = strokes.Hand.draw(rng, test)
    cells = []
    for _ in range(count):
        if digits is not None:
            cell = _enlarged(digits[rng.integers(len(digits))])
        else:
            cell = strokes.picture(rng.choice(strokes.STYLES), hand, rng)
        columns = np.flatnonzero((cell < 128).any(0))
        cells.append(np.pad(cell[:, columns[0] : columns[-1] + 1], ((6, 6), (3, 3)), "edge"))
    line = np.hstack([np.roll(cell, rng.integers(-3, 4), 0) for cell in cells])
    return np.pad(line, 8, constant_values=255)


def crossed_out(
    rng: np.random.Generator, digits: np.ndarray | None = None, test: bool = False
) -> np.ndarray:
    """Draw a digit under two or more lines that end beyond its outline, or a scribble."""
    if digits is None:
        picture = strokes.picture(rng.choice(strokes.STYLES), strokes.Hand.draw(rng, test), rng)
    else:
        picture = _enlarged(digits[rng.integers(len(digits))])
    rows, columns = (np.flatnonzero((picture < 128).any(axis)) for axis in (1, 0))
    middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
    half = np.array([max(np.ptp(columns), 45), np.ptp(rows)]) / 2
    lines = CROSSINGS[rng.integers(len(CROSSINGS))] * rng.uniform(1.1, 1.35)
    image = Image.fromarray(np.pad(picture, 24, constant_values=255))
    pen = ImageDraw.Draw(image)
    for line in lines:
        ends = [tuple(middle + 24 + half * (point + rng.normal(0, 0.06, 2))) for point in line]
        pen.line(ends, 0, int(rng.integers(4, 10)))
    return np.asarray(image)


CROSSINGS = tuple(
    np.array(lines, float)
    for lines in (
        [[(-1, -1), (1, 1)], [(1, -1), (-1, 1)]],
        [[(-1.3, -0.2), (1.3, -0.3)], [(-1.3, 0.3), (1.3, 0.2)]],
        [[(-1.2, 0.4), (1.2, -0.7)], [(-1.2, 0.9), (1.2, -0.2)]],
        [[(-1.2, -0.5), (1.2, -0.6)], [(-1.2, 0), (1.2, 0)], [(-1.2, 0.5), (1.2, 0.6)]],
        [
            [(-1.1, -0.9), (1.1, -0.5)],
            [(1.1, -0.5), (-1.1, -0.1)],
            [(-1.1, -0.1), (1.1, 0.3)],
            [(1.1, 0.3), (-1.1, 0.8)],
        ],
    )
)
# Styles of a digit, and the part that stays: other parts are digits again, as half an 8 is a 3.
CUTS = (
    ("0", "top"),
    ("0", "bottom"),
    ("2", "bottom"),
    ("2", "left"),
    ("3", "left"),
    ("4 open", "top"),
    ("4 open", "left"),
    ("4 closed", "left"),
    ("5", "top"),
    ("8", "left"),
)


def cut_digit(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a part of a digit; the rest lies beyond the edge of the picture."""
    style, part = CUTS[rng.integers(len(CUTS))]
    picture = strokes.picture(style, strokes.Hand.draw(rng, test), rng)
    rows, columns = (np.flatnonzero((picture < 128).any(axis)) for axis in (1, 0))
    share = rng.uniform(0.4, 0.52)
    if part == "top":
        return picture[: rows[0] + round(share * np.ptp(rows))]
    if part == "bottom":
        return picture[rows[-1] - round(share * np.ptp(rows)) :]
    return picture[:, : columns[0] + round(share * np.ptp(columns))]


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        number: see ``numbered``.
        make: draws one with a random generator: uint8 (height, width), dark on light.
        share: how many times as many are drawn as of other kinds.
        of_digits: whether ``make`` can use given digits.
        surface: whether nobody wrote it, so that no handwriting or fonts are kept for testing.
    """

    number: int
    make: Callable[..., np.ndarray]
    share: int = 1
    of_digits: bool = False
    surface: bool = False


KINDS = numbered(
    {
        # Where a digit is asked for, the non-digit that people type or write is usually a letter.
        "letters in fonts": Kind(0, letter, share=14),
        "letters by hand": Kind(1, written_letter, share=7),
        "signs": Kind(2, sign, share=2),
        "scribbles": Kind(3, scribble, share=2),
        "shapes": Kind(4, shape, share=2),
        "hearts": Kind(5, heart),
        "faces": Kind(6, face),
        "ticks": Kind(7, tick),
        "dashes": Kind(8, dash),
        "pi": Kind(9, pi),
        "several digits": Kind(10, two_digits, share=2, of_digits=True),
        "cut digits": Kind(11, cut_digit),
        "crossed-out digits": Kind(12, crossed_out, of_digits=True),
        "clouds, noise": Kind(13, noise, surface=True),
        "textures": Kind(14, texture, surface=True),
        "folds": Kind(15, fold, surface=True),
        "shadows": Kind(16, shadow, surface=True),
        "edges of tables": Kind(17, table_edge, surface=True),
        "ruled paper": Kind(18, ruled_paper, surface=True),
    }
)
# Kinds that the ablation leaves out together.
GROUPS = {
    "letters and signs": ("letters in fonts", "letters by hand", "signs", "pi"),
    "scribbles and shapes": ("scribbles", "shapes", "hearts", "faces", "ticks", "dashes"),
    "paper and light": tuple(name for name, kind in KINDS.items() if kind.surface),
}


def draw(
    kind: str, count: int, seed: int, digits: np.ndarray | None = None, test: bool = False
) -> torch.Tensor:
    """Draw pictures of one kind and prepare them as a user's are: uint8, (count, 28, 28).

    Where the preparation finds nothing drawn, or finds a 1, the next picture takes its place.

    Args:
        kind: one of ``KINDS``.
        count: how many.
        seed: not negative. The first pictures are the same for any count.
        digits: uint8, (N, 28, 28): half of the pairs and of the crossed-out digits are made from
            them. The others, or all if none are given, are drawn as strokes.
        test: use fonts and handwriting that training never sees.
    """
    images = np.zeros((count, 28, 28), np.uint8)
    look = KINDS[kind]
    for i in range(count):
        rng = np.random.default_rng([seed, look.number, i, int(test)])
        options = {} if look.surface else {"test": test}
        if look.of_digits and i % 2:
            options["digits"] = digits
        while not images[i].any() or _is_one(images[i]):
            images[i] = strokes.prepared(look.make(rng, **options), rng, test)
    return torch.from_numpy(images)


def shares(count: int) -> dict[str, int]:
    """Return how many of ``count`` pictures each kind has."""
    parts = np.array([kind.share for kind in KINDS.values()])
    ends = np.round(count * parts.cumsum() / parts.sum()).astype(int)
    return dict(zip(KINDS, np.diff(ends, prepend=0).tolist(), strict=True))


def draw_all(
    count: int, seed: int, digits: np.ndarray | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ``count`` pictures of all kinds, in proportion to their shares.

    Returns:
        images: uint8, shape (count, 28, 28), in the order of the kinds.
        labels: int64, shape (count,), all ``NO_DIGIT``.
    """
    images = torch.cat([draw(kind, n, seed, digits) for kind, n in shares(count).items()])
    return images, torch.full((count,), NO_DIGIT)


def _enlarged(digit: np.ndarray) -> np.ndarray:
    """One of MNIST's digits, dark on white, (SIZE, SIZE)."""
    image = Image.fromarray(255 - digit).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _is_one(image: np.ndarray) -> bool:
    """Whether ink is tall and narrow, or nearly fills a long rectangle that is not nearly level."""
    points = np.argwhere(image > 60)
    height, width = np.ptp(points, axis=0)
    if width < 0.4 * height:
        return True
    axes = np.linalg.eigh(np.cov(points.T, bias=True))[1]  # columns: across the ink, and along it
    across, along = np.ptp(points @ axes, axis=0) + 1
    is_bar = across < 0.6 * along and len(points) > 0.6 * across * along
    return bool(is_bar and abs(axes[0, 1]) > 0.5)  # steeper than 30 degrees


def _filled(picture: np.ndarray) -> np.ndarray:
    return np.where(ndimage.binary_fill_holes(picture < 128), 0, picture).astype(np.uint8)
