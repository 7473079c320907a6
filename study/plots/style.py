"""What all figures share: colours, the canvas, titles that wrap, legends, ticks, and saving."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import display, get_ipython
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from PIL import Image

# The colours of Okabe and Ito, which colour-blind readers can tell apart
# (https://jfly.uni-koeln.de/color/). Lines and points also differ in dashes or markers.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#606060", "#cc79a7", "#56b4e9")
BLUE, RED, GREY = COLOURS[0], COLOURS[3], COLOURS[4]
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))
LOOKS = [{"color": colour, "ls": line} for colour, line in zip(COLOURS, LINES, strict=True)]
MARKERS = "osD^vPX"
WIDTH = 9.0  # inches, of every figure
SMALL = 10  # points, of captions and of numbers within a figure


def canvas(
    panels: int = 1, columns: int | None = None, *, height: float, title: str = "", **options
) -> tuple[plt.Figure, list[plt.Axes]]:
    """Return a figure ``height`` inches tall and its panels, at most ``columns`` per row. A title
    wider than the figure continues on the next line. The options are those of ``subplots``.
    """
    columns = min(columns or panels, panels)
    rows = -(-panels // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **options)
    for ax in axes.flat[panels:]:
        ax.remove()
    figure.suptitle(title, wrap=True)
    return figure, list(axes.flat[:panels])


def trim(figure: plt.Figure, axes: list[plt.Axes]) -> plt.Figure:
    """Cut the blank above and below axes that keep their aspect ratio, and return the figure."""
    figure.draw_without_rendering()
    heights = [ax.get_tightbbox().height + 14 for ax in axes]
    heights += [bar.yaxis.label.get_window_extent().height + 14 for bar in figure.axes[len(axes) :]]
    title = sum(text.get_window_extent().height + 10 for text in figure.texts)
    figure.set_figheight((title + max(heights)) / figure.dpi)
    return figure


def wrapped(text: str, inches: float, size: float = 12) -> str:
    """Break a text in a font of ``size`` points into lines that fit a width."""
    letters = max(4, int(72 * inches / (0.6 * size)))  # a letter is about 0.6 em wide
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def legend_below(figure: plt.Figure, handles: Sequence | None = None) -> None:
    """Write the legend below all axes, each label once, in as many columns as fit."""
    handles = handles or [h for ax in figure.axes for h in ax.get_legend_handles_labels()[0]]
    once = {handle.get_label(): handle for handle in handles}
    columns = min(len(once), max(1, int(72 * WIDTH / (7 * max(map(len, once)) + 50))))
    figure.legend(handles=list(once.values()), loc="outside lower center", ncols=columns)


def plain_ticks(axis: Axis, fmt="{x:g}", subs: Sequence[int] = (1, 2, 5)) -> None:
    """Label a logarithmic axis with plain numbers: 0.01, 0.02, 0.05, 0.1, ..., or with evenly
    spaced ones if its ends are close.
    """
    low, high = axis.get_view_interval()
    evenly = MaxNLocator(6, steps=[1, 2, 5, 10])
    axis.set_major_locator(evenly if high < 6 * low else LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(fmt)


def name_ends(ax: plt.Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """Write the name of each line to the right of its end (x, y, colour), without overlap."""
    ax.figure.draw_without_rendering()  # so that the place of each end is known
    points = 72 / ax.figure.dpi  # per pixel
    text = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    free = ax.bbox.y0 * points  # height from which there is room
    for name in sorted(ends, key=lambda name: ends[name][1]):
        x, y, colour = ends[name]
        height = ax.transData.transform((x, y))[1] * points
        half = 7.5 * (1 + name.count("\n"))
        middle = max(height, free + half)
        ax.annotate(name, (x, y), (10, middle - height), color=colour, **text)
        free = middle + half


def styled(runs: pd.DataFrame, by: Sequence[str]) -> tuple[list, list[Line2D]]:
    """Split runs by one or two columns: a colour for each value of the first, a marker and dashes
    for each value of the last. Return pairs of rows and their style, and the entries of a legend.
    """
    first, last = runs[by[0]].unique(), runs[by[-1]].unique()
    scale = COLOURS if len(by) == 1 else plt.get_cmap("viridis")(np.linspace(0.85, 0, len(first)))
    colours = {key: {"color": colour} for key, colour in zip(first, scale, strict=False)}
    marks = zip(last, MARKERS, LINES, strict=False)
    shapes = {key: {"marker": marker, "ls": line} for key, marker, line in marks}
    looks = {key: colours[key] | shapes.get(key, {}) for key in first}
    if len(by) == 2:
        looks = {f"learning rate {key:g}": look for key, look in colours.items()}
        looks |= {f"batch size {key}": {"color": "black", **look} for key, look in shapes.items()}
    groups = [(part, colours[key[0]] | shapes[key[-1]]) for key, part in runs.groupby(list(by))]
    return groups, [Line2D([], [], label=label, **look) for label, look in looks.items()]


def save(figure: plt.Figure, name: str, folder: str | Path = "visualizations") -> None:
    """Write a figure to ``folder/name.png``; a notebook shows that file. With a palette of 256
    colours, it looks the same and the file is a third as large.
    """
    file = Path(folder) / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    with Image.open(file) as picture:
        picture = picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)
    picture.save(file, optimize=True)
    if get_ipython():
        plt.close(figure)  # otherwise the notebook would show it a second time
        display.display(display.Image(file))
