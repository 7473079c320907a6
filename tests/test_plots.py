"""Every figure draws from small made data, with all its text inside the canvas and readable."""

import importlib
import itertools
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from study import plots

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 28, 28), np.uint8)
LONG = "A title that says what was found, and that is much too long for one line of any figure here"
MODELS = [
    "CNN",
    "CNN, with validation",
    "CNN, augmented",
    "deeper CNN, augmented",
    "ensemble of five",
    "small CNN, 25k",
    "RNN",
    "GRU",
    "LSTM",
    "BiLSTM",
]
TWENTY = MODELS + [f"{name}, distilled" for name in MODELS]


def runs(num_epochs=1):
    """A grid of five learning rates and two batch sizes, with a history of each run."""
    grid = itertools.product((0.001, 0.003, 0.01, 0.03, 0.1), (256, 512), range(1, num_epochs + 1))
    table = pd.DataFrame(grid, columns=["lr", "batch_size", "epoch"])
    for column in ("train_loss", "valid_loss", "gradient_norm"):
        table[column] = 0.02 + RNG.random(len(table)) / table["epoch"]
    for column in ("train_accuracy", "valid_accuracy", "test_accuracy"):
        table[column] = 0.99 + 0.01 * RNG.random(len(table))
    return table


def error_by_size():
    points = pd.DataFrame({"parameters": [901, 997, 4_862, 24_314], "error": [1.2, 1.24, 0.9, 0.4]})
    points = points.assign(low=0.9 * points["error"], high=1.1 * points["error"])
    points["name"] = ["ours, 1k", "published, 1k", "published, 5k", "ours, 25k"]
    points["kind"] = ["mean of seeds", "mean of seeds", "picked on the test set", "mean of seeds"]
    points["joined"] = [True, False, False, True]
    yield plots.error_by_size(points, LONG)
    yield plots.error_by_size(points.iloc[:1], "One")


def paired_dots():
    errors = pd.DataFrame(
        {"employees": 0.1 + RNG.random(20), "students": 0.4 + RNG.random(20)}, TWENTY
    )
    yield plots.paired_dots(errors, "test error (%, log scale)", LONG)
    errors.iloc[1:3, 0] = 0
    yield plots.paired_dots(errors.head(3), "test error (%, log scale)", "Three")
    yield plots.paired_dots(0.01 * errors.head(1), "test error (%, log scale)", "One")


def forest():
    table = pd.DataFrame({"mean": RNG.normal(5, 5, 20)}, TWENTY)
    table = table.assign(low=table["mean"] - 4, high=table["mean"] + 3)
    table["real"] = table["low"] > 0
    label = "more errors than the first one\nin 10,000 images, 95% interval by writers"
    yield plots.forest(table, label, LONG, "adjusted p below 0.05", "0.05 or more")
    yield plots.forest(table.head(1), label, "One", "real", "perhaps not")


def image_panels():
    table = IMAGES.reshape(4, 10, 28, 28)
    yield plots.image_panels({"ten of each": table, "strangest": table}, row_labels=list("0123"))
    captions = [["0.5\nread as 8"] * 10] * 4
    yield plots.image_panels({LONG: table}, captions=captions, row_labels=["shift (pixels)"] * 4)
    steps = [[IMAGES[0], IMAGES[0][:9, :], IMAGES[0][:, :9]]]
    yield plots.image_panels(
        {"steps": steps}, borders=True, captions=[["picture", "ink found", "cropped"]]
    )


def marked_pictures():
    level = RNG.uniform(0, 255, (40, 60))
    maps = RNG.uniform(0, 1, (2, 40, 60))
    pictures = {f"a photo of a sheet {number}, read as 123": (level, *maps) for number in range(7)}
    yield plots.marked_pictures(pictures, LONG)
    yield plots.marked_pictures({"one": (level.T, *maps.transpose(0, 2, 1))}, "One", columns=1)


def finder_training():
    shares = np.linspace(0.1, 0.95, 8)
    columns = {
        "pages": np.arange(1, 9) * 5000,
        "overlap": shares,
        "found": shares,
        "false": 1 - shares,
    }
    yield plots.finder_training(pd.DataFrame(columns), LONG)


def gallery():
    wrong = np.arange(40) % 3 == 0
    captions = [f"9\nnot {i % 10}" if wrong[i] else "7" for i in range(40)]
    yield plots.gallery(IMAGES, captions, LONG, framed=wrong, columns=20)
    yield plots.gallery(IMAGES[:3], ["9 not 4, 100%\n8 of 9 right"] * 3, "Three mistakes")
    yield plots.gallery(IMAGES[:0], [], "No mistake")


def ink_position():
    table = pd.DataFrame(RNG.random((50, 2)) + 13.5, columns=["row", "column"])
    table[["height", "width"]] = RNG.integers(5, 21, (50, 2))
    return plots.ink_position(table, IMAGES[0] / 255, LONG)


def by_seed():
    table = pd.DataFrame(itertools.product(TWENTY, range(3)), columns=["step", "seed"])
    table["error"] = RNG.random(len(table))
    yield plots.by_seed(table, "step", "error", "error on 12000 images (%)", LONG)
    two = table[table["step"].isin(TWENTY[:2])]
    yield plots.by_seed(two, "step", "error", "error (%)", "Two", joined="seed")


def by_setting():
    rate, loss = ("lr", "learning rate (log scale)"), ("train_loss", "loss (nats, log scale)")
    table = runs().assign(size=lambda table: "batch size " + table["batch_size"].astype(str))
    yield plots.by_setting(table, rate, loss, "size", LONG)
    lost = table.assign(train_loss=[np.inf, np.nan] + [0.3] * 8)
    yield plots.by_setting(lost, rate, loss, "size", "Two lost")
    yield plots.by_setting(lost[:2], rate, loss, "size", "All diverged")
    grid = itertools.product(["CNN", "CNN, distorted", "support\nvectors"], (0, 0.5, 2), "ab")
    seeds = pd.DataFrame(grid, columns=["name", "strength", "seed"])
    seeds["error"] = 1 + 0.3 * (2 - seeds["strength"]) * RNG.random(len(seeds))  # the same end
    yield plots.by_setting(seeds, ("strength", "strength"), ("error", "error (%)"), "name", "Three")


def hindsight():
    table, loss = runs(), ("train_loss", "final training loss (nats, log scale)")
    table["test_errors"] = RNG.integers(50, 90, len(table))
    yield plots.hindsight(table, 3, table[:2], loss, LONG, 10_000)
    yield plots.hindsight(table, 3, table[:0], loss, "No other seed", 10_000)


def distance_histograms():
    names = ("training image to its nearest other training image", "test image", "shifted")
    return plots.distance_histograms({name: RNG.random(90) for name in names}, 0.2, LONG)


def row_reader():
    yield plots.row_reader(IMAGES[0], [1, 10, 11, 28], "256 numbers", LONG)
    yield plots.row_reader(IMAGES[0], [1, 2], "a matrix of 16 x 16 numbers", "Two")


def tensor_shapes():
    first, second = (1, 28, 28), (16, 14, 14)
    steps = [("an image", first), ("5x5 convolution, batch norm, pooling, ReLU", second)]
    steps += [("5x5 convolution, batch norm, pooling, ReLU", (32, 7, 7)), ("flatten", (1568,))]
    yield plots.tensor_shapes([*steps, ("linear layer, ReLU", (256,)), ("linear", (10,))], LONG)
    yield plots.tensor_shapes([("an image", first), ("linear layer", (10,))], "One layer")


def film_strip():
    strips = {name: RNG.random((28, 10)) for name in ("RNN", "GRU", "LSTM")}
    return plots.film_strip(IMAGES[0], 7, strips, LONG)


def waterfall():
    seconds = {"the usual loop": 75.6, "images in memory": 44, "channels last": 47.9, "batch": 4.4}
    return plots.waterfall(pd.Series(seconds), LONG)


def dots_by_row():
    rows, series = [f"7 with a serif, crossed {row}" for row in range(8)], ["robust CNN", "RNN"]
    points = [
        {"row": row, "series": name, "panel": panel, "value": RNG.random()}
        for row in rows
        for name in series
        for panel in ("background", "like augmentation")
        for _ in range(3)
    ]
    table = pd.DataFrame(points)
    table.loc[0, "value"] = 0
    yield plots.dots_by_row(table, "error (%, log scale)", LONG)
    yield plots.dots_by_row(table[["row", "value"]], "error (%)", "Three")


EXAMPLES = {
    "accuracy_by_row": lambda: plots.accuracy_by_row(
        {name: RNG.random(28) for name in ("RNN", "GRU", "LSTM")}, LONG
    ),
    "by_seed": by_seed,
    "by_setting": by_setting,
    "distance_histograms": distance_histograms,
    "dots_by_row": dots_by_row,
    "error_by_size": error_by_size,
    "film_strip": film_strip,
    "finder_training": finder_training,
    "forest": forest,
    "gallery": gallery,
    "hindsight": hindsight,
    "image_panels": image_panels,
    "ink_position": ink_position,
    "marked_pictures": marked_pictures,
    "paired_dots": paired_dots,
    "row_reader": row_reader,
    "tensor_shapes": tensor_shapes,
    "waterfall": waterfall,
}


def texts(figure):
    """All text that the figure shows; of the ticks, the labels within the axes' limits."""
    hidden = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist not in hidden)
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def corners(text):
    """The four corners of a text in pixels, one pixel within its edges."""
    angle, rotated = text.get_rotation(), text.get_rotation() % 90 != 0
    if rotated:  # its own rectangle, not the upright one around it
        assert text.get_rotation_mode() == "anchor"
        text.set_rotation(0)
    box = Text.get_window_extent(text)
    text.set_rotation(angle)
    box = box.padded(-1).corners()
    if not rotated:
        return box
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    anchor = text.get_transform().transform(text.get_position())
    return anchor + (box - anchor) @ np.array([[cosine, sine], [-sine, cosine]])


def overlap(first, second):
    """Whether two rectangles overlap: no side of either separates them."""
    for box in (first, second):
        for edge in (box[1] - box[0], box[2] - box[0]):
            a, b = first @ edge, second @ edge
            if a.max() <= b.min() or b.max() <= a.min():
                return False
    return True


def faults(figure):
    """What cannot be read in a figure: text that is cut, overlapped, or smaller than 9 points."""
    figure.canvas.draw()
    shown = [(text.get_text(), corners(text)) for text in texts(figure)]
    width, height = figure.canvas.get_width_height()
    found = [f"smaller than 9 points: {t.get_text()}" for t in texts(figure) if t.get_size() < 9]
    found += [
        f"outside the canvas: {name}"
        for name, box in shown
        if (box < -1).any() or (box > (width + 1, height + 1)).any()
    ]
    found += [
        f"overlapping: {a} and {b}"
        for (a, first), (b, second) in itertools.combinations(shown, 2)
        if overlap(first, second)
    ]
    return found


@pytest.fixture(autouse=True)
def style():
    with plt.style.context("study.plots.paper"):
        yield
    plt.close("all")


@pytest.mark.filterwarnings("error")  # Matplotlib warns if there is no room for the axes
@pytest.mark.parametrize("name", sorted(set(plots.__all__) - {"save"}))
def test_every_figure_can_be_read_and_saved(name, tmp_path):
    assert name in EXAMPLES, f"plots.{name} needs an example"
    figures = EXAMPLES[name]()
    for figure in [figures] if isinstance(figures, plt.Figure) else figures:
        plots.save(figure, name, tmp_path / "new folder")
        picture = plt.imread(tmp_path / "new folder" / f"{name}.png")
        assert picture.shape[1] == 945  # 9 inches: at GitHub's width a point is a point
        assert faults(figure) == []


@pytest.mark.parametrize("error", [0.12, 0.25, 0.6, 1.2, 4, 6, 8.5, 12, 14, 25, 40, 60, 80])
def test_one_network_alone_has_a_labelled_error_beside_it(error):
    row = {"name": ["it"], "kind": ["ours"], "parameters": [1000], "low": [error]}
    points = pd.DataFrame(row | {"error": [error], "high": [error], "joined": [False]})
    (ax,) = plots.error_by_size(points, "One").axes
    bottom, top = ax.get_ylim()
    assert any(bottom <= tick <= top for tick in ax.get_yticks())


def test_unreadable_text_is_found():
    figure, ax = plt.subplots()
    ax.text(0.2, 0.5, "one text")
    ax.text(0.2, 0.51, "another")
    ax.text(0.5, 0.2, "tiny", fontsize=6)
    ax.annotate("gone", (2, 0.1), annotation_clip=False)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.001], ["first tick", "second tick"])
    assert sorted(faults(figure)) == [
        "outside the canvas: gone",
        "overlapping: first tick and second tick",
        "overlapping: one text and another",
        "smaller than 9 points: tiny",
    ]


def test_rotated_texts_are_judged_by_their_own_rectangles():
    figure, ax = plt.subplots()
    style = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    names = [ax.text(x, 0.5, "a name of some length", **style) for x in (0.5, 0.6)]
    assert faults(figure) == []
    names[1].set_x(0.51)
    assert faults(figure) == ["overlapping: a name of some length and a name of some length"]


def test_importing_the_figures_sets_no_style():
    with plt.rc_context():
        plt.rcdefaults()
        before = dict(plt.rcParams)
        for name in [name for name in sys.modules if name.startswith("study.plots.")]:
            importlib.reload(sys.modules[name])
        assert dict(plt.rcParams) == before
