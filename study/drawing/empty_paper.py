"""Non-digits to train on that nobody wrote: textures, creases, shadows, empty paper.

Each function takes a random generator, and returns a uint8 picture at most ``SIZE`` high and wide.
"""

import math

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from .strokes import SIZE


def noise(rng: np.random.Generator) -> np.ndarray:
    """Show clouds, coarse or fine."""
    return _levels(ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), rng.uniform(0, 10)))


def texture(rng: np.random.Generator) -> np.ndarray:
    """Show wood, cloth, or crumpled paper."""
    grain = rng.normal(size=(SIZE, SIZE))
    kind = rng.integers(3)
    if kind == 0:
        surface = ndimage.gaussian_filter(grain, (rng.uniform(0.5, 3), rng.uniform(12, 30)))
        surface = np.sin(surface / surface.std() * rng.uniform(0.5, 3))
    elif kind == 1:
        y, x = np.indices(grain.shape)
        surface = np.sin(x * rng.uniform(0.15, 0.9)) + np.sin(y * rng.uniform(0.15, 0.9))
        surface += 0.4 * ndimage.gaussian_filter(grain, 1)
    else:
        smooth = ndimage.gaussian_filter(grain, rng.uniform(4, 10))
        surface = -np.hypot(*np.gradient(np.abs(smooth)))
    return _turned(_levels(surface), rng, 20)


def fold(rng: np.random.Generator) -> np.ndarray:
    """Show empty paper that was folded: dark creases across it, its parts unequally bright."""
    paper = _empty_paper(rng)
    y, x = (2 * axis / SIZE - 1 for axis in np.indices(paper.shape))
    for _ in range(rng.integers(1, 4)):
        angle, place = rng.uniform(-0.4, 0.4), rng.uniform(-0.5, 0.5)
        side = y * math.cos(angle) + x * math.sin(angle) - place
        paper = paper - rng.uniform(10, 40) * (side > 0)
        paper = paper - rng.uniform(20, 90) * np.exp(-((side / rng.uniform(0.01, 0.04)) ** 2))
        if rng.random() < 0.3:
            paper = paper.T  # so that the creases cross
    return _turned(paper.clip(0, 255).astype(np.uint8), rng, 10)


def shadow(rng: np.random.Generator) -> np.ndarray:
    """Show empty paper in the shadow of a hand or an arm, sharp or soft."""
    angles = np.arange(0, 2 * math.pi, 0.5)
    radii = rng.uniform(0.2, 0.9) * rng.uniform(0.5, 1.5, len(angles))
    outline = (
        rng.uniform(0.1, 0.9, 2) + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
    )
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).polygon([tuple(point * SIZE) for point in outline], 255)
    shade = ndimage.gaussian_filter(np.asarray(mask) / 255, rng.uniform(0.5, 6))
    paper = _empty_paper(rng) * (1 - rng.uniform(0.15, 0.6) * shade)
    return paper.clip(0, 255).astype(np.uint8)


def table_edge(rng: np.random.Generator) -> np.ndarray:
    """Show a sheet that ends in the picture, on a darker or a lighter table."""
    paper = _empty_paper(rng)
    y, x = np.indices(paper.shape) / SIZE
    top, right = rng.uniform(0.05, 0.6), rng.uniform(0.4, 1.3)
    outside = (y < top + rng.uniform(-0.2, 0.2) * x) | (x > right + rng.uniform(-0.2, 0.2) * y)
    table = rng.uniform(30, 220) + 8 * ndimage.gaussian_filter(rng.normal(size=x.shape), (1, 6))
    picture = np.where(outside, table, paper)
    edge = ndimage.gaussian_gradient_magnitude(outside.astype(float), rng.uniform(1, 2.5))
    picture = picture - rng.uniform(0, 160) * edge / edge.max()
    # Before the turn, the visible corner is the sheet's upper right one, and its edges make a 7.
    return np.rot90(picture.clip(0, 255).astype(np.uint8), rng.integers(1, 4))


def ruled_paper(rng: np.random.Generator) -> np.ndarray:
    """Show empty ruled or squared paper."""
    paper = _empty_paper(rng)
    gap, width = rng.integers(14, 45), rng.integers(1, 4)
    ink, start = rng.uniform(30, 170), rng.integers(0, 14)
    ruled = np.arange(SIZE) % gap < width
    lines = np.zeros((SIZE, SIZE), bool)
    lines[np.roll(ruled, start)] = True
    if rng.random() < 0.5:
        lines[:, ruled] = True
    paper = paper - ink * ndimage.gaussian_filter(lines.astype(float), 0.5)
    return _turned(paper.clip(0, 255).astype(np.uint8), rng, 8)


def _turned(picture: np.ndarray, rng: np.random.Generator, most: float) -> np.ndarray:
    """Turn by at most ``most`` degrees, and cut the corners off."""
    turned = Image.fromarray(picture).rotate(rng.uniform(-most, most), Image.Resampling.BILINEAR)
    margin = SIZE // 8
    return np.asarray(turned)[margin:-margin, margin:-margin]


def _levels(surface: np.ndarray) -> np.ndarray:
    low, high = surface.min(), surface.max()
    return (255 * (surface - low) / (high - low)).astype(np.uint8)


def _empty_paper(rng: np.random.Generator) -> np.ndarray:
    """Paper with a little grain, brighter at one side: float (SIZE, SIZE)."""
    y, x = np.indices((SIZE, SIZE)) / SIZE
    light = rng.uniform(-40, 40) * x + rng.uniform(-40, 40) * y
    return rng.uniform(180, 230) + light + rng.normal(0, rng.uniform(0.5, 4), x.shape)
