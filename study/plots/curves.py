"""Curves, steps and histograms."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from study.plots import style


def accuracy_by_row(accuracies: dict[str, np.ndarray], title: str) -> plt.Figure:
    """Draw the accuracy (0 to 1) after each number of rows read, one line per network."""
    figure, (ax,) = style.canvas(height=4.6, title=title)
    for (name, values), look in zip(accuracies.items(), style.LOOKS, strict=False):
        ax.plot(range(1, len(values) + 1), 100 * values, label=name, **look)
    ax.axhline(10, color=style.GREY, lw=1, label="guessing")
    ax.set(xlabel="rows read, from the top", ylabel="accuracy (%)", ylim=(0, 101), xlim=(1, 28))
    ax.grid()
    style.legend_below(figure)
    return figure


def finder_training(history: pd.DataFrame, title: str) -> plt.Figure:
    """Draw how well a finder does over the pages that it has seen: columns ``pages``, ``overlap``,
    ``found`` and ``false`` from ``experiments.finder``.
    """
    figure, (shares, false) = style.canvas(2, 2, height=4, title=title)
    pages = history["pages"] / 1000
    labels = {"found": "digits found separately", "overlap": "overlap of ink, found and true"}
    for (column, label), look, marker in zip(
        labels.items(), style.LOOKS, style.MARKERS, strict=False
    ):
        shares.plot(pages, 100 * history[column], marker=marker, label=label, **look)
    shares.set(ylabel="share (%)", ylim=(0, 101))
    false.plot(pages, history["false"], marker="o", color=style.BLUE)
    false.set(ylabel="false finds per digit (log scale)", yscale="log")
    style.plain_ticks(false.yaxis)
    for ax in (shares, false):
        ax.set(xlabel="crops of pages seen (thousands)", xlim=(0, None))
        ax.grid()
    style.legend_below(figure)
    return figure


def distance_histograms(
    distances: dict[str, np.ndarray], threshold: float, title: str
) -> plt.Figure:
    """Draw distributions of distances (N,), by name; near-duplicates lie below the threshold."""
    figure, (ax,) = style.canvas(height=4.4, title=title)
    edges = np.linspace(0, max(values.max() for values in distances.values()), 80)
    for (name, values), look in zip(distances.items(), style.LOOKS, strict=False):
        share = 100 / len(values) * np.histogram(values, edges)[0]
        ax.stairs(share, edges, lw=2, label=name, **look)
    ax.axvspan(0, threshold, color=style.RED, alpha=0.15, lw=0, label="near duplicates")
    ax.set(xlabel="distance between images of unit length", ylabel="images (%)", xlim=(0, None))
    style.legend_below(figure)
    return figure


def waterfall(seconds: pd.Series, title: str) -> plt.Figure:
    """Draw the seconds after each further trick: a point, and a step from the one before."""
    figure, (ax,) = style.canvas(height=1.4 + 0.4 * len(seconds), title=title)
    before = seconds.shift(fill_value=seconds.iloc[0])
    for row, (name, value) in enumerate(seconds.items()):
        colour = style.GREY if row == 0 else style.BLUE if value <= before[name] else style.RED
        ax.plot([before[name]] * 2 + [value], [max(0, row - 1), row, row], color=colour)
        ax.plot(value, row, "o", color=colour, ms=9)
        change = "" if row == 0 else f" ({value / before[name] - 1:+.0%})"
        ax.text(max(before[name], value) * 1.06, row, f"{value:.1f} s{change}", va="center")
    ax.set_yticks(range(len(seconds)), [style.wrapped(name, 2.2) for name in seconds.index])
    ax.set(xlabel="seconds of training (log scale)", xscale="log")
    ax.set(xlim=(seconds.min() / 1.5, seconds.max() * 2.2), ylim=(len(seconds) - 0.5, -0.5))
    style.plain_ticks(ax.xaxis)
    return figure
