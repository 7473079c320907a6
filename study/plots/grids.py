"""Runs of a grid, and runs with different seeds."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from study.plots import style


def by_setting(
    runs: pd.DataFrame, setting: tuple[str, str], value: tuple[str, str], series: str, title: str
) -> plt.Figure:
    """Draw a value over a setting: a point for each run, and through the means of each series a
    line with its name at the end. The setting's axis is logarithmic unless it includes 0; the other
    axis always is.

    Args:
        runs: one row per run; values that are not numbers, from runs that diverged, are left out.
        setting, value: each a column of ``runs``, and its name and unit on the axis.
        series: the column with the name of each run's line.
    """
    runs = runs[np.isfinite(runs[value[0]])]
    figure, (ax,) = style.canvas(height=4.8, title=title)
    ends = {}
    looks = zip(runs[series].unique(), style.LOOKS, style.MARKERS, strict=False)
    for name, look, marker in looks:
        part = runs[runs[series] == name]
        means = part.groupby(setting[0])[value[0]].mean()
        ax.plot(means.index, means, **look)
        ax.scatter(part[setting[0]], part[value[0]], s=40, color=look["color"], marker=marker)
        ends[name] = means.index[-1], means.iloc[-1], look["color"]
    places = np.sort(runs[setting[0]].unique())
    ax.set(xlabel=setting[1], ylabel=value[1], yscale="log")
    if len(places) and places[0] > 0:
        ax.set_xscale("log")
    ax.set_xticks(places, [f"{place:,g}" for place in places])
    ax.set_xticks([], minor=True)
    style.plain_ticks(ax.yaxis)
    ax.grid()
    style.name_ends(ax, ends)
    return figure


def by_seed(
    runs: pd.DataFrame, group: str, value: str, label: str, title: str, joined: str | None = None
) -> plt.Figure:
    """Draw the column ``value`` of each run as a point and the mean as a tick, one row for each
    ``group``, on a logarithmic scale if values differ by more than half.

    Runs with the same value in the column ``joined``, if any, are joined by a line that it names.
    """
    names = runs[group].unique()
    figure, (ax,) = style.canvas(height=1.6 + 0.5 * len(names), title=title)
    look = {"marker": "|", "s": 600, "lw": 3, "color": style.RED, "label": "mean"}
    for row, (_, part) in enumerate(runs.groupby(group, sort=False)):
        seeds = part[value]
        ax.scatter(seeds, [row] * len(seeds), s=60, color=style.BLUE, alpha=0.8, label="one seed")
        ax.scatter(seeds.mean(), row, **look)
    ax.set_yticks(range(len(names)), [style.wrapped(name, 2.5) for name in names])
    for name, pair in runs.groupby(joined) if joined else ():
        ax.plot(pair[value], [list(names).index(one) for one in pair[group]], color="#999999", lw=1)
        first = (pair[value].iloc[0], -0.2)
        ax.annotate(str(name), first, ha="center", va="bottom", fontsize=11, color="#444444")
    ax.set(xlabel=label, ylim=(len(names) - 0.4, -0.6))
    if runs[value].max() > 1.5 * runs[value].min():
        ax.set(xlabel=f"{label}, log scale", xscale="log")
        style.plain_ticks(ax.xaxis)
    ax.grid(axis="x")
    style.legend_below(figure)
    return figure


def hindsight(
    runs: pd.DataFrame,
    chosen: int,
    seeds: pd.DataFrame,
    by: tuple[str, str],
    title: str,
    num_images: int,
) -> plt.Figure:
    """Draw the errors on ``num_images`` test images against what the choice was based on.

    Args:
        runs: one row per run: lr, batch_size and test_errors.
        chosen: the index of a run.
        seeds: rows of the chosen settings with other seeds, which were not candidates.
        by: the column that the choice was based on, and its name and unit on the axis.
    """
    figure, (ax,) = style.canvas(height=5, title=title)
    parts, handles = style.styled(runs, ["lr", "batch_size"])
    for part, look in parts:
        ax.plot(part[by[0]], part["test_errors"], ms=9, **look)
    ring = {"marker": "o", "ms": 18, "mfc": "none", "mec": style.RED, "mew": 2.5, "ls": "none"}
    handles += ax.plot(*runs.loc[chosen, [by[0], "test_errors"]], label="chosen", **ring)
    cross = {"marker": "x", "ms": 9, "color": style.RED, "mew": 2, "ls": "none"}
    label = "the same with other seeds"
    handles += ax.plot(seeds[by[0]], seeds["test_errors"], label=label, **cross)
    ax.set(xscale="log", yscale="log", xlabel=by[1])
    ax.set(ylabel=f"errors on {num_images:,} test images (log scale)")
    ax.margins(0.08)
    for axis in (ax.xaxis, ax.yaxis):
        style.plain_ticks(axis)
    ax.grid()
    style.legend_below(figure, handles)
    return figure
