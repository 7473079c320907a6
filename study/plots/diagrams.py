"""Drawings of networks: what goes in, what is computed, and in what shape it comes out."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from study.plots import style

ARROW = {"arrowstyle": "-|>", "color": style.GREY, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
MAPS_SHOWN = 5  # of a stack of feature maps
FULL_SIDE = 28  # pixels of the side that is drawn one unit long


def row_reader(image: np.ndarray, rows: Sequence[int], state: str, title: str) -> plt.Figure:
    """Draw a recurrent network that reads an image (28, 28) row by row.

    Args:
        rows: the rows whose steps are drawn, counted from 1, in ascending order.
        state: what is passed on from step to step, such as "256 numbers".
    """
    figure, (ax,) = style.canvas(height=4, title=title)
    ax.imshow(image, cmap="gray_r", extent=(0, 2.6, 0, 2.6))
    ax.add_patch(plt.Rectangle((0, 0), 2.6, 2.6, fill=False, ec=style.GREY))
    ax.text(1.3, -0.15, f"an image of {len(image)} rows", ha="center", va="top")
    places = 4.2 + 1.75 * np.arange(len(rows))
    for place, row, before in zip(places, rows, (None, *rows), strict=False):
        look = {"cmap": "gray_r", "vmin": 0, "vmax": image.max(), "aspect": "auto"}
        ax.imshow(image[row - 1 : row], extent=(place - 0.65, place + 0.65, 0.25, 0.45), **look)
        edge = {"fill": False, "ec": style.BLUE, "lw": 1.5}
        ax.add_patch(plt.Rectangle((place - 0.65, 0.25), 1.3, 0.2, **edge))
        ax.text(place, -0.15, f"row {row}", ha="center", va="top", color=style.BLUE)
        ax.annotate("", (place, 1.2), (place, 0.5), arrowprops=ARROW)
        _box(ax, place, 1.6, "cell")
        if before:
            dots = "" if row == before + 1 else "..."
            ax.annotate("", (place - 0.5, 1.6), (place - 1.25, 1.6), arrowprops=ARROW)
            ax.text(place - 0.88, 1.7, dots, ha="center", weight="bold", fontsize=14)
    ax.text(places[:-1].mean() + 0.9, 2.2, f"state: {state}", ha="center", color=style.RED)
    ax.annotate("", (places[-1], 2.5), (places[-1], 2), arrowprops=ARROW)
    _box(ax, places[-1], 2.9, "linear\nlayer")
    ax.text(
        places[-1] - 0.6, 2.9, "the last state is classified: 10 logits", ha="right", va="center"
    )
    ax.set(xlim=(-0.1, places[-1] + 0.75), ylim=(-0.6, 3.4), aspect="equal")
    ax.axis("off")
    return style.trim(figure, [ax])


def tensor_shapes(steps: Sequence[tuple[str, tuple[int, ...]]], title: str) -> plt.Figure:
    """Draw what a network does with an image, step by step.

    Args:
        steps: what is done, and the shape that results: (maps, height, width) or (numbers,). The
            first is the image.
    """
    figure, (ax,) = style.canvas(height=3.6, title=title)
    caption = {"ha": "center", "va": "bottom", "fontsize": style.SMALL}
    right = 0.0  # end of the step before
    for place, (done, shape) in enumerate(steps):
        x = 1.9 * place
        half = _stack(ax, x, shape) if len(shape) == 3 else _bar(ax, x, shape[0])
        lengths = " x ".join(f"{length:,}" for length in shape)
        ax.text(x, -1, lengths, ha="center", va="top", weight="bold")
        if place:
            ax.annotate("", (x - half - 0.08, 0), (right + 0.08, 0), arrowprops=ARROW)
            text = style.wrapped(done, 1.3, style.SMALL)
            ax.text((x - half + right) / 2, 0.95, text, **caption)
        else:
            ax.text(x, 0, done, ha="center", va="center", fontsize=style.SMALL)
        right = x + half
    ax.set(xlim=(-0.8, right + 0.5), ylim=(-1.4, 1.9), aspect="equal")
    ax.axis("off")
    return style.trim(figure, [ax])


def _box(ax: plt.Axes, x: float, y: float, text: str) -> None:
    """Draw a box with a text, centred on a place."""
    box = plt.Rectangle((x - 0.5, y - 0.4), 1, 0.8, fc="#e8f1f8", ec=style.BLUE, lw=1.5)
    ax.add_patch(box)
    ax.text(x, y, text, ha="center", va="center")


def _stack(ax: plt.Axes, x: float, shape: tuple[int, int, int]) -> float:
    """Draw feature maps one behind the other around ``x``; return half their width together."""
    maps, height, width = min(shape[0], MAPS_SHOWN), shape[1] / FULL_SIDE, shape[2] / FULL_SIDE
    spread = 0.08 * (maps - 1)
    for index in reversed(range(maps)):
        corner = x - (width + spread) / 2 + 0.08 * index, -(height + spread) / 2 + 0.08 * index
        look = {"fc": "#e8f1f8", "ec": style.BLUE, "lw": 1.2}
        ax.add_patch(plt.Rectangle(corner, width, height, **look))
    return (width + spread) / 2


def _bar(ax: plt.Axes, x: float, numbers: int) -> float:
    """Draw a list of numbers as a bar, which grows with their logarithm; return half its width."""
    height = 0.25 + 0.5 * np.log10(numbers)
    ax.add_patch(plt.Rectangle((x - 0.06, -height / 2), 0.12, height, color=style.BLUE))
    return 0.06
