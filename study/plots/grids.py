"""Runs of a grid, and tables of numbers with colours behind them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.collections import QuadMesh

from study.plots import style

SIZES, RATES = ("batch_size", "batch size"), ("lr", "learning rate (peak of the cycle)")


def annotated_map(
    ax: plt.Axes, cells: pd.DataFrame, texts: pd.DataFrame, size: float = style.SMALL, **options
) -> QuadMesh:
    """Colour cells by their values and write into each its text, ``size`` points large. A cell of
    NaN stays white. Index and columns label the map; the options are those of ``seaborn.heatmap``.
    """
    look = {"linewidths": 1.5, "annot_kws": {"fontsize": size}, "cbar": False}
    look |= {"xticklabels": True, "yticklabels": True}
    sns.heatmap(cells, annot=texts, fmt="", ax=ax, **look | options)
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="", ylabel="")
    return ax.collections[0]


def heat_maps(
    runs: pd.DataFrame, maps: Sequence[tuple], title: str, *, rows=SIZES, columns=RATES
) -> plt.Figure:
    """Draw maps over two settings of runs, one below the other, the best cell framed. A map is a
    column of ``runs``, its name and unit, "min" or "max" for which value is best, and the format
    of a value; ``rows`` and ``columns`` are each a column, and its name and unit.
    """
    height = 0.5 + len(maps) * (0.9 + 0.6 * runs[rows[0]].nunique())
    figure, axes = style.canvas(len(maps), 1, height=height, title=title)
    for ax, (column, label, best, fmt) in zip(axes, maps, strict=True):
        cells = runs.pivot(index=rows[0], columns=columns[0], values=column)
        cells = cells.where(np.isfinite(cells))  # the loss of a run that diverged is no number
        # Limits that a single bad run does not stretch, so that the good ones stay apart.
        low, high = cells.stack().quantile([0.02, 0.98])
        look = {"cmap": "viridis_r" if best == "min" else "viridis", "vmin": low, "vmax": high}
        texts = cells.map(lambda value, fmt=fmt: format(value, fmt))
        drawn = annotated_map(ax, cells, texts, size=12, **look)
        figure.colorbar(drawn, ax=ax, label=label)
        for row, place in np.argwhere(cells == cells.stack().agg(best))[:1]:
            frame = {"fill": False, "ec": style.RED, "lw": 4, "clip_on": False, "zorder": 3}
            ax.add_patch(plt.Rectangle((place, row), 1, 1, **frame))
        ax.set(xlabel=columns[1], ylabel=rows[1])
    return figure


def confusion_matrices(matrices: dict[str, np.ndarray], title: str) -> plt.Figure:
    """Draw counts of true against predicted digit: by data set, int, (10 true, 10 predicted).
    Colour counts the mistakes; the diagonal, a hundred times larger, has none.
    """
    figure, axes = style.canvas(len(matrices), height=7, title=title, sharey=True)
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        counts = pd.DataFrame(matrix)
        mistakes = counts.mask(np.eye(len(counts), dtype=bool))
        look = {"cmap": "Oranges", "vmin": 0, "vmax": max(1, mistakes.max(axis=None))}
        annotated_map(ax, mistakes, counts.astype(str).mask(counts == 0, ""), **look)
        right = {"color": style.BLUE, "weight": "bold", "ha": "center", "va": "center"}
        for digit, count in enumerate(matrix.diagonal()):
            ax.text(digit + 0.5, digit + 0.5, count, fontsize=style.SMALL, **right)
        heading = f"{name}: {mistakes.sum(axis=None):.0f} mistakes in {matrix.sum()}"
        heading = style.wrapped(heading, style.WIDTH / len(matrices))
        ax.set(xlabel="predicted digit", aspect=1, title=heading)
    axes[0].set_ylabel("true digit")
    return style.trim(figure, axes)


def by_seed(runs: pd.DataFrame, group: str, value: str, label: str, title: str) -> plt.Figure:
    """Draw the column ``value`` by run, mean and standard deviation, in a row by ``group``."""
    names = runs[group].unique()
    figure, (ax,) = style.canvas(height=1.6 + 0.55 * len(names), title=title)
    look = {"fmt": "D", "color": style.RED, "capsize": 5, "label": "mean and standard deviation"}
    for row, (_, part) in enumerate(runs.groupby(group, sort=False)):
        seeds = part[value]
        ax.scatter(seeds, [row] * len(seeds), s=60, color=style.BLUE, alpha=0.8, label="one seed")
        ax.errorbar(seeds.mean(), row + 0.3, xerr=seeds.std(), **look)
    ax.set_yticks(range(len(names)), [style.wrapped(name, 2.5) for name in names])
    ax.set(xlabel=label, ylim=(len(names) - 0.4, -0.5))
    ax.grid(axis="x")
    style.legend_below(figure)
    return figure


def hindsight(
    runs: pd.DataFrame, chosen: int, by: str, label: str, title: str, num_images: int
) -> plt.Figure:
    """Draw the errors on ``num_images`` test images against the column that the choice went by,
    named ``label`` on its axis. ``chosen`` is the index of a run; runs also have columns lr,
    batch_size and test_accuracy (0 to 1).
    """
    figure, (ax,) = style.canvas(height=5, title=title)
    runs = runs.assign(errors=num_images * (1 - runs["test_accuracy"]))
    parts, handles = style.styled(runs, ["lr", "batch_size"])
    for part, look in parts:
        ax.plot(part[by], part["errors"], ms=9, **look)
    ring = {"marker": "o", "ms": 18, "mfc": "none", "mec": style.RED, "mew": 2.5, "ls": "none"}
    handles += ax.plot(*runs.loc[chosen, [by, "errors"]], label="chosen", **ring)
    ax.set(xlabel=label, ylabel=f"errors on {num_images} test images", xscale="log")
    style.plain_ticks(ax.xaxis)
    ax.margins(0.08)
    ax.grid()
    style.legend_below(figure, handles)
    return figure
