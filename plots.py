"""Numbers -> figures. Every function draws what it is given, and returns the figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

# Okabe and Ito's colours, which colour-blind readers can tell apart; right and wrong are told
# apart by more than colour wherever both are drawn.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#767676"

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 130,
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
    }
)


def save(figure: plt.Figure, name: str, folder: str | Path = "visualizations") -> None:
    """Write a figure to ``folder/name.png``; the notebook shows it as well."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / f"{name}.png", facecolor="white")


def training_curves(histories: pd.DataFrame, title: str) -> plt.Figure:
    """Training loss and accuracy by epoch: a colour for each learning rate, a line style for
    each batch size.

    Args:
        histories: what ``grid_search.histories`` returns, with columns lr and batch_size.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4))
    style = {
        "data": histories.assign(lr=histories["lr"].map("{:g}".format)),
        "x": "epoch",
        "hue": "lr",
        "style": "batch_size",
        "palette": "viridis",
        "markers": True,
        "markersize": 7,
    }
    sns.lineplot(y="train_loss", ax=left, legend=False, **style)
    sns.lineplot(y=100 * histories["train_accuracy"], ax=right, **style)
    left.set(ylabel="training loss (nats, log scale)", yscale="log")
    _plain_ticks(left, histories["train_loss"])
    right.set(ylabel="training accuracy (%)")
    for ax in (left, right):
        ax.set_xticks(sorted(histories["epoch"].unique()))
        ax.grid(axis="y", alpha=0.3)
    sns.move_legend(right, "center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.suptitle(title, fontweight="bold")
    return figure


def heat_map(
    runs: pd.DataFrame, value: str, label: str, title: str, *, best: str = "min", fmt: str = ".4f"
) -> plt.Figure:
    """One cell for each learning rate and batch size; the best one framed.

    Args:
        runs: what ``grid_search.search`` returns, with columns lr, batch_size and ``value``.
        label: name and unit of the value.
        best: "min" or "max".
    """
    cells = runs.pivot(index="batch_size", columns="lr", values=value)
    figure, ax = plt.subplots(figsize=(9, 1.6 + 0.9 * len(cells)))
    colours = "viridis_r" if best == "min" else "viridis"
    sns.heatmap(
        cells, annot=True, fmt=fmt, cmap=colours, robust=True, ax=ax, cbar_kws={"label": label}
    )
    row, column = divmod(getattr(cells.to_numpy(), f"arg{best}")(), cells.shape[1])
    ax.add_patch(plt.Rectangle((column, row), 1, 1, fill=False, edgecolor=RED, lw=4, clip_on=False))
    ax.set(xlabel="learning rate (peak of the cycle)", ylabel="batch size")
    ax.set_title(title, fontweight="bold")
    return figure


def hindsight(
    runs: pd.DataFrame, chosen: int, by: str, label: str, title: str, num_images: int
) -> plt.Figure:
    """What the choice went by against errors on the test set, one point a run.

    Args:
        runs: with columns lr, batch_size, ``by`` and test_accuracy (0 to 1).
        chosen: index of the chosen run.
        label: name and unit of ``by``.
        num_images: size of the test set.
    """
    figure, ax = plt.subplots(figsize=(9, 4.6))
    errors = num_images * (1 - runs["test_accuracy"])
    ax.scatter(runs[by], errors, s=60, color=BLUE, zorder=2)
    ax.scatter(
        runs.loc[chosen, by], errors[chosen], s=260, facecolors="none", edgecolors=RED, lw=2.5,
        label="chosen",
    )  # fmt: skip
    for index, run in runs.iterrows():
        ax.annotate(
            f"{run['lr']:g}, {run['batch_size']}", (run[by], errors[index]), xytext=(9, 0),
            textcoords="offset points", va="center", fontsize=10,
        )  # fmt: skip
    ax.set(xscale="log", xlabel=label, ylabel=f"errors on {num_images} test images")
    _plain_ticks(ax, runs[by], axis="x")
    ax.margins(x=0.12)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    ax.set_title(title, fontweight="bold")
    return figure


def _plain_ticks(ax: plt.Axes, values: pd.Series, axis: str = "y") -> None:
    """Label a logarithmic axis with plain numbers: 0.01, 0.02, 0.05, 0.1, ..."""
    steps = [digit * 10.0**power for power in range(-6, 4) for digit in (1, 2, 5)]
    target = getattr(ax, f"{axis}axis")
    target.set_major_locator(FixedLocator([s for s in steps if s < 2 * values.max()]))
    target.set_minor_locator(NullLocator())
    target.set_major_formatter(ScalarFormatter())
    target.get_major_formatter().set_scientific(False)
