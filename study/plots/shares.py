"""Shares of errors and of refusals: maps of them, dots by name, and curves."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from study.plots import style
from study.plots.grids import annotated_map


def stacked_maps(
    tables: dict[str, pd.DataFrame],
    text: Callable[[float], str],
    title: str,
    *,
    bold_lowest: bool = True,
    **look,
) -> plt.Figure:
    """Draw maps with the same columns one below the other, each under its own heading. ``text``
    writes a value; the lowest ones of each row, as written, may be bold. ``look`` is that of
    ``seaborn.heatmap`` for all of them: ``cmap``, and ``norm`` or the ends ``vmin`` and ``vmax``.
    """
    rows = [len(table) for table in tables.values()]
    names = max(len(name) for table in tables.values() for name in table.columns)
    height = 0.7 + 0.3 * sum(rows) + 0.4 * len(rows) + 0.055 * names
    options = {"height": height, "height_ratios": rows, "sharex": True}
    figure, axes = style.canvas(len(tables), 1, title=title, **options)
    for ax, (heading, table) in zip(axes, tables.items(), strict=True):
        texts = table.map(text)
        annotated_map(ax, table, texts, **look)
        ax.set_title(heading, loc="left", fontsize=11)
        lowest = texts.eq([texts.loc[row, place] for row, place in table.idxmin(axis=1).items()], 0)
        for written, bold in zip(ax.texts, lowest.to_numpy().ravel(), strict=True):
            written.set_weight("bold" if bold and bold_lowest else "normal")
    look = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes[-1].set_xticks(np.arange(len(table.columns)) + 0.5, table.columns, **look)
    return figure


def dots(shares: pd.DataFrame, label: str, title: str) -> plt.Figure:
    """Draw shares (0 to 1) as dots: a row for each index, a colour and a marker for each column."""
    figure, (ax,) = style.canvas(height=1.6 + 0.27 * len(shares), title=title)
    offsets = np.linspace(-0.2, 0.2, len(shares.columns)) if len(shares.columns) > 1 else [0]
    for index, column in enumerate(shares):
        look = {"color": style.COLOURS[index], "marker": style.MARKERS[index]}
        places = np.arange(len(shares)) + offsets[index]
        ax.scatter(shares[column], places, s=42, label=column, clip_on=False, zorder=3, **look)
    ax.set_yticks(range(len(shares)), shares.index)
    ax.set(xlabel=label, xlim=(0, 1), ylim=(len(shares) - 0.4, -0.6))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.grid()
    style.legend_below(figure)
    return figure


def refusal_curves(
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]], title: str
) -> plt.Figure:
    """Draw what share of non-digits is refused at each share of digits refused, a panel for each
    set: by score, both shares (0 to 1), rising. The digits' axis is logarithmic.
    """
    figure, axes = style.canvas(len(panels), height=4.6, title=title, sharey=True)
    for ax, (heading, curves) in zip(axes, panels.items(), strict=True):
        for (name, (digits, others)), look in zip(curves.items(), style.LOOKS, strict=False):
            ax.plot(digits, others, label=name, **look)
        ax.set_title(style.wrapped(heading, 0.9 * style.WIDTH / len(panels)))
        ax.set(xlabel="digits refused (log scale)", xscale="log", xlim=(1e-4, 1), ylim=(0, 1.01))
        ax.set_xticks([1e-4, 1e-3, 1e-2, 1e-1])
        ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        ax.grid()
    axes[0].set_ylabel("non-digits refused")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    style.legend_below(figure)
    return figure
