"""What paper, light and camera do to a sheet: from ink to grey levels.

Lengths are in units of the sheet, so that a page looks alike at every size.
"""

import io
import math
from string import ascii_letters, digits

import numpy as np
from PIL import Image
from scipy import ndimage

from .empty_paper import texture
from .page_marks import write_words
from .sheet import UNITS, Sheet, log_uniform

FAINTEST = 0.1  # of the paper's light: contrast of ink that can barely be seen
LEAST = 15  # grey levels: the same before light and shadows


def photographed(rng: np.random.Generator, sheet: Sheet, test: bool, kind: str) -> np.ndarray:
    """Return the grey levels of a sheet, uint8 (height, width).

    Args:
        test: use the fonts for testing in words.
        kind: of ``pages.KINDS``; a "canvas" is mostly plain and clean.
    """
    canvas = kind == "canvas"
    plain = canvas and rng.random() < 0.8
    base = rng.uniform(240, 255) if canvas else rng.uniform(100, 255)
    contrast = rng.uniform(0.4, 1) if rng.random() < 0.8 else log_uniform(rng, FAINTEST, 0.4)
    contrast = rng.uniform(0.5, 1) if canvas else max(contrast, LEAST / base)
    light = _inked(rng, sheet, contrast)
    if not plain:
        light = _on_paper(rng, sheet, light, test, contrast)
    level = base * light
    if not plain:
        level = level * _lit(rng, sheet)
        if rng.random() < 0.22:
            level = _on_table(rng, sheet, level)
        if rng.random() < 0.06:
            level = _with_border(rng, sheet, level)
    if canvas and rng.random() < 0.2:
        level = _in_a_window(rng, sheet, level, test)
    level = _taken(rng, sheet, level, plain, 0.25 * contrast * base)
    if rng.random() < 0.2:  # light ink on dark paper
        level = 255 - level
    picture = Image.fromarray(level.clip(0, 255).round().astype(np.uint8))
    if rng.random() < (0.15 if plain else 0.5):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(20, 95)))
        picture = Image.open(file)
    return np.asarray(picture)


def _inked(rng: np.random.Generator, sheet: Sheet, contrast: float) -> np.ndarray:
    """The share of light that ink leaves; the pen may be uneven, and other ink darker or paler."""
    ink = sheet.ink
    if rng.random() < 0.3:
        grain = _noise(rng, sheet, int(rng.integers(20, 200))) * 0.5 + 0.5
        ink = ink * (1 - rng.uniform(0.1, 0.5) * grain.clip(0, 1))
    other = min(1.0, contrast * (rng.uniform(0.5, 1.2) if rng.random() < 0.45 else 1))
    return (1 - contrast * ink) * (1 - other * sheet.other)


def _on_paper(
    rng: np.random.Generator, sheet: Sheet, light: np.ndarray, test: bool, contrast: float
) -> np.ndarray:
    """Print words and lines on the paper, let the other side show through, and add specks."""
    if rng.random() < 0.3:
        words = np.zeros_like(sheet.ink)
        write_words(rng, sheet, words, test, True, int(rng.integers(1, 9)), (6, 30))
        light = light * (1 - rng.uniform(0.3, 1) * words)
    if rng.random() < 0.33:
        light = light * (1 - _rules(rng, sheet, 1.2 * contrast))
    if rng.random() < 0.08:
        words, behind = np.zeros_like(sheet.ink), Sheet.empty(sheet.ink.shape)
        among = digits if rng.random() < 0.5 else ascii_letters
        write_words(rng, behind, words, test, rng.random() < 0.5, 6, (8, 60), among)
        strength = min(rng.uniform(0.03, 0.15), contrast / 2)
        light = light * (1 - strength * ndimage.gaussian_filter(words[:, ::-1], 1))
    if rng.random() < 0.05:
        pattern = texture(rng)[:UNITS, :UNITS].astype(np.float32)
        pattern = Image.fromarray(pattern).resize(light.shape[::-1], Image.Resampling.BICUBIC)
        light = light * (1 - min(rng.uniform(0.03, 0.3), contrast) * np.asarray(pattern) / 255)
    if rng.random() < 0.15:
        rows, columns = light.shape
        for _ in range(rng.integers(1, 12)):
            x, y, radius = rng.uniform(0, columns), rng.uniform(0, rows), rng.uniform(0.4, 2.2)
            radius *= sheet.unit
            part = light[
                max(0, int(y - radius - 1)) : int(y + radius + 2),
                max(0, int(x - radius - 1)) : int(x + radius + 2),
            ]
            part *= 1 - rng.uniform(0.2, 0.9)
    return light


def _rules(rng: np.random.Generator, sheet: Sheet, most: float) -> np.ndarray:
    """Draw ruled or squared paper, a table, or a margin: the share of light that it takes."""
    gap, width = log_uniform(rng, 6, 70) * sheet.unit, rng.uniform(0.5, 2.2) * sheet.unit
    turn = math.radians(rng.normal(0, 3) if rng.random() < 0.85 else rng.uniform(-45, 45))
    turn += math.pi / 2 * (rng.random() < 0.75)
    strength = rng.uniform(0.05, 0.35) if rng.random() < 0.75 else rng.uniform(0.35, 1)
    rows, columns = sheet.ink.shape
    taken = np.zeros_like(sheet.ink)
    for number in range(1 + (rng.random() < 0.4)):
        angle = turn + number * math.pi / 2
        away = sheet.distance(angle, rng.uniform(0, columns), rng.uniform(0, rows))
        away = np.abs((away + gap / 2) % gap - gap / 2)
        taken = np.maximum(taken, (width / 2 - away + 0.5).clip(0, min(1, width)))
    if rng.random() < 0.3:
        away = sheet.distance(turn + math.pi / 2, rng.uniform(0, columns), rng.uniform(0, rows))
        taken = np.maximum(taken, (width / 2 - np.abs(away) + 0.5).clip(0, min(1, width)))
    return min(strength, most) * taken


def _lit(rng: np.random.Generator, sheet: Sheet) -> np.ndarray:
    """Uneven light: slopes, dark corners, clouds, shadows and folds."""
    rows, columns = sheet.ink.shape
    light, size = np.ones_like(sheet.ink), max(rows, columns)

    def anywhere(low: float, high: float) -> tuple[float, float]:
        return rng.uniform(low, high) * columns, rng.uniform(low, high) * rows

    if rng.random() < 0.6:
        away = sheet.distance(rng.uniform(0, 6.3), columns / 2, rows / 2)
        light *= 1 - rng.uniform(0, 0.5) * (away / (1.4 * size) + 0.5).clip(0, 1)
    if rng.random() < 0.25:
        x, y = anywhere(0.3, 0.7)
        away = np.hypot(sheet.distance(0, x, y), sheet.distance(math.pi / 2, x, y))
        reach = rng.uniform(0.5, 0.9) * size
        light *= 1 - rng.uniform(0.2, 0.85) * ((away / reach) ** 2).clip(0, 1)
    for chance, strength, fineness in ((0.4, (0.02, 0.12), (3, 9)), (0.12, (0.01, 0.06), (10, 60))):
        if rng.random() < chance:
            light *= 1 + rng.uniform(*strength) * _noise(rng, sheet, int(rng.integers(*fineness)))
    for _ in range(1 if rng.random() < 0.25 else 0):
        away = sheet.distance(rng.uniform(0, 6.3), *anywhere(0.2, 0.8))
        waves = np.sin(np.arange(rows) / (rng.uniform(15, 60) * sheet.unit))[:, None]
        away = away + rng.uniform(0, 14) * sheet.unit * waves
        softness = log_uniform(rng, 1, 40) * sheet.unit
        light *= 1 - rng.uniform(0.15, 0.6) * (away / softness + 0.5).clip(0, 1)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.78, 0.16, 0.06]))):
        angle = rng.integers(2) * math.pi / 2 + rng.normal(0, 0.08)
        away = sheet.distance(angle, *anywhere(0.2, 0.8)) / sheet.unit
        crease = np.exp(-((away / rng.uniform(0.7, 3)) ** 2))
        light *= 1 - rng.uniform(0, 0.15) * (away > 0) - rng.uniform(0.05, 0.4) * crease
    return light


def _on_table(rng: np.random.Generator, sheet: Sheet, level: np.ndarray) -> np.ndarray:
    """Let the sheet end at some sides, and show a table there; its digits stay on the sheet."""
    rows, columns = level.shape
    size, beyond = np.array([columns, rows]), np.full_like(level, -np.inf)
    boxes = sheet.boxes()
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:], boxes[:, [0, 3]], boxes[:, [2, 1]]])
    corners = corners if len(corners) else size[None] / 2
    turn = rng.normal(0, 4)
    for side in rng.permutation(4)[: rng.choice([1, 1, 2, 3, 4])]:
        angle = math.radians(side * 90 + turn + rng.normal(0, 1.5))
        way = np.array([math.cos(angle), math.sin(angle)])
        far = (size / 2) @ np.abs(way) + (size / 2) @ way
        reach = (corners @ way).max() + 0.08 * sheet.height
        edge = max(reach, far - rng.uniform(0.02, 0.3) * max(size))
        beyond = np.maximum(beyond, sheet.distance(angle, *(edge * way)))
    outside = (beyond / (rng.uniform(0.7, 2.5) * sheet.unit) + 0.5).clip(0, 1)
    grain = rng.standard_normal(level.shape, np.float32)
    grain = ndimage.gaussian_filter(grain, (0.6, 8) if rng.random() < 0.5 else (8, 0.6))
    table = rng.uniform(15, 150) if rng.random() < 0.8 else rng.uniform(180, 255)
    table = table + rng.uniform(0, 12) * grain / (grain.std() + 1e-6)
    rim = np.exp(-((beyond / (rng.uniform(0.7, 3) * sheet.unit)) ** 2))
    shade = (rng.uniform(-60, 90) * rim).clip(0)
    return level * (1 - outside) + table * outside - shade


def _with_border(rng: np.random.Generator, sheet: Sheet, level: np.ndarray) -> np.ndarray:
    """Show a strip of another level along one edge of the picture."""
    width, turn = rng.uniform(1, 8) * sheet.unit, int(rng.integers(4))
    level = np.rot90(level, turn).copy()
    level[: round(width)] = rng.uniform(0, 255)
    return np.rot90(level, -turn)


def _in_a_window(
    rng: np.random.Generator, sheet: Sheet, level: np.ndarray, test: bool
) -> np.ndarray:
    """Show the edges of a drawing program's window, and buttons with words on one of them."""
    turn = int(rng.integers(2)) * 2
    level = np.rot90(level, turn).copy()
    taken = np.rot90(sheet.taken, turn)
    bar = min(round(rng.uniform(8, 30) * sheet.unit), int(taken.any(1).argmax() or len(taken)))
    if bar < 6 * sheet.unit:
        return np.rot90(level, -turn)
    level[:bar] = rng.uniform(60, 250)
    size = max(4, round(rng.uniform(0.4, 0.7) * bar))
    words = Sheet.empty((bar, level.shape[1]))
    unit = words.unit
    write_words(rng, words, words.ink, test, True, int(rng.integers(1, 6)), (size / unit,) * 2)
    level[:bar] *= 1 - rng.uniform(0.4, 0.9) * np.rot90(words.ink, turn)
    for row in (0, bar - 1) if rng.random() < 0.6 else ():
        level[row] = rng.uniform(0, 160)
    return np.rot90(level, -turn)


def _taken(
    rng: np.random.Generator, sheet: Sheet, level: np.ndarray, plain: bool, most_noise: float
) -> np.ndarray:
    """Blur the page, add noise, and lower its resolution, as cameras, scanners and screens do."""
    if rng.random() < (0.3 if plain else 0.6):
        most = max(0.6, min(2.2, 0.035 * sheet.height / sheet.unit))
        level = ndimage.gaussian_filter(level, rng.uniform(0.3, most) * sheet.unit)
    if not plain:
        noise = rng.standard_normal(level.shape, np.float32)
        if rng.random() < 0.4:
            noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 1))
            noise /= noise.std()
        level = level + min(rng.uniform(0, 9), most_noise) * noise
    if rng.random() < 0.2:
        factor = min(log_uniform(rng, 1.5, 9) * sheet.unit, sheet.height / 7)
        small = [max(2, round(side / factor)) for side in level.shape[::-1]]
        smooth = Image.Resampling.BICUBIC if rng.random() < 0.75 else Image.Resampling.NEAREST
        coarse = Image.fromarray(level.astype(np.float32)).resize(small, Image.Resampling.BOX)
        level = np.asarray(coarse.resize(level.shape[::-1], smooth))
    if rng.random() < 0.05:  # black and white
        middle = (np.quantile(level, 0.02) + np.median(level)) / 2
        level = np.where(level > middle, 255, 0).astype(np.float32)
    return level


def _noise(rng: np.random.Generator, sheet: Sheet, fineness: int) -> np.ndarray:
    """Smooth noise of standard deviation about 1, ``fineness`` waves across the sheet."""
    coarse = Image.fromarray(rng.standard_normal((fineness, fineness), np.float32))
    return np.asarray(coarse.resize(sheet.ink.shape[::-1], Image.Resampling.BICUBIC))
