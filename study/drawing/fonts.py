"""Printed digits to train on and to test networks with, in fonts that pip installs.

They look the same on every machine. The fonts in ``TEST_FONTS`` are never trained on.
"""

import importlib.resources
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .strokes import SIZE, prepared

DIGITS = "0123456789"

# Packages that pip installs, and font files in them.
TRAINING_FONTS = (
    *(
        ("matplotlib", f"{name}.ttf")
        for name in (
            *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono"),
            *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
            *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmti10", "cmtt10"),
        )
    ),
    *(
        ("fontpkg_caveat", "Caveat[wght].ttf"),
        ("fontpkg_comfortaa", "Comfortaa[wght].ttf"),
        ("fontpkg_dancing_script", "DancingScript[wght].ttf"),
        ("fontpkg_delius", "Delius-Regular.ttf"),
        ("fontpkg_indie_flower", "IndieFlower-Regular.ttf"),
        ("fontpkg_kalam", "Kalam-Regular.ttf"),
        ("fontpkg_pacifico", "Pacifico-Regular.ttf"),
        ("fontpkg_permanent_marker", "PermanentMarker-Regular.ttf"),
        ("fontpkg_satisfy", "Satisfy-Regular.ttf"),
        ("fontpkg_yellowtail", "Yellowtail-Regular.ttf"),
    )
    * 2,  # handwriting and the like, drawn twice as often as each of the others
)
TEST_FONTS = (
    ("matplotlib", "cmss10.ttf"),
    ("font_amatic_sc", "AmaticSC-Bold.ttf"),
    ("font_amatic_sc", "AmaticSC-Regular.ttf"),
    ("font_caladea", "Caladea-Bold.ttf"),
    ("font_caladea", "Caladea-Italic.ttf"),
    ("font_caladea", "Caladea-Regular.ttf"),
    ("font_intuitive", "Intuitive.ttf"),
    ("fontpkg_shadows_into_light", "ShadowsIntoLight.ttf"),
    ("fontpkg_zeyada", "Zeyada.ttf"),
)


def draw(count: int, seed: int, test: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Print digits, each in a random font and slightly turned, and prepare them (see ``prepared``).

    Args:
        count: how many; the ten digits take turns.
        seed: not negative. The first pictures are the same for any count.
        test: use fonts that training never sees.

    Returns:
        images: uint8, shape (count, 28, 28).
        labels: int64, shape (count,).
    """
    images = np.zeros((count, 28, 28), np.uint8)
    labels = np.arange(count) % len(DIGITS)
    for i, label in enumerate(labels):
        rng = np.random.default_rng([seed, i, int(test)])
        printed = picture(DIGITS[label], any_font(rng, test), rng)
        images[i] = prepared(printed, rng, test)
    return torch.from_numpy(images), torch.from_numpy(labels)


def any_font(rng: np.random.Generator, test: bool = False) -> tuple[str, str]:
    """Choose a font for training or for testing: a package, and one of its files."""
    fonts = TEST_FONTS if test else TRAINING_FONTS
    return fonts[rng.integers(len(fonts))]


def picture(
    characters: Sequence[str], font: tuple[str, str], rng: np.random.Generator
) -> np.ndarray:
    """Print one of several characters: black on white, uint8 (SIZE, SIZE) or up to 1.4 as wide."""
    sheet = Image.new("L", (SIZE, SIZE), 255)
    loaded = _load(*font, int(rng.choice([64, 80, 96])))
    character = characters[rng.integers(len(characters))]
    ImageDraw.Draw(sheet).text((SIZE / 2, SIZE / 2), character, 0, loaded, anchor="mm")
    turn, stretch = rng.uniform(-15, 15), rng.uniform(0.9, 1.4)
    turned = sheet.rotate(turn, Image.Resampling.BILINEAR, fillcolor=255)
    return np.asarray(turned.resize((round(SIZE * stretch), SIZE), Image.Resampling.BILINEAR))


def path(package: str, file: str) -> Path:
    """Return the path of a font in a package."""
    if package == "matplotlib":
        return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file
    return Path(str(importlib.resources.files(package))) / "files" / file


@lru_cache(maxsize=256)
def _load(package: str, file: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is the same whether or not Pillow was built with Raqm.
    font = str(path(package, file))
    return ImageFont.truetype(font, size, layout_engine=ImageFont.Layout.BASIC)
