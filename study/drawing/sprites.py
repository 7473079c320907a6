"""Digits and other marks to write pages with, each kept once and rendered at any size.

A sprite holds each pixel's distance to the edge of the ink, so that the same digit can be written
with a thin pen or a thick one. Each page has one writer: a person of MNIST with all of their
digits, a `Hand` of `strokes`, or a font.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from . import fonts, letters, non_digits, strokes
from .sheet import log_uniform

STEPS = 8  # of distance per pixel
MARGIN = 8  # pixels around a sprite's ink
FINE = 64  # pixels: height at which MNIST's digits are kept
LEAST_IMAGES = 60  # a writer with fewer is left out
MOST_WRITERS = 160  # of MNIST: each has about a hundred digits, whose sprites stay in memory
NUM_HANDS = 400  # generated handwriting styles
NUM_MARKS = 600  # sprites of each kind of mark
PENS = 0.008, 0.2  # width of a stroke, in heights
ODDS = np.array([1, 2.5] + [1] * 8) / 11.5  # 1s are the hardest to tell from other lines
SIGNS = {
    "plus": "0,50 100,50 | 50,0 50,100",
    "times": "0,0 100,100 | 100,0 0,100",
    "minus": "0,50 50,50 100,48",
    "equals": "0,35 100,33 | 0,65 100,66",
    "slash": "100,0 0,100",
    "divide": "0,50 100,50 | 48,10 52,14 | 48,86 52,90",
    "root": "0,60 15,55! 35,100! 60,0! 140,0",
    "dot": "48,98 52,100",
    "comma": "60,90 55,96 40,115",
    "colon": "48,30 52,33 | 48,70 52,73",
}
LOW = "dot", "comma"  # they stand at the foot of a line
SMALL = "dot", "comma", "colon"
SHAPES = (
    non_digits.scribble,
    non_digits.shape,
    non_digits.heart,
    non_digits.tick,
    non_digits.face,
    non_digits.pi,
    non_digits.crossed_out,
)


@dataclass(frozen=True)
class Sprite:
    """Ink at one size.

    Attributes:
        depth: int8 (height, width), in ``STEPS`` per pixel: distance to the edge, positive in ink.
        width: of its strokes, in pixels.
        height: of its ink, in pixels.
        label: the digit, or the sign's name; None if it has none.
    """

    depth: np.ndarray
    width: float
    height: int
    label: int | str | None = None

    @classmethod
    def of(cls, covered: np.ndarray, label: int | str | None = None) -> "Sprite":
        """Make a sprite from ink, bool (height, width)."""
        rows, columns = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
        inside = covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        padded = np.pad(inside, MARGIN)
        depth = ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded)
        # Across a stroke, the depth rises to half its width and falls again: a quarter on average.
        width = float(4 * depth[padded].mean())
        depth = (STEPS * depth).clip(-127, 127).round().astype(np.int8)
        return cls(depth, width, inside.shape[0], label)

    def rendered(
        self, height: float, pen: float | None = None, angle: float = 0.0, aspect: float = 1.0
    ) -> np.ndarray:
        """Return the share of each pixel that is covered, float32, cropped to the ink.

        Args:
            height: of the ink, in pixels.
            pen: wanted width of its strokes, in heights; they lose at most half of their width.
            angle: degrees by which it is turned counterclockwise.
            aspect: factor by which it is widened.
        """
        zoom = height / self.height
        depth = self.depth.astype(np.float32) / STEPS
        if pen is not None:
            depth += np.clip((pen * self.height - self.width) / 2, -0.25 * self.width, MARGIN - 1)
        coarse = zoom < 1  # shrinking averages what is covered; enlarging keeps edges sharp
        image = Image.fromarray(
            ((depth + 0.5).clip(0, 1) * 255).astype(np.uint8) if coarse else depth
        )
        if angle:
            image = image.rotate(
                angle,
                Image.Resampling.BILINEAR,
                expand=True,
                fillcolor=0 if coarse else -2 * MARGIN,
            )
        size = max(1, round(image.width * zoom * aspect)), max(1, round(image.height * zoom))
        image = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
        cover = image / 255 if coarse else (image * zoom + 0.5).clip(0, 1)
        rows, columns = (np.flatnonzero((cover > 0.1).any(axis)) for axis in (1, 0))
        if not len(rows):
            return cover[:1, :1]
        return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class Writers:
    """Those who may write a page.

    Args:
        digits: uint8 (N, 28, 28), from one of MNIST's sets.
        labels: of the digits, (N,).
        writers: who wrote each, (N,).
        test: use the handwriting, fonts, letters and shapes for testing.
    """

    def __init__(
        self, digits: np.ndarray, labels: np.ndarray, writers: np.ndarray, test: bool = False
    ):
        self.digits, self.labels, self.test = digits, labels, test
        order = np.argsort(writers, kind="stable")
        people = np.split(order, np.flatnonzero(np.diff(writers[order])) + 1)
        people = [images for images in people if len(images) >= LEAST_IMAGES]
        # At regular steps: the writers' numbers go with the group that they belong to.
        self.people = people[:: max(1, len(people) // MOST_WRITERS)]
        self._sprites: dict[tuple, Sprite] = {}

    def draw(self, rng: np.random.Generator) -> "Writer":
        """Draw one at random: half are people, four in ten are a `Hand`, the others are fonts."""
        kind = rng.choice(["person", "hand", "font"], p=[0.5, 0.4, 0.1])
        pen = log_uniform(rng, 0.03, PENS[1])
        keeps = bool(rng.random() < 0.4)
        if kind == "person":
            images = self.people[rng.integers(len(self.people))]
            classes = [images[self.labels[images] == digit] for digit in range(10)]
            choices = [[("digit", int(i)) for i in same] for same in classes]
        elif kind == "hand":
            hand = int(rng.integers(NUM_HANDS))
            styles = [[s for s in strokes.STYLES if s[0] == str(digit)] for digit in range(10)]
            usual = [same[rng.integers(len(same))] for same in styles]
            choices = [
                [("hand", hand, s, k) for s in (*same, *[own] * 3 * len(same)) for k in range(2)]
                for same, own in zip(styles, usual, strict=True)
            ]
            keeps = keeps or self._pen(hand) < 0.03
        else:
            font = fonts.any_font(rng, self.test)
            choices = [[("font", *font, digit)] for digit in range(10)]
            keeps = True
        return Writer(self, choices, None if keeps else pen, float(rng.uniform(0.8, 1.25)))

    def sprite(self, key: tuple) -> Sprite:
        """Return one of somebody's digits; ``key`` says which."""
        if key not in self._sprites:
            make = {"digit": self._scanned, "hand": self._drawn, "font": self._printed}[key[0]]
            self._sprites[key] = make(*key[1:])
        return self._sprites[key]

    def mark(self, kind: str, rng: np.random.Generator, name: str | None = None) -> Sprite:
        """Return a "letter", a "shape", something "crossed out", or a "sign": see `SIGNS`."""
        key = kind, name, int(rng.integers(NUM_MARKS // (10 if name else 1)))
        while key not in self._sprites:
            own = np.random.default_rng(
                [*map(ord, kind), *map(ord, name or ""), key[-1], self.test]
            )
            picture = self._marked(kind, name, own) < 128
            if picture.any():
                self._sprites[key] = Sprite.of(picture, name)
            else:
                key = kind, name, key[-1] + 1
        return self._sprites[key]

    def _marked(self, kind: str, name: str | None, rng: np.random.Generator) -> np.ndarray:
        if kind == "letter":
            return letters.written_letter(rng, self.test)
        if kind == "shape":
            return SHAPES[rng.integers(len(SHAPES))](rng, test=self.test)
        if kind == "crossed out":
            return non_digits.crossed_out(rng, test=self.test)
        widths = (1.3, 2) if name == "slash" else (0.6, 1.3)
        return strokes.written([SIGNS[name]], rng, self.test, widths, (0.04, 0.12))

    def _pen(self, number: int) -> float:
        rng = np.random.default_rng([number, int(self.test)])
        return log_uniform(rng, *PENS)

    def _drawn(self, number: int, style: str, variant: int) -> Sprite:
        hand = strokes.Hand.draw(np.random.default_rng([number, 1, int(self.test)]), self.test)
        hand = replace(hand, pen=self._pen(number))
        rng = np.random.default_rng([number, strokes.STYLES.index(style), variant, int(self.test)])
        return Sprite.of(strokes.picture(style, hand, rng) < 128, int(style[0]))

    def _scanned(self, index: int) -> Sprite:
        image = Image.fromarray(self.digits[index])
        image = image.crop(image.getbbox())
        zoom = FINE / image.height
        image = Image.fromarray(np.pad(image, 2))
        size = [max(1, round(side * zoom)) for side in image.size]
        image = image.resize(size, Image.Resampling.BICUBIC)
        return Sprite.of(np.asarray(image) > 127, int(self.labels[index]))

    def _printed(self, package: str, file: str, digit: int) -> Sprite:
        return Sprite.of(text(str(digit), (package, file), FINE) > 127, digit)


@dataclass(frozen=True)
class Writer:
    """Somebody who writes a page.

    Attributes:
        writers: where the sprites are kept.
        choices: for each digit, the keys of its sprites.
        pen: width of the strokes, in heights; None for the sprites' own.
        aspect: factor by which digits are widened.
    """

    writers: Writers
    choices: Sequence[Sequence[tuple]]
    pen: float | None
    aspect: float

    def digit(
        self, rng: np.random.Generator, height: float, angle: float = 0.0
    ) -> tuple[int, np.ndarray]:
        """Write one of the ten digits; return what it is, and its cover (``Sprite.rendered``)."""
        digit = int(rng.choice(10, p=ODDS))
        keys = self.choices[digit] or [key for keys in self.choices for key in keys]
        sprite = self.writers.sprite(keys[rng.integers(len(keys))])
        aspect = self.aspect * rng.uniform(0.93, 1.07)
        return sprite.label, sprite.rendered(height, self.pen, angle, aspect)

    def mark(
        self,
        rng: np.random.Generator,
        kind: str,
        height: float,
        digit_height: float,
        name: str | None = None,
    ) -> np.ndarray:
        """Draw a mark of ``Writers.mark`` with the pen for digits of a given height."""
        pen = 0.09 if self.pen is None else self.pen
        return self.writers.mark(kind, rng, name).rendered(height, pen * digit_height / height)


def text(words: str, font: tuple[str, str], size: int) -> np.ndarray:
    """Print words: uint8 (height, width), bright on black, cropped."""
    loaded = _font(*font, size)
    left, top, right, bottom = (int(side) for side in loaded.getbbox(words))
    canvas = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(canvas).text((-left, -top), words, 255, loaded)
    return np.asarray(canvas)


@lru_cache(maxsize=512)
def _font(package: str, file: str, size: int) -> ImageFont.FreeTypeFont:
    path = str(fonts.path(package, file))
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
