"""Numbers -> figures. Every function draws what it is given, and returns the figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Okabe and Ito's colours, which colour-blind readers can tell apart; right and wrong are told
# apart by more than colour wherever both are drawn.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#767676"
WIDTH = 9.0  # inches; at 100 dots an inch slightly more than GitHub shows
LINE = 6  # rows of image pixels that a line of caption takes
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 115,
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.titleweight": "bold",
        "figure.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
    }
)


def save(figure: plt.Figure, name: str, folder: str | Path = "visualizations") -> None:
    """Write a figure to ``folder/name.png``; the notebook shows it as well."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / f"{name}.png", facecolor="white")


def image_panels(
    panels: dict[str, np.ndarray],
    *,
    row_labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    below: bool = False,
    cmap: str = "gray_r",
    limits: tuple[float, float] | None = None,
    colour_label: str = "",
    title: str = "",
) -> plt.Figure:
    """Draw tables of images, side by side or one ``below`` the other, each under its own title.

    Args:
        panels: for each title, images of shape (rows, columns, 28, 28), equally many in each.
        row_labels: written left of the rows of the first panel (of each one if ``below``).
        captions: one for each image, by rows, written under it; for a single panel.
        limits: the values at both ends of the colour map; by default those of each panel.
        colour_label: what the colours mean; without it, no colour bar is drawn.
    """
    grid = (len(panels), 1) if below else (1, len(panels))
    rows, columns = np.array(next(iter(panels.values())).shape[:2]) * grid
    lines = 1 + max((text.count("\n") for row in captions for text in row), default=-1)
    cell = (WIDTH - 0.4 * bool(len(row_labels)) - 0.8 * bool(colour_label)) / columns  # inches
    height = rows * cell * (30 + LINE * lines) / 30 + 0.4 * grid[0] + 0.3 * bool(title)
    figure, axes = plt.subplots(*grid, figsize=(WIDTH, height), squeeze=False)
    low, high = limits or (None, None)
    for index, (axis, (name, images)) in enumerate(zip(axes.flat, panels.items(), strict=True)):
        picture = axis.imshow(
            _tile(images, lines), cmap=cmap, vmin=low, vmax=high, interpolation="nearest"
        )
        labels = row_labels if below or index == 0 else ()
        _finish_table(axis, 30 + LINE * lines, labels, captions)
        axis.set_title(name)
        if colour_label:
            figure.colorbar(picture, ax=axis, label=colour_label, pad=0.01, fraction=0.05)
    if title:
        figure.suptitle(title)
    return figure


def class_frequencies(shares: pd.DataFrame, title: str) -> plt.Figure:
    """Draw the share of each class in two sets as bars.

    Args:
        shares: per cent; one row for each class, one column for each of two sets.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    shares.plot.bar(ax=axis, color=[BLUE, ORANGE], width=0.75, rot=0)
    axis.axhline(100 / len(shares), color=GREY, linestyle="--", linewidth=1)
    axis.set(title=title, xlabel="digit", ylabel="share of the images (%)")
    axis.set_ylim(top=1.2 * shares.to_numpy().max())
    axis.legend(ncols=2, frameon=False, loc="upper right")
    return figure


def ink_position(positions: pd.DataFrame, mean_image: np.ndarray, title: str) -> plt.Figure:
    """Draw the mean image with the box for the ink, all centres of mass, and all box sizes.

    Args:
        positions: what ``exploration.ink_positions`` returns, in pixels; centres of mass are
            shown from 13 to 15.
        mean_image: float, shape (28, 28), from 0 to 1.
    """
    figure, (ink, centre, size) = plt.subplots(1, 3, figsize=(WIDTH, 3.5))
    ink.imshow(mean_image, cmap="gray_r")
    ink.add_patch(plt.Rectangle((3.5, 3.5), 20, 20, fill=False, color=RED, linewidth=2))
    ink.set(title="mean of all images", xlabel="column (pixels)", ylabel="row (pixels)")
    centre.plot(positions["column"], positions["row"], ",", color=BLUE, alpha=0.5)
    centre.plot(13.5, 13.5, "P", color=RED, markeredgecolor="white", markersize=13)
    centre.annotate("middle of\nthe image", (13.5, 13.43), (13.1, 13.05), color=RED, va="top")
    centre.set(title="centres of mass", xlabel="column (pixels)", ylabel="row (pixels)", aspect=1)
    centre.set(xlim=(13, 15), ylim=(15, 13))
    edges = np.arange(0.5, 29)
    _, _, _, counts = size.hist2d(
        positions["width"], positions["height"], bins=edges, norm="log", cmap="viridis"
    )
    size.set(title="size of the ink", xlabel="width (pixels)", ylabel="height (pixels)", aspect=1)
    figure.colorbar(counts, ax=size, label="images", location="right", shrink=0.6)
    figure.suptitle(title)
    return figure


def class_maps(maps: dict[str, np.ndarray], labels: np.ndarray) -> plt.Figure:
    """Draw maps of the same images side by side, each class in a colour and under its digit.

    Args:
        maps: for each title, points of shape (N, 2).
        labels: int, shape (N,), from 0 to 9.
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(WIDTH, 5.2), squeeze=False)
    colours = np.array(sns.color_palette("colorblind", 10))
    for axis, (title, points) in zip(axes.flat, maps.items(), strict=True):
        axis.scatter(*points.T, s=7, c=colours[labels], linewidths=0)
        for label in np.unique(labels):
            middle = np.median(points[labels == label], axis=0)
            box = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": colours[label]}
            axis.text(*middle, str(label), ha="center", va="center", weight="bold", bbox=box)
        axis.set(title=title, xticks=[], yticks=[], box_aspect=1)
        axis.spines[:].set_visible(False)
    return figure


def distance_histograms(
    distances: dict[str, np.ndarray], threshold: float, title: str
) -> plt.Figure:
    """Draw distributions of distances over each other, with the threshold for near duplicates.

    Args:
        distances: for each name, distances of shape (N,) between images of unit length.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8))
    edges = np.linspace(0, max(values.max() for values in distances.values()), 80)
    styles = [(BLUE, "-"), (ORANGE, "--"), (GREY, ":")]
    for (name, values), (colour, line) in zip(distances.items(), styles, strict=False):
        share = np.full(len(values), 100 / len(values))
        style = {"histtype": "step", "color": colour, "linestyle": line, "linewidth": 2}
        axis.hist(values, edges, weights=share, label=name, **style)
    axis.axvspan(0, threshold, color=RED, alpha=0.15, linewidth=0, label="near duplicates")
    axis.set(title=title, xlabel="distance between images of unit length", ylabel="images (%)")
    axis.set_xlim(left=0)
    axis.legend(frameon=False, fontsize=11)
    return figure


def training_curves(histories: pd.DataFrame, title: str) -> plt.Figure:
    """Training loss and error by epoch: a colour for each learning rate, a line style for each
    batch size.

    Args:
        histories: what ``grid_search.histories`` returns, with columns lr and batch_size.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6))
    curves = _named(histories).assign(error=100 * (1 - histories["train_accuracy"]))
    style = {"data": curves, "x": "epoch", "palette": "viridis", "markers": True, "markersize": 8}
    style |= {"hue": "learning rate", "style": "batch size"}
    sns.lineplot(y="train_loss", ax=left, legend=False, **style)
    sns.lineplot(y="error", ax=right, **style)
    left.set(ylabel="training loss (nats, log scale)", yscale="log")
    right.set(ylabel="training error (%, log scale)", yscale="log")
    for ax, values in ((left, curves["train_loss"]), (right, curves["error"])):
        _plain_ticks(ax, values)
        ax.set_xticks(sorted(histories["epoch"].unique()))
        ax.grid(axis="y", alpha=0.3)
    sns.move_legend(right, "center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.suptitle(title)
    return figure


def validation_curves(histories: pd.DataFrame, title: str) -> plt.Figure:
    """Training and validation loss by epoch: a panel for each learning rate.

    Args:
        histories: what ``grid_search.histories`` returns, with columns lr and batch_size.
    """
    rates = sorted(histories["lr"].unique())
    figure, axes = plt.subplots(
        1, len(rates), figsize=(11, 4), sharey=True, sharex=True, squeeze=False
    )
    sizes = sorted(histories["batch_size"].unique())
    for ax, rate in zip(axes[0], rates, strict=True):
        for size, colour in zip(sizes, COLOURS, strict=False):
            part = histories.query("lr == @rate and batch_size == @size")
            ax.plot(
                part["epoch"],
                part["train_loss"],
                color=colour,
                ls=":",
                lw=2,
                label=f"training, batch {size}",
            )
            ax.plot(
                part["epoch"],
                part["valid_loss"],
                color=colour,
                lw=2,
                marker="o",
                label=f"validation, batch {size}",
            )
        ax.set(title=f"learning rate {rate:g}", xlabel="epoch", yscale="log")
        ax.set_xticks(sorted(histories["epoch"].unique()))
        ax.grid(axis="y", alpha=0.3)
    _plain_ticks(axes[0, 0], histories[["train_loss", "valid_loss"]].stack())
    axes[0, 0].set_ylabel("loss (nats, log scale)")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2 * len(sizes),
        frameon=False,
        fontsize=11,
    )
    figure.suptitle(title)
    return figure


def heat_maps(
    runs: pd.DataFrame,
    maps: list[tuple[str, str, str, str]],
    title: str,
    *,
    rows: tuple[str, str] = ("batch_size", "batch size"),
    columns: tuple[str, str] = ("lr", "learning rate (peak of the cycle)"),
) -> plt.Figure:
    """Maps over two settings, one below the other, the best cell framed.

    Args:
        runs: what ``grid_search.search`` returns.
        maps: for each map the column of ``runs``, its name and unit, "min" or "max" for which
            value is best, and the format of a value.
        rows, columns: the two settings: column of ``runs``, and its name and unit.
    """
    height = runs[rows[0]].nunique()
    figure, axes = plt.subplots(
        len(maps), 1, figsize=(9, 0.6 + len(maps) * (1.1 + 0.8 * height)), squeeze=False
    )
    for ax, (column, label, best, fmt) in zip(axes[:, 0], maps, strict=True):
        cells = runs.pivot(index=rows[0], columns=columns[0], values=column)
        colours = "viridis_r" if best == "min" else "viridis"
        # Limits that a single bad run does not stretch, so that the good ones stay apart.
        sns.heatmap(
            cells, annot=True, fmt=fmt, cmap=colours, robust=True, ax=ax, cbar_kws={"label": label}
        )
        flat = cells.stack()
        row, place = flat.idxmin() if best == "min" else flat.idxmax()
        corner = cells.columns.get_loc(place), cells.index.get_loc(row)
        ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor=RED, lw=4, clip_on=False))
        ax.set(xlabel=columns[1], ylabel=rows[1])
    figure.suptitle(title)
    return figure


def by_seed(runs: pd.DataFrame, group: str, value: str, label: str, title: str) -> plt.Figure:
    """One point for each seed, and mean and standard deviation beside, a row for each group.

    Args:
        runs: with columns ``group``, ``value`` and seed.
    """
    figure, ax = plt.subplots(figsize=(9, 1.9 + 0.8 * runs[group].nunique()))
    for row, (_, part) in enumerate(runs.groupby(group, sort=False)):
        ax.scatter(part[value], [row] * len(part), s=70, color=BLUE, alpha=0.8, label="one seed")
        ax.errorbar(
            part[value].mean(),
            row + 0.25,
            xerr=part[value].std(),
            fmt="D",
            color=RED,
            capsize=5,
            markersize=7,
            label="mean and standard deviation",
        )
    names = runs[group].unique()
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=label, ylim=(len(names) - 0.4, -0.5))
    ax.grid(axis="x", alpha=0.3)
    handles, texts = ax.get_legend_handles_labels()
    legend = dict(zip(texts, handles, strict=True))  # one entry for all rows
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=2, frameon=False
    )
    ax.set_title(title)
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
    points = _named(runs).assign(errors=num_images * (1 - runs["test_accuracy"]))
    sns.scatterplot(
        points,
        x=by,
        y="errors",
        hue="learning rate",
        style="batch size",
        palette="viridis",
        s=110,
        ax=ax,
    )
    ax.scatter(
        points.loc[chosen, by],
        points.loc[chosen, "errors"],
        s=330,
        facecolors="none",
        edgecolors=RED,
        lw=2.5,
        label="chosen",
    )
    ax.set(xscale="log", xlabel=label, ylabel=f"errors on {num_images} test images")
    _plain_ticks(ax, runs[by], axis="x")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, bbox_to_anchor=(1.02, 0.5), loc="center left")
    ax.set_title(title)
    return figure


def learning_curves(histories: pd.DataFrame, columns: list[tuple[str, str]], title: str):
    """Curves of several networks by epoch, a panel for each column.

    Args:
        histories: with columns network, epoch and those of ``columns``.
        columns: name of each column, and its name and unit on the axis.
    """
    figure, axes = plt.subplots(1, len(columns), figsize=(3.6 * len(columns), 4), squeeze=False)
    markers = "osD^v"
    for ax, (column, label) in zip(axes[0], columns, strict=True):
        for index, (name, part) in enumerate(histories.groupby("network", sort=False)):
            ax.plot(
                part["epoch"],
                part[column],
                color=COLOURS[index],
                marker=markers[index],
                lw=2,
                label=name,
            )
        ax.set(xlabel="epoch", ylabel=label, yscale="log")
        ax.set_xticks(sorted(histories["epoch"].unique()))
        _plain_ticks(ax, histories[column])
        ax.grid(axis="y", alpha=0.3)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=histories["network"].nunique(),
        frameon=False,
    )
    figure.suptitle(title)
    return figure


def film_strip(image: np.ndarray, label: int, probabilities: dict[str, np.ndarray]) -> plt.Figure:
    """A digit, and beside it the probability of each class after each of its rows.

    Args:
        image: uint8, shape (28, 28).
        probabilities: by network, shape (28 rows, 10 classes).
    """
    figure, axes = plt.subplots(
        1, 1 + len(probabilities), figsize=(10, 3.6), width_ratios=[1.8] + [1] * len(probabilities)
    )
    axes[0].imshow(image, cmap="gray_r", aspect="auto")
    axes[0].set(title=f"the digit: {label}", ylabel="rows read", xticks=[])
    axes[0].set_yticks([0, 9, 18, 27], [1, 10, 19, 28])
    for ax, (name, values) in zip(axes[1:], probabilities.items(), strict=True):
        drawn = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        ax.set(title=name, xlabel="class", xticks=range(10), yticks=[])
    figure.colorbar(drawn, ax=axes[-1], label="probability")
    return figure


def accuracy_by_row(accuracies: dict[str, np.ndarray], title: str) -> plt.Figure:
    """Accuracy (0 to 1) after each number of rows read, a line for each network."""
    figure, ax = plt.subplots(figsize=(9, 4.4))
    for index, (name, values) in enumerate(accuracies.items()):
        ax.plot(
            range(1, len(values) + 1),
            100 * values,
            color=COLOURS[index],
            lw=2.5,
            ls=("-", "--", "-.")[index % 3],
            label=name,
        )
    ax.axhline(10, color=GREY, ls=":", label="guessing")
    ax.set(xlabel="rows read, from the top", ylabel="accuracy (%)", ylim=(0, 101), xlim=(1, 28))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    ax.set_title(title)
    return figure


def predictions(images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, title: str):
    """Digits in rows of 20; a wrong answer has a red frame, and says which digit was taken for
    which.

    Args:
        images: uint8, shape (N, 28, 28).
    """
    columns = 20
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(11, 0.4 + 0.78 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, label, answer in zip(axes.flat, images, labels, predicted, strict=False):
        wrong = label != answer
        ax.imshow(image, cmap="gray_r")
        ax.set_title(
            f"{answer} not {label}" if wrong else f"{answer}",
            fontsize=11,
            pad=3,
            color=RED if wrong else "black",
            fontweight="bold" if wrong else "normal",
        )
        if wrong:
            ax.axis("on")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=True, color=RED, linewidth=3)
    figure.suptitle(title)
    return figure


def confusion_matrices(matrices: dict[str, np.ndarray], title: str) -> plt.Figure:
    """Counts of true against predicted digit. Colour counts the mistakes; the diagonal, a hundred
    times larger, has none.

    Args:
        matrices: by data set, int, shape (10 true, 10 predicted).
    """
    figure, axes = plt.subplots(
        len(matrices), 1, figsize=(7.5, 0.3 + 5.8 * len(matrices)), squeeze=False
    )
    for ax, (name, matrix) in zip(axes[:, 0], matrices.items(), strict=True):
        diagonal = np.eye(10, dtype=bool)
        sns.heatmap(
            matrix,
            mask=diagonal,
            annot=True,
            fmt="d",
            cmap="Oranges",
            square=True,
            linewidths=0.5,
            linecolor="#dddddd",
            ax=ax,
            annot_kws={"size": 11},
            cbar_kws={"label": "mistakes", "shrink": 0.75},
        )
        for digit in range(10):
            ax.text(
                digit + 0.5,
                digit + 0.5,
                matrix[digit, digit],
                ha="center",
                va="center",
                fontsize=11,
                color=BLUE,
                fontweight="bold",
            )
        wrong = matrix[~diagonal].sum()
        ax.set(
            xlabel="predicted digit",
            ylabel="true digit",
            title=f"{name}: {wrong} mistakes in {matrix.sum()}",
        )
    figure.suptitle(title)
    return figure


def accuracy_by_class(tables: dict[str, pd.DataFrame], title: str) -> plt.Figure:
    """Accuracy on each digit with its 95 % interval, models side by side.

    Args:
        tables: by model, one row a digit, with columns accuracy, low, high (0 to 1).
    """
    figure, ax = plt.subplots(figsize=(10, 4.4))
    for index, (name, table) in enumerate(tables.items()):
        x = np.arange(10) + 0.22 * (index - (len(tables) - 1) / 2)
        centre = 100 * table["accuracy"].to_numpy()
        spread = [centre - 100 * table["low"], 100 * table["high"] - centre]
        ax.errorbar(
            x, centre, yerr=spread, fmt="osD^"[index], color=COLOURS[index], capsize=4, label=name
        )
    ax.set(xlabel="digit", ylabel="accuracy (%)", xticks=range(10))
    ax.grid(axis="y", alpha=0.3)
    ax.legend(frameon=False, ncols=len(tables), loc="lower left")
    ax.set_title(title)
    return figure


def cost(results: pd.DataFrame, title: str) -> plt.Figure:
    """Test accuracy over the number of parameters, and over the seconds of training.

    Args:
        results: one row a model, with columns model, parameters, training seconds, test accuracy,
            and the ends of its interval, test low and test high (0 to 1).
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.6), sharey=True)
    for ax, column in zip(axes, ("parameters", "training seconds"), strict=True):
        for index, (_, row) in enumerate(results.iterrows()):
            low, middle, high = (100 * row[f"test {end}"] for end in ("low", "accuracy", "high"))
            ax.errorbar(
                row[column],
                middle,
                yerr=[[middle - low], [high - middle]],
                fmt="osD^vP*X<>"[index % 10],
                color=COLOURS[index % len(COLOURS)],
                markersize=9,
                capsize=3,
                elinewidth=1,
                label=row["model"],
            )
        ax.set(xscale="log", xlabel=f"{column} (log scale)")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy, 95 % interval (%)")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(title)
    return figure


def waterfall(seconds: pd.Series, title: str) -> plt.Figure:
    """Seconds after one trick after the other, each bar from the value before to its own.

    Args:
        seconds: by name of the trick; the first is where it begins.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 1.4 + 0.5 * len(seconds)))
    before = seconds.shift(fill_value=seconds.min() / 1.5)
    for row, (name, value) in enumerate(seconds.items()):
        low, high = sorted((before[name], value))
        colour = GREY if row == 0 else BLUE if value <= before[name] else RED
        ax.barh(row, high - low, left=low, color=colour)
        change = "" if row == 0 else f" ({value / before[name] - 1:+.0%})"
        ax.text(high * 1.04, row, f"{value:.1f} s{change}", va="center")
    ax.set_yticks(range(len(seconds)), seconds.index)
    ax.set(xscale="log", xlabel="seconds of training (log scale)", title=title)
    ax.set_xlim(seconds.min() / 1.5, seconds.max() * 2)
    _plain_ticks(ax, seconds, axis="x")
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    return figure


def differences(p_values: pd.DataFrame, errors: pd.Series, title: str) -> plt.Figure:
    """Map of p-values between models; those below 0.05 are dark.

    Args:
        p_values: square, models by models; only the part below the diagonal is drawn.
        errors: number of errors by model, written beside its name.
    """
    names = [f"{name} ({errors[name]})" for name in p_values.index]
    figure, ax = plt.subplots(figsize=(10, 1.6 + 0.55 * len(names)))
    hidden = np.triu(np.ones(p_values.shape, dtype=bool))
    labels = p_values.map(lambda p: "<0.001" if p < 0.001 else f"{p:.3f}")
    sns.heatmap(
        np.log10(p_values.clip(lower=1e-4)),
        mask=hidden,
        annot=labels,
        fmt="",
        annot_kws={"size": 10},
        ax=ax,
        cmap="viridis",
        vmin=-4,
        vmax=0,
        xticklabels=p_values.columns,
        yticklabels=names,
        cbar_kws={"label": "p-value", "ticks": [-4, -3, np.log10(0.05), -1, 0]},
    )
    ax.collections[0].colorbar.set_ticklabels(["0.0001", "0.001", "0.05", "0.1", "1"])
    ax.set_xticklabels(ax.get_xticklabels(), rotation=35, ha="right")
    ax.set_title(title)
    return figure


def mistakes(images: np.ndarray, captions: list[str], marked: list[bool], title: str) -> plt.Figure:
    """Misread digits in rows of ten, each with a caption; marked ones have a blue dashed frame."""
    columns = 10
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(11, 0.6 + 1.75 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, caption, mark in zip(axes.flat, images, captions, marked, strict=False):
        ax.imshow(image, cmap="gray_r")
        colour = BLUE if mark else "black"
        ax.set_title(caption, fontsize=10, pad=4, color=colour, fontweight="normal")
        if mark:
            ax.axis("on")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=True, color=BLUE, linewidth=3, linestyle="--")
    figure.suptitle(title)
    return figure


def reliability(bins: dict[str, pd.DataFrame], errors: dict[str, float], title: str) -> plt.Figure:
    """How often each model is right against how sure it is; on the diagonal it is as often right
    as it says.

    Args:
        bins: by model, what ``evaluation.calibration`` returns.
        errors: expected calibration error by model (0 to 1).
    """
    columns = min(4, len(bins))
    rows = -(-len(bins) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(2.75 * columns, 0.5 + 2.9 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat[len(bins) :]:
        ax.axis("off")
    for ax, (name, table) in zip(axes.flat, bins.items(), strict=False):
        ax.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
        ax.scatter(
            table["confidence"],
            table["accuracy"],
            s=12 + 18 * np.log10(table["count"]),
            color=BLUE,
            alpha=0.8,
        )
        ax.set_title(f"{name}\nerror {errors[name]:.2%}", fontsize=11)
        ax.tick_params(labelbottom=True)
        ax.grid(alpha=0.3)
    figure.supxlabel("confidence (size of a dot: logarithm of its images)")
    figure.supylabel("share that is right")
    figure.suptitle(title)
    return figure


def filters(weights: np.ndarray, title: str) -> plt.Figure:
    """Convolution filters as pictures: blue for paper, red for ink, white for neither.

    Args:
        weights: shape (number of filters, height, width).
    """
    columns = 8
    rows = -(-len(weights) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10, 0.6 + 1.25 * rows), squeeze=False)
    limit = np.abs(weights).max()
    for ax in axes.flat:
        ax.axis("off")
    for ax, weight in zip(axes.flat, weights, strict=False):
        drawn = ax.imshow(weight, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(drawn, ax=axes, label="weight", shrink=0.9)
    figure.suptitle(title)
    return figure


def feature_maps(image: np.ndarray, layers: dict[str, np.ndarray], title: str) -> plt.Figure:
    """A digit and what each layer makes of it.

    Args:
        image: uint8, shape (28, 28).
        layers: by layer, shape (maps, height, width); the first 16 maps are drawn.
    """
    figure = plt.figure(figsize=(11, 1 + 2.6 * len(layers)))
    grid = figure.add_gridspec(2 * len(layers), 11)
    ax = figure.add_subplot(grid[:, :3])
    ax.imshow(image, cmap="gray_r")
    ax.set(title="the image", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    for index, (name, maps) in enumerate(layers.items()):
        for position, values in enumerate(maps[:16]):
            row, column = divmod(position, 8)
            ax = figure.add_subplot(grid[2 * index + row, 3 + column])
            ax.imshow(values, cmap="gray_r")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if position == 0:
                ax.set_title(name, loc="left")
    figure.suptitle(title)
    return figure


def preparation(examples: dict[str, dict[str, np.ndarray]], title: str) -> plt.Figure:
    """The steps from a picture to the network's input: a row for each picture.

    Args:
        examples: by name of the picture, its steps by name: uint8, of any size. The first is shown
            as it is, the others with dark ink.
    """
    steps = list(next(iter(examples.values())))
    figure, axes = plt.subplots(
        len(examples), len(steps), figsize=(WIDTH, 0.5 + 1.6 * len(examples)), squeeze=False
    )
    for row, (name, pictures) in zip(axes, examples.items(), strict=True):
        for ax, (step, picture) in zip(row, pictures.items(), strict=True):
            cmap = "gray" if step == steps[0] else "gray_r"
            ax.imshow(picture, cmap=cmap, vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color="#bbbbbb")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    for ax, step in zip(axes[0], steps, strict=True):
        ax.set_title(step, fontsize=12)
    figure.suptitle(title)
    return figure


def refusal(
    curves: dict[str, np.ndarray],
    digits_refused: np.ndarray,
    chosen: float,
    examples: dict[str, np.ndarray],
    title: str,
) -> plt.Figure:
    """How many non-digits are refused at the price of how many digits; and a few of each.

    Args:
        curves: by kind of non-digit, the share refused (0 to 1) for each of ``digits_refused``.
        digits_refused: share of the real digits refused (0 to 1), rising.
        chosen: the share of digits that the threshold is fixed at.
        examples: by name, images uint8 (any number, 28, 28); the first 10 are drawn.
    """
    figure, (ax, *rows) = plt.subplots(
        1 + len(examples),
        1,
        figsize=(WIDTH, 4.3 + 1.3 * len(examples)),
        height_ratios=[4.3] + [1.3] * len(examples),
    )
    styles = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    for (kind, values), colour, style in zip(curves.items(), COLOURS, styles, strict=True):
        ax.plot(100 * digits_refused, 100 * values, color=colour, lw=2.5, ls=style, label=kind)
    ax.axvline(100 * chosen, color="black", lw=1.5, label="chosen")
    ax.set(xlabel="real digits refused (%)", ylabel="non-digits refused (%)", ylim=(0, 102))
    ax.set_xlim(0, 100 * digits_refused.max())
    ax.grid(alpha=0.3)
    ax.legend(framealpha=1, edgecolor="white", ncols=2, loc="lower right")
    ax.set_title(title)
    for ax, (name, images) in zip(rows, examples.items(), strict=True):
        row = np.zeros((10, 28, 28), np.uint8)
        row[: len(images[:10])] = images[:10]
        ax.imshow(_tile(row[None], 0), cmap="gray_r", vmin=0, vmax=255)
        ax.set_title(name, loc="left", fontsize=12)
        ax.axis("off")
    return figure


def _tile(images: np.ndarray, lines: int) -> np.ma.MaskedArray:
    """Put images (rows, columns, 28, 28) into one picture, each with a blank frame.

    Below each is room for some ``lines`` of text.
    """
    size = ((0, 0), (0, 0), (1, 1 + LINE * lines), (1, 1))
    padded = np.pad(images.astype(float), size, constant_values=np.nan)
    padded = np.ma.masked_invalid(padded)  # blank pixels take no colour
    rows, columns, height, width = padded.shape
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width)


def _finish_table(
    axis: plt.Axes, height: int, row_labels: Sequence[str], captions: Sequence[Sequence[str]]
) -> None:
    """Label the rows of a tiled picture, write captions under its images, drop its frame.

    Rows are ``height`` image pixels apart.
    """
    axis.set_yticks(np.arange(len(row_labels)) * height + 14.5, row_labels)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for row, texts in enumerate(captions):
        for column, text in enumerate(texts):
            x, y = 30 * column + 14.5, height * row + 29.5
            axis.text(x, y, text, ha="center", va="top", fontsize=10)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The settings as text under the names that a legend shows, in the order of their values."""
    table = table.sort_values(["lr", "batch_size"], ascending=[False, True])
    names = {"learning rate": table["lr"].map("{:g}".format)}
    return table.assign(**names, **{"batch size": table["batch_size"].astype(str)})


def _plain_ticks(ax: plt.Axes, values: pd.Series, axis: str = "y") -> None:
    """Label a logarithmic axis with plain numbers: 0.01, 0.02, 0.05, 0.1, ..."""
    steps = [digit * 10.0**power for power in range(-6, 4) for digit in (1, 2, 5)]
    inside = [step for step in steps if values.min() / 1.3 < step < 1.3 * values.max()]
    target = getattr(ax, f"{axis}axis")
    target.set_major_locator(FixedLocator(inside))
    target.set_minor_locator(NullLocator())
    target.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
