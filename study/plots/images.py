"""Images: in tables, with captions and frames, and what was measured on them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from study.plots import style

GAP = 0.07  # between two images, in widths of an image


def image_panels(
    panels: dict[str, Sequence[Sequence[np.ndarray]]],
    *,
    row_labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    framed: Sequence[Sequence[bool]] = (),
    borders: bool = False,
    columns: int = 0,
    title: str = "",
    limits: tuple[float, float] | None = None,
) -> plt.Figure:
    """Draw tables of images side by side, each under its own title.

    Args:
        panels: by title, rows of images of any size, e.g. of shape (rows, columns, 28, 28).
        row_labels: written to the left of the rows of the first panel.
        captions, framed: by rows, the text under each image of a single panel, and whether the
            image has an orange frame.
        borders: draw a thin grey line around each image.
        columns: leave room for this many images in a row.
        limits: values of paper and of ink (the extremes of each panel).
    """
    across, rows = len(panels), max(len(images) for images in panels.values())
    columns = max(columns, *(len(row) for images in panels.values() for row in images))
    labels = [style.wrapped(label, 1.6) for label in row_labels]
    letters = max((len(line) for label in labels for line in label.split("\n")), default=0)
    cell = (style.WIDTH - 0.2 - 0.1 * letters) / (columns * across * (1 + GAP))  # inches
    captions = [[style.wrapped(text, 1.1 * cell, style.SMALL) for text in row] for row in captions]
    lines = max((1 + text.count("\n") for row in captions for text in row), default=0)
    pitch = 1 + GAP + 0.18 * lines / cell
    heading = title or "".join(panels if across == 1 else [])
    figure, axes = style.canvas(across, height=1.6 + 1.2 * cell * pitch * rows, title=heading)
    for ax, (name, images) in zip(axes, panels.items(), strict=True):
        draw_images(ax, images, captions, framed, borders, pitch, limits)
        ax.set_xlim(-GAP, columns * (1 + GAP))
        if name != heading:
            ax.set_title(style.wrapped(name, style.WIDTH / across), loc="left")
    axes[0].set_yticks(np.arange(len(labels)) * pitch + 0.5, labels)
    return style.trim(figure, axes)


def draw_images(
    ax, images, captions=(), framed=(), borders=False, pitch=1 + GAP, limits=None
) -> None:
    """Draw rows of images, ``pitch`` apart, each in a square of side 1."""
    shown = [image for row in images for image in row]
    low, high = limits or (min(map(np.min, shown), default=0), max(map(np.max, shown), default=1))
    for row, column in ((r, c) for r, pictures in enumerate(images) for c in range(len(pictures))):
        image, x, y = images[row][column], column * (1 + GAP) + 0.5, row * pitch + 0.5
        height, width = np.array(image.shape) / max(image.shape) / 2
        extent = (x - width, x + width, y + height, y - height)
        ax.imshow(image, cmap="gray_r", vmin=low, vmax=high, extent=extent)
        marked = len(framed) > 0 and bool(framed[row][column])
        if marked or borders:
            look = {"ec": style.RED if marked else "#bbbbbb", "lw": 1 + 2 * marked, "fill": False}
            ax.add_patch(plt.Rectangle((x - width, y - height), 2 * width, 2 * height, **look))
        if captions:
            look = {"color": style.RED if marked else "black", "fontsize": style.SMALL}
            ax.text(x, y + 0.5 + GAP, captions[row][column], ha="center", va="top", **look)
    ax.set(xlim=(-GAP, 10 * (1 + GAP)), ylim=(len(images) * pitch, -GAP), aspect="equal")
    ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def gallery(
    images: np.ndarray, captions: Sequence[str], title: str, framed=(), columns: int = 10
) -> plt.Figure:
    """Draw images (N, height, width) in reading order, each with a caption, some ``framed``."""
    starts = range(0, max(1, len(images)), columns)
    rows, texts, marks = (
        [values[start : start + columns] for start in starts]
        for values in (images, captions, framed if len(framed) else [False] * len(images))
    )
    return image_panels({title: rows}, captions=texts, framed=marks, columns=columns)


def marked_pictures(
    pictures: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], title: str, columns: int = 4
) -> plt.Figure:
    """Draw pictures under their captions, with maps in colour: ink in orange, middles in blue.

    Args:
        pictures: by caption, grey levels (height, width), 0 to 255, and two maps of the same shape,
            0 to 1.
        columns: pictures per row.
    """
    rows = -(-len(pictures) // columns)
    width = style.WIDTH / columns
    tallest = max(level.shape[0] / level.shape[1] for level, *_ in pictures.values())
    height = 0.5 + (0.6 + width * min(tallest, 1)) * rows
    figure, axes = style.canvas(len(pictures), columns, height=height, title=title)
    colours = [np.array(to_rgb(colour)) for colour in (style.RED, style.BLUE)]
    for ax, (caption, (level, *maps)) in zip(axes, pictures.items(), strict=True):
        shown = np.repeat(0.35 + 0.65 * level[..., None] / 255, 3, axis=-1)
        for colour, share, strength in zip(colours, maps, (0.9, 0.6), strict=True):
            share = strength * share[..., None]
            shown = (1 - share) * shown + share * colour
        ax.imshow(shown.clip(0, 1))
        ax.set(xticks=[], yticks=[])
        ax.set_title(style.wrapped(caption, 0.95 * width, 11), fontsize=11)
        ax.spines[:].set_visible(False)
    return figure


def film_strip(
    image: np.ndarray, label: int, probabilities: dict[str, np.ndarray], title: str
) -> plt.Figure:
    """Draw a digit (28, 28), and for each network the probability (28, 10) of each class by row."""
    widths = [0.57 * len(probabilities)] + [1] * len(probabilities)  # the digit's pixels are square
    options = {"height": 3.8, "title": title, "width_ratios": widths}
    figure, (digit, *strips) = style.canvas(len(widths), **options)
    digit.imshow(image, cmap="gray_r")
    digit.set(title=f"the digit: {label}", ylabel="rows read", xticks=[])
    digit.set_yticks([0, 9, 18, 27], [1, 10, 19, 28])
    for ax, (name, values) in zip(strips, probabilities.items(), strict=True):
        drawn = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        ax.set(title=name, xlabel="class", xticks=range(values.shape[1]), yticks=[])
        ax.tick_params(axis="x", labelsize=style.SMALL)
    figure.colorbar(drawn, ax=strips[-1], label="probability")
    return figure


def ink_position(positions: pd.DataFrame, mean_image: np.ndarray, title: str) -> plt.Figure:
    """Draw the mean image (28, 28) with the box for the ink, all centres of mass, and all sizes, in
    pixels: what ``exploration.ink_positions`` returns.
    """
    figure, axes = style.canvas(3, height=6, title=title)
    ink, centre, size = axes
    ink.imshow(mean_image, cmap="gray_r")
    ink.add_patch(plt.Rectangle((3.5, 3.5), 20, 20, fill=False, color=style.RED, lw=2))
    ink.set(title="mean of all images", xlabel="column (pixels)", ylabel="row (pixels)")
    centre.plot(positions["column"], positions["row"], ",", color=style.BLUE, alpha=0.5)
    centre.plot(13.5, 13.5, "P", color=style.RED, mec="white", ms=13)
    centre.text(13.1, 13.05, "middle of\nthe image", color=style.RED, va="top")
    centre.set(title="centres of mass", xlabel="column (pixels)", ylabel="row (pixels)")
    centre.set(xlim=(13, 15), ylim=(15, 13), aspect=1)
    edges = np.arange(0.5, 29)
    *_, counts = size.hist2d(positions["width"], positions["height"], edges, norm="log")
    size.set(title="size of the ink", xlabel="width (pixels)", ylabel="height (pixels)", aspect=1)
    figure.colorbar(counts, ax=size, label="images", shrink=0.4)
    return style.trim(figure, axes)
