"""Digits drawn as pen strokes in varied handwriting, to train on and to test networks with.

MNIST's writers are American: it hardly has a 1 with a flag and no foot, a slashed or dotted 0, a
crossed 7 or a 9 with a curled foot. Here each style of digit is a skeleton, and a `Hand` turns it
into ink: its proportions, slant, pen and unsteadiness. Training and testing draw from different
random streams and ranges: handwriting for testing varies more in proportions and slant, and is
less steady. Only training has thick pens, even thicker markers for half of its 1s, and few pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import make_interp_spline

from study.reading.form import prepare_untidied

SIZE = 128  # pixels, the side of a picture
HEIGHT = 92  # pixels, of a digit on it
COARSE = (9, 40)  # pixels, the longer side of what is drawn, at a low resolution
COARSE_SHARE = 1 / 3  # of the pictures for training
MARKER = 2.6  # in training, a 1's pen may be this many times as wide: a 1 has no loop to fill

# Points "x,y" in percent of a digit's width and height, from its upper left corner. A curve runs
# through them; "!" marks a corner, "|" lifts the pen.
SKELETONS = {
    "0": "60,2 20,8 0,50 22,93 50,100 82,90 100,50 80,8 45,1",
    "0 slashed": "60,2 20,8 0,50 22,93 50,100 82,90 100,50 80,8 45,1",
    "0 dotted": "60,2 20,8 0,50 22,93 50,100 82,90 100,50 80,8 45,1",
    "1": "52,0 48,50 50,100",
    "1 with a flag": "52,0 48,50 50,100",
    "1 with a flag and a foot": "52,0 48,50 50,100",
    "2": "2,25 20,5 52,0 88,9 95,30 75,55 35,82 0,100! 50,99 100,98",
    "2 with a loop": "2,25 20,5 52,0 88,9 93,32 65,65 30,92 8,98 2,86 18,80 45,92 75,100 100,92",
    "3": "5,12 40,0 82,8 85,30 62,45 35,48! 75,54 98,74 80,95 42,100 0,88",
    "3 with a flat top": "5,2 50,0 90,0! 65,20 42,40! 75,43 98,68 85,92 45,100 0,88",
    "4 open": "15,0 8,30 0,60! 50,60 100,58 | 75,20 72,60 70,100",
    "4 open and round": "10,0 5,35 25,55 60,52 92,40 | 95,0 90,50 82,100",
    "4 closed": "72,0 35,32 0,66! 50,66 100,65 | 72,0 72,50 72,100",
    "5": "22,0 18,22 14,45! 50,36 88,48 97,70 75,95 38,100 0,88 | 22,0 60,1 98,0",
    "5 in one stroke": "95,0 58,1 22,0! 18,22 14,45! 50,36 88,48 97,70 75,95 38,100 0,88",
    "6": "82,0 45,16 14,48 2,76 25,98 60,100 94,84 90,62 55,50 12,68",
    "6 upright": "25,0 8,40 3,75 30,100 75,98 97,76 75,56 40,57 8,74",
    "7": "0,2 50,1 100,0! 62,45 40,100",
    "7 crossed": "0,2 50,1 100,0! 62,45 40,100 | 20,53 55,51 90,48",
    "7 with a serif": "2,18 1,2! 50,2 100,0! 62,45 40,100",
    "7 with a serif, crossed": "2,18 1,2! 50,2 100,0! 62,45 40,100 | 20,53 55,51 90,48",
    "8": "86,14 52,0 14,12 20,34 55,48 90,68 78,95 45,100 8,88 12,64 48,47 80,32 88,10",
    "8 of two rings": "55,46 18,34 20,8 52,0 82,10 82,34 52,46"
    " | 50,46 10,58 2,80 28,99 70,100 98,82 92,58 48,46",
    "9": "90,12 55,0 12,10 4,34 28,52 66,46 92,14! 90,55 84,100",
    "9 with a curled foot": "90,16 55,0 12,10 4,34 28,52 66,46 92,14!"
    " 96,50 88,82 60,100 25,97 4,82",
}
STYLES = tuple(SKELETONS)


@dataclass(frozen=True)
class Hand:
    """How one person writes. Lengths are in heights of a digit, angles in radians.

    Attributes:
        width: of a digit.
        slant: how far its top lies to the right of its foot.
        turn: angle by which it is turned clockwise.
        pen: width of a stroke.
        nib: 0 for a round pen; towards 1 for one that is thin along ``nib_angle``.
        nib_angle: direction of its thin strokes.
        pressure: share by which a stroke's width comes and goes.
        wobble: standard deviation of the points of a skeleton.
        bend: amplitude of the waves that whole digits are bent by.
        tremor: standard deviation of the pen's shaking.
        roundness: 0 for straight lines from point to point, 1 for smooth curves.
        flag: length of a 1's flag, where it has one.
        droop: how far the flag points below the level.
    """

    width: float
    slant: float
    turn: float
    pen: float
    nib: float
    nib_angle: float
    pressure: float
    wobble: float
    bend: float
    tremor: float
    roundness: float
    flag: float
    droop: float

    @classmethod
    def draw(cls, rng: np.random.Generator, test: bool = False) -> Self:
        """Draw handwriting from the ranges for training or for testing."""
        ranges = TEST_RANGES if test else TRAINING_RANGES
        return cls(**{name: float(rng.uniform(*limits)) for name, limits in ranges.items()})


TRAINING_RANGES = {
    "width": (0.45, 0.85),
    "slant": (-0.12, 0.4),
    "turn": (-0.12, 0.12),
    "pen": (0.05, 0.22),
    "nib": (0.0, 0.35),
    "nib_angle": (0.0, math.pi),
    "pressure": (0.0, 0.2),
    "wobble": (0.0, 0.03),
    "bend": (0.0, 0.04),
    "tremor": (0.0, 0.006),
    "roundness": (0.7, 1.0),
    "flag": (0.12, 0.52),
    "droop": (math.radians(25), math.radians(75)),
}
TEST_RANGES = {
    "width": (0.4, 0.95),
    "slant": (-0.2, 0.45),
    "turn": (-0.14, 0.14),
    "pen": (0.04, 0.16),
    "nib": (0.2, 0.55),
    "nib_angle": (0.0, math.pi),
    "pressure": (0.1, 0.35),
    "wobble": (0.01, 0.035),
    "bend": (0.015, 0.045),
    "tremor": (0.002, 0.009),
    "roundness": (0.6, 1.0),
    "flag": (0.15, 0.5),
    "droop": (math.radians(30), math.radians(70)),
}


def draw(
    count: int, seed: int, styles: Sequence[str] = STYLES, test: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw digits, each in different handwriting, and prepare them (see ``prepared``).

    Args:
        count: how many; the styles take turns.
        seed: not negative. The first pictures are the same for any count.
        styles: some of ``STYLES``.
        test: use the handwriting for testing, which training never sees, whatever its seed.

    Returns:
        images: uint8, shape (count, 28, 28).
        labels: int64, shape (count,).
    """
    images = np.zeros((count, 28, 28), np.uint8)
    labels = np.zeros(count, np.int64)
    for i in range(count):
        rng = np.random.default_rng([seed, i, int(test)])
        style, hand = styles[i % len(styles)], Hand.draw(rng, test)
        if style[0] == "1" and not test and rng.random() < 0.5:
            hand = replace(hand, pen=hand.pen * rng.uniform(1, MARKER))
        images[i] = prepared(picture(style, hand, rng), rng, test)
        labels[i] = int(style[0])
    return torch.from_numpy(images), torch.from_numpy(labels)


def picture(style: str, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw one digit: dark ink on white, uint8 (SIZE, SIZE)."""
    strokes = skeleton(SKELETONS[style], hand.width)
    if "flag" in style:
        strokes[0] = _with_flag(strokes[0], hand, rng)
    if "foot" in style and style[0] == "1":
        (x, y), (left, right) = strokes[0][-1], rng.uniform(0.12, 0.35, 2)
        strokes.append(np.array([(x - left, y), (x, y), (x + right, y)]))
    if "slashed" in style:
        strokes.append(_slash(hand, rng))
    if "dotted" in style:
        x, reach = hand.width / 2, rng.uniform(0.03, 0.07)
        strokes.append(np.array([(x, 0.5 - reach), (x, 0.5 + reach)]))
    return ink(strokes, hand, rng)


def prepared(picture: np.ndarray, rng: np.random.Generator, test: bool) -> np.ndarray:
    """Prepare a drawing without tidying it; a third of those for training have a low resolution.

    Args:
        picture: uint8 (height, width), dark on light.
        rng: decides on the resolution; not used for testing.
        test: keep the resolution, whatever ``rng``.

    Returns:
        uint8, (28, 28).
    """
    if not test and rng.random() < COARSE_SHARE:
        extent = max(int((picture < 128).any(axis).sum()) for axis in (0, 1)) or SIZE
        factor = min(1, math.exp(rng.uniform(*np.log(COARSE))) / extent)
        height, width = (max(1, round(factor * side)) for side in picture.shape)
        coarse = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
        picture = np.asarray(coarse)
    return prepare_untidied(picture)


def written(
    skeletons: Sequence[str],
    rng: np.random.Generator,
    test: bool,
    widths: tuple[float, float] = (0.5, 1.0),
    pens: tuple[float, float] = (0.05, 0.13),
) -> np.ndarray:
    """Draw one of several skeletons, with proportions and a pen from these ranges.

    Pens for training are up to 1.6 times as thick.
    """
    hand = Hand.draw(rng, test)
    pen = float(rng.uniform(*pens)) * (1 if test else float(rng.uniform(1, 1.6)))
    hand = replace(hand, pen=pen)
    lines = skeleton(skeletons[rng.integers(len(skeletons))], rng.uniform(*widths))
    return ink(lines, hand, rng)


def skeleton(text: str, width: float) -> list[np.ndarray]:
    """Read a skeleton: a list of strokes, each (N, 2), in heights; a corner is a point twice."""
    strokes = []
    for part in text.split("|"):
        points = []
        for word in part.split():
            x, y = (float(number) / 100 for number in word.rstrip("!").split(","))
            points += [(x * width, y)] * (2 if word.endswith("!") else 1)
        strokes.append(np.array(points))
    return strokes


def ink(strokes: list[np.ndarray], hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw strokes (N, 2), in heights, as ``hand`` would: dark ink on white, uint8 (SIZE, SIZE)."""
    strokes = [_moved(stroke, hand, rng) for stroke in strokes]
    waves = rng.uniform(0.5, 1.2, 2), rng.uniform(0, 2 * math.pi, 2)
    curves = [_distorted(_curve(stroke, hand), hand, waves, rng) for stroke in strokes]
    everything = np.concatenate(curves)
    low, high = everything.min(0), everything.max(0)
    scale = HEIGHT * rng.uniform(0.85, 1.1) / max((high - low).max(), 0.25)
    canvas = Image.new("L", (SIZE, SIZE), 255)
    pen = ImageDraw.Draw(canvas)
    for curve in curves:
        radii = _radii(curve, hand, rng) * scale
        places = (curve - (low + high) / 2) * scale + SIZE / 2
        for (x, y), radius in zip(places.tolist(), radii.tolist(), strict=True):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), 0)
    return np.asarray(canvas)


def _with_flag(stem: np.ndarray, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Start a 1 at the lower end of its flag."""
    # At least 20 degrees from the stem. The slant will move the flag's end, so it is undone here.
    angle = max(math.pi / 2 - hand.droop, math.atan(hand.slant) + math.radians(20))
    x, y = -hand.flag * math.sin(angle), hand.flag * math.cos(angle)
    end = stem[0] + (x + hand.slant * y, y)
    sag = rng.normal(0, 0.04 * hand.flag, 2)  # flags are seldom quite straight
    return np.array([end, (end + stem[0]) / 2 + sag, stem[0], *stem])


def _slash(hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """A line through a 0, from the upper right to the lower left, rarely the other way."""
    reach = rng.uniform(0.7, 1.5) / 2  # of the digit: some end inside it, most beyond
    side = 1 if rng.random() < 0.95 else -1
    across, up = rng.uniform(0.5, 0.95), rng.uniform(0.8, 1)
    way = reach * np.array([side * across * max(hand.width, 0.5), -up])
    middle = np.array([hand.width / 2, 0.5])
    return np.array([middle + way, middle - way])


def _moved(stroke: np.ndarray, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Move its points at random, the two of a corner together."""
    moves = rng.normal(0, hand.wobble, stroke.shape)
    same = np.flatnonzero((np.diff(stroke, axis=0) == 0).all(1))
    moves[same + 1] = moves[same]
    return stroke + moves


def _curve(stroke: np.ndarray, hand: Hand) -> np.ndarray:
    """Dense points of the curve through a stroke's points."""
    corners = np.flatnonzero((np.diff(stroke, axis=0) == 0).all(1)) + 1
    pieces = []
    for points in np.split(stroke, corners):
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        lengths = np.concatenate([[0], steps.cumsum()])
        places = np.linspace(0, lengths[-1], max(2, round(lengths[-1] * HEIGHT)))
        smooth = make_interp_spline(lengths, points, k=min(3, len(points) - 1))(places)
        straight = make_interp_spline(lengths, points, k=1)(places)
        pieces.append(hand.roundness * smooth + (1 - hand.roundness) * straight)
    return np.concatenate(pieces)


def _distorted(
    curve: np.ndarray,
    hand: Hand,
    waves: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Bend, shake, slant and turn a curve."""
    frequencies, phases = waves
    bent = curve + hand.bend * np.sin(2 * math.pi * frequencies * curve[:, ::-1] + phases)
    shaking = ndimage.gaussian_filter1d(rng.normal(size=curve.shape), 3, axis=0) * 3.3
    x, y = (bent + hand.tremor * shaking).T
    x = x - hand.slant * y
    cosine, sine = math.cos(hand.turn), math.sin(hand.turn)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)


def _radii(curve: np.ndarray, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Half the width of the line at each point of a curve, in heights."""
    way = np.gradient(curve, axis=0)
    across = np.sin(np.arctan2(way[:, 1], way[:, 0]) - hand.nib_angle)
    phase, times = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.5)
    pressure = np.sin(phase + np.linspace(0, 2 * math.pi * times, len(curve)))
    width = hand.pen * (1 - hand.nib * (1 - np.abs(across))) * (1 + hand.pressure * pressure)
    return width / 2
