"""Comparisons of all models: their size, their errors, and how far these differ."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter

from study.plots import style

ERROR_TICKS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 90)


def error_by_size(points: pd.DataFrame, title: str) -> plt.Figure:
    """Draw errors over the number of parameters, both on logarithmic scales.

    Args:
        points: a row for each network: ``name``; ``kind``, which chooses colour and marker (for
            example whether a result was picked on the test set); ``joined``, whether a line goes
            through this point; ``parameters``; and ``low``, ``error`` and ``high``, in percent.
    """
    figure, (ax,) = style.canvas(height=5.6, title=title)
    kinds = points["kind"].unique()
    for kind, colour, marker in zip(kinds, style.COLOURS, style.MARKERS, strict=False):
        part = points[points["kind"] == kind]
        ends = [part["error"] - part["low"], part["high"] - part["error"]]
        look = {"color": colour, "capsize": 3, "lw": 1.5, "label": kind}
        ax.errorbar(part["parameters"], part["error"], yerr=ends, fmt=marker, **look)
        line = part[part["joined"]].sort_values("parameters")
        ax.plot(line["parameters"], line["error"], color=colour, lw=1.5, alpha=0.3)
    least, most = points["parameters"].min(), points["parameters"].max()
    ax.set(xscale="log", yscale="log", xlim=(least / 2, most * 2))
    ax.set(xlabel="parameters (log scale)", ylabel="test error (%, log scale)")
    style.plain_ticks(ax.xaxis, EngFormatter(sep=""))
    ax.set_yticks(ERROR_TICKS, [f"{tick:g}" for tick in ERROR_TICKS])
    ax.set_yticks([], minor=True)
    ax.set_ylim(points["low"].min() / 1.3, points["high"].max() * 1.3)
    ax.grid()
    style.legend_below(figure)
    figure.draw_without_rendering()
    colours = list(points["kind"].map(dict(zip(kinds, style.COLOURS, strict=False))))
    places = points[["parameters", "low", "error", "high"]].to_numpy()
    _name_points(ax, places, list(points["name"]), colours)
    return figure


def _name_points(ax, points: np.ndarray, names: Sequence[str], colours: Sequence[str]) -> None:
    """Write each name near its point, joined to it by a thin line. Of many places on rings around
    the point, take the one where name and line cover the fewest names and points; of several such
    places, the nearest. Points have shape (N, 4): x, low end of the interval, y, high end.
    """
    pixels = ax.figure.dpi / 72  # in a point
    lows, middles, highs = (ax.transData.transform(points[:, [0, y]]) for y in (1, 2, 3))
    dots, beside = (np.hstack([middles - r, middles + r]) for r in (7, 16))  # left, bottom, ...
    taken, written = np.vstack([dots, np.hstack([lows - 3, highs + 3])]), np.empty((0, 4))
    angles = np.radians([0, 180, 20, -20, 160, -160, 45, -45, 135, -135, 70, -70, 110, -110])
    ways = np.column_stack([np.cos(angles), np.sin(angles)])
    steps = pixels * np.concatenate([radius * ways for radius in range(9, 200, 4)])
    bounds = ax.get_window_extent()
    look = {"textcoords": "offset points", "ha": "center", "va": "center", "fontsize": style.SMALL}
    for index in np.argsort(-points[:, 2], kind="stable"):
        look["color"], middle = colours[index], middles[index]
        line = {"arrowstyle": "-", "color": colours[index], "lw": 0.7, "shrinkA": 0}
        name = ax.annotate(names[index], points[index, [0, 2]], (0, 0), arrowprops=line, **look)
        half = Text.get_window_extent(name).size / 2 + pixels  # of the text without its line
        offsets = steps + np.column_stack([np.sign(steps[:, 0]) * half[0], np.zeros(len(steps))])
        boxes = np.hstack([middle + offsets - half, middle + offsets + half])
        lines = middle + offsets[:, None] * np.linspace(0.1, 1, 40)[:, None]  # to its middle
        lines = np.concatenate([lines, lines], axis=2)
        crossed = _overlaps(lines, np.vstack([written, np.delete(dots, index, 0)])).any(1).sum(1)
        outside = (boxes[:, :2] < bounds.p0) | (boxes[:, 2:] > bounds.p1)
        # Right beside another point, a name would be taken for that point's.
        avoided = np.vstack([taken, np.delete(beside, index, 0)])
        bad = _overlaps(boxes, avoided).sum(1) + crossed + 100 * outside.any(1)
        best = bad.argmin()  # the first of the lowest, so the nearest
        name.xyann = offsets[best] / pixels
        written = np.vstack([written, boxes[best]])
        taken = np.vstack([taken, boxes[best], lines[best]])


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which boxes (..., 4) overlap which others (N, 4), bool (..., N). A box is left,
    bottom, right, top.
    """
    boxes = boxes[..., None, :]
    return ((boxes[..., :2] < others[:, 2:]) & (boxes[..., 2:] > others[:, :2])).all(-1)


def paired_dots(table: pd.DataFrame, label: str, title: str) -> plt.Figure:
    """Draw two numbers in each row as dots joined by a line, on a logarithmic scale.

    Args:
        table: a row for each model, the first at the top; two columns by name, for instance for two
            groups. The ratio of the second to the first stands beside them. Zeros are drawn at the
            left end.
        label: name and unit of the axis.
    """
    rows, least, most = np.arange(len(table)), table[table > 0].min(axis=None), table.max(axis=None)
    figure, (ax,) = style.canvas(height=1.5 + 0.32 * len(table), title=title)
    ax.set(xscale="log", xlim=(least / 3, most * 1.8), ylim=(len(table) - 0.5, -1.2))
    shown = table.clip(lower=least / 3)
    ax.hlines(rows, shown.min(axis=1), shown.max(axis=1), color="#bbbbbb", lw=3)
    place = {"textcoords": "offset points", "annotation_clip": False}
    tops = shown.iloc[0]
    for name, colour, marker in zip(table, style.COLOURS, style.MARKERS, strict=False):
        look = {"color": colour, "marker": marker, "clip_on": False, "zorder": 3}
        ax.scatter(shown[name], rows, s=55, **look)
        left = name == tops.idxmin()  # so that two names that are close do not overlap
        look = {"color": colour, "weight": "bold", "ha": "right" if left else "left"}
        ax.annotate(name, (tops[name], 0), (-3 if left else 3, 10), **look, **place)
    for row, (low, high) in enumerate(table.to_numpy()):
        if low > 0:
            ax.annotate(f"{high / low:.1f} times", (shown.iloc[row].max(), row), (10, -4), **place)
    ax.set_yticks(rows, [style.wrapped(name, 3) for name in table.index])
    ax.set_xlabel(label)
    style.plain_ticks(ax.xaxis)
    ax.grid(axis="x")
    return figure


def forest(table: pd.DataFrame, label: str, title: str, filled: str, hollow: str) -> plt.Figure:
    """Draw one number per row with its interval, and a line at 0.

    Args:
        table: a row for each model, the first at the top: ``low``, ``mean`` and ``high`` in the
            unit of the axis, and ``real``, bool: whether the dot is filled.
        label: name and unit of the axis.
        filled, hollow: what the two kinds of dots mean.
    """
    figure, (ax,) = style.canvas(height=1.8 + 0.32 * len(table), title=title)
    ax.axvline(0, color=style.GREY, lw=1)
    for real, colour, fill, meaning in (
        (True, style.BLUE, style.BLUE, filled),
        (False, style.GREY, "white", hollow),
    ):
        part = table["real"] == real
        rows, middle = np.flatnonzero(part), table["mean"][part]
        ends = [middle - table["low"][part], table["high"][part] - middle]
        look = {"fmt": "o", "color": colour, "mfc": fill, "ms": 8, "capsize": 4, "lw": 1.5}
        ax.errorbar(middle, rows, xerr=ends, label=meaning, **look)
    ax.set_yticks(range(len(table)), [style.wrapped(name, 3) for name in table.index])
    ax.set(xlabel=label, ylim=(len(table) - 0.5, -0.5))
    ax.grid(axis="x")
    style.legend_below(figure)
    return figure
