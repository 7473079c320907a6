"""Errors by name, as dots."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from study.plots import style


def dots_by_row(table: pd.DataFrame, label: str, title: str) -> plt.Figure:
    """Draw values as dots: a row for each name, a colour for each series, a panel for each heading.

    Args:
        table: columns ``row`` and ``value``; perhaps ``series`` and ``panel``. Several values of
            one row and series, such as those of seeds, get a tick at their mean. Rows, series and
            panels keep their order. At least one value is above 0.
        label: of the value axis, which is logarithmic; a value of 0 stands at its left end.
    """
    table = table.assign(**{c: "" for c in ("series", "panel") if c not in table})
    rows, series, panels = (table[c].unique().tolist() for c in ("row", "series", "panel"))
    least = table["value"][table["value"] > 0].min()
    table["value"] = table["value"].clip(lower=least / 2)
    figure, axes = style.canvas(
        len(panels), height=1.5 + 0.34 * len(rows), title=title, sharey=True, sharex=True
    )
    offsets = np.linspace(-0.24, 0.24, len(series)) if len(series) > 1 else [0]
    for ax, panel in zip(axes, panels, strict=True):
        for index, name in enumerate(series):
            part = table[(table["panel"] == panel) & (table["series"] == name)]
            places = part["row"].map(rows.index) + offsets[index]
            look = {"color": style.COLOURS[index], "label": name or None}
            ax.scatter(part["value"], places, s=34, marker=style.MARKERS[index], zorder=3, **look)
            means = part.groupby("row")["value"].agg(["mean", "count"]).query("count > 1")["mean"]
            heights = means.index.map(rows.index) + offsets[index]
            ax.scatter(means, heights, s=170, marker="|", color=style.COLOURS[index], zorder=2)
        ax.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))
        ax.set_title(style.wrapped(panel, 0.8 * style.WIDTH / len(panels)), fontsize=11)
        ax.set_xscale("log")
        style.plain_ticks(ax.xaxis, subs=(1, 2, 5) if len(panels) == 1 else (1,))
        ax.grid(axis="x")
        for edge in np.arange(0.5, len(rows) - 1):
            ax.axhline(edge, color="#eeeeee", lw=0.8, zorder=0)
    axes[0].set_yticks(range(len(rows)), [style.wrapped(row, 3) for row in rows])
    if len(series) > 1:
        style.legend_below(figure)
    return figure
