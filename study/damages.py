"""Damage to choose networks on, of other kinds than the fifteen in ``corruptions``.

These are things that may happen to a sheet that somebody wrote on: the ink is smudged or wetted,
the back shows through, the paper is crumpled or torn, the pen runs dry. Each function takes one
image, float (28, 28) in [0, 1], and a random generator, and returns an image;
``corruptions.damaged`` applies it to many.
"""

import math

import numpy as np
from scipy import ndimage

SIZE = 28  # pixels per side
MIDDLE = (SIZE - 1) / 2
PLACES = np.indices((SIZE, SIZE)) - MIDDLE  # row and column of each pixel, from the middle


def smudged(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wipe fresh ink: paler streaks lie beside the strokes, to one side."""
    side = rng.choice([-1, 1])
    trail = image[:, ::side].copy()
    for column in range(1, SIZE):
        trail[:, column] = np.maximum(trail[:, column], 0.9 * trail[:, column - 1])
    pressure = rng.uniform(0.5, 0.9) * _ranks(rng.normal(size=(SIZE, 1)), 1)
    return np.maximum(image, pressure * trail[:, ::side])


def wetted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let a drop fall on the ink, which runs within it and gathers at its rim."""
    centre = rng.choice(np.argwhere(image > 0.5)) if (image > 0.5).any() else (14, 14)
    radius = rng.uniform(4, 8)
    away = np.hypot(*(PLACES + MIDDLE - np.reshape(centre, (2, 1, 1))))
    away = away + ndimage.gaussian_filter(rng.normal(0, 4, image.shape), 2)  # drops are not round
    inside = np.clip(radius - away + 0.5, 0, 1)
    run = ndimage.gaussian_filter(image, 2)
    rim = 0.8 * np.exp(-((away - radius) ** 2)) * ndimage.gaussian_filter(image, 4)
    return image * (1 - inside) + run * inside + rim


def bled_through(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let the same digit show through from the back: mirrored, moved, blurred and pale."""
    moved = (rng.choice([-1, 1]) * rng.uniform(2, 5), rng.choice([-1, 1]) * rng.uniform(6, 10))
    back = ndimage.gaussian_filter(ndimage.shift(image[:, ::-1], moved, order=1), 0.8)
    return np.maximum(image, rng.uniform(0.4, 0.7) * back)


def crumpled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crease the paper into facets, each moved a little and in a shade of its own."""
    place, shade = PLACES.copy(), np.zeros_like(image)
    for _ in range(5):
        side, normal = _sides(rng)
        place = place + rng.uniform(-0.9, 0.9) * np.sign(side) * normal
        shade += rng.uniform(-1, 1) * np.sign(side)
    shade = 0.3 * (shade - shade.min()) / max(np.ptp(shade), 1)
    paper = ndimage.gaussian_filter(shade, 0.5)
    return np.maximum(_at(image, place), paper)


def torn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tear the paper in two; the halves lie a little apart and out of line."""
    side, normal = _sides(rng)
    ragged = side + ndimage.gaussian_filter(rng.normal(0, 6, image.shape), 1.5)
    along = np.stack([-normal[1], normal[0]])
    moved = 0.75 * normal + rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) * along
    halves = (np.where(sign * ragged > 0, image, 0) for sign in (-1, 1))
    return sum(_at(half, PLACES - sign * moved) for sign, half in zip((-1, 1), halves, strict=True))


def running_dry(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let the pen run dry: the further it goes in some direction, the more streaks are missing."""
    way, _ = _sides(rng)
    ink = image >= 0.1
    # From 0 where the ink begins to 1 where it ends; the paper counts as lying beyond.
    dryness = (_ranks(way + 100 * ~ink) * image.size / max(ink.sum(), 1)).clip(0, 1)
    fibres = _ranks(rng.normal(size=image.shape), (0.3, 2.0))
    return image * np.where(fibres < 0.75 * dryness, 0.15, 1)


DAMAGES = {
    function.__name__: function
    for function in (smudged, wetted, bled_through, crumpled, torn, running_dry)
}


def _sides(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's signed distance from a random line near the middle, and its normal."""
    angle = rng.uniform(0, 2 * math.pi)
    normal = np.array([math.sin(angle), math.cos(angle)])[:, None, None]
    return (normal * PLACES).sum(0) + rng.uniform(-7, 7), normal


def _ranks(noise: np.ndarray, sigma: float | tuple[float, ...] = 0) -> np.ndarray:
    """Smooth, then replace each value by the share of the values that are smaller."""
    smooth = ndimage.gaussian_filter(noise, sigma)
    return (smooth.ravel().argsort().argsort() / smooth.size).reshape(noise.shape)


def _at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Sample the image at places (2, 28, 28) measured from the middle; outside it is 0."""
    return ndimage.map_coordinates(image, places + MIDDLE, order=1)
