"""The contract of a notebook, on the committed files; and each one run with tiny settings."""

from __future__ import annotations

import ast
import math
import re
import shutil

import joblib
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import papermill
import pytest

from conftest import ROOT
from study import plots
from study.search import NoneConverged

NOTEBOOKS = sorted(path.name for path in ROOT.glob("*.ipynb"))

EXPLORATION = {
    "num_train_images": 800,
    "num_test_images": 200,
    "num_samples": 3,
    "num_extremes": 2,
    "num_close_neighbours": 3,
    "num_components": 10,
    "num_map_images": 100,
    "tsne_perplexity": 10,
    "tsne_iterations": 250,
    "num_candidates": 5,
    "num_shifted": 100,
    "num_conflicts": 2,
    "num_mistakes": 2,
}

# Settings put in place of each notebook's own: everything runs, nothing learns much.
TINY = {
    "data_exploration.ipynb": EXPLORATION,
    "train.ipynb": {
        "learning_rates": [0.01, 0.001],
        "batch_sizes": [64],
        "num_epochs": 1,
        "num_train_images": 600,
        "num_test_images": 200,
    },
    "train_with_validation.ipynb": {
        "learning_rates": [0.01, 0.001],
        "batch_sizes": [64],
        "num_epochs": 1,
        "seeds": [0, 1],
        "num_train_images": 600,
        "num_test_images": 200,
    },
    "train_with_augmentation.ipynb": {
        "strengths": [0.5],
        "elastics": [0.0, 0.5],
        "trial_rates": [0.01],
        "trial_decays": [0.0, 0.01],
        "num_suspected": 9,
        "deep_settings": {"lr": 0.003, "batch_size": 32, "width": 4},
        "small_settings": {"lr": 0.003, "batch_size": 32, "width": 2},
        "size_trials": [
            [3_000, "SeparableCNN", {"width": 3}, 0.01, 0.5],
            [900, "RecursiveCNN", {"width": 6}, 0.01, 0.1],
            [800, "RecursiveCNN", {"width": 6, "pooling": [1, 1]}, 0.01, 0],
        ],
        "size_epochs": [1, 1, 2],
        "trial_epochs": 1,
        "batch_size": 32,
        "distilled_size": 900,
        "num_views": 1,
        "ema_decay": 0.5,
        "short_epochs": 1,
        "long_epochs": 1,
        "step_seeds": [0, 1],
        "final_seeds": [0, 1],
        "num_train_images": 600,
        "num_test_images": 200,
    },
    "train_with_rnns.ipynb": {
        "hidden_size": 16,
        "num_epochs": {"RNN": 1, "GRU": 2, "LSTM": 1, "BiLSTM": 1},
        "num_train_images": 1500,
        "search_learning_rates": [0.01],
        "search_images": 300,
        "search_epochs": 1,
        "num_film_strips": 1,
    },
    "sequences.ipynb": {
        "num_parameters": 25_000,
        "channels": [2, 4],
        "batch_size": 64,
        "search_learning_rates": [0.003],
        "search_epochs": 1,
        "long_epochs": 1,
        "best_epochs": 1,
        "seeds": [0, 1],
        "num_train_images": 600,
        "num_test_images": 200,
        "num_film_strips": 1,
    },
    "robustness.ipynb": {
        "candidates": {
            "deeper": ["wide, dropout", "wide, cutout, varied, top-hat"],
            "small": ["wide, strong pens, cutout, top-hat"],
        },
        "deep_settings": {"lr": 0.003, "batch_size": 64, "width": 4},
        "small_settings": {"lr": 0.003, "batch_size": 64, "width": 2},
        "search_epochs": 1,
        "deep_epochs": 1,
        "small_epochs": 1,
        "final_seeds": [0, 1],
        "short_candidate": "wide",
        "short_epochs": 1,
        "short_images": 100,
        "num_drawn_digits": 60,
        "num_printed_digits": 60,
        "num_non_digits": 60,
        "num_choice_drawn": 30,
        "num_choice_printed": 30,
        "num_choice_non_digits": 30,
        "num_damaged": 20,
        "num_per_kind": 2,
        "num_more": 3,
        "num_shown": 5,
        "models": ["cnn_with_augmentation", "small_25k"],
        "num_train_images": 600,
        "num_test_images": 50,
    },
    "draw_a_digit.ipynb": {
        "num_test_images": 50,
        "num_train_images": 100,
        "num_drawn_digits": 50,
        "num_non_digits": 4,
        "num_shown": 3,
        "digits_refused": 0.05,
    },
    "results.ipynb": {
        "num_test_images": 300,
        "num_train_images": 1000,
        "num_map_images": 100,
        "num_hardest": 2,
        "num_resamples": 100,
    },
}


def read(name):
    return nbformat.read(ROOT / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def settings_of(name):
    """The committed settings of a notebook, by name."""
    settings = {}
    exec(code_cells(read(name))[0].source, {}, settings)
    return settings


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_with_tiny_settings(name, repository, monkeypatch):
    monkeypatch.chdir(repository)
    papermill.execute_notebook(
        repository / name,
        repository / f"tiny-{name}",
        TINY[name],
        progress_bar=False,
        cwd=repository,
    )


@pytest.fixture
def execute(repository, monkeypatch):
    """A function that executes a notebook in this process, as quickly as possible."""
    monkeypatch.chdir(repository)
    monkeypatch.setattr(joblib, "cpu_count", lambda **_: 1)  # no other processes

    def run(name, settings):
        first, *others = code_cells(read(name))
        values = {}
        with plt.rc_context():
            for source in (first.source, *(cell.source for cell in others)):
                exec(source, values)
                if source is first.source:
                    values |= settings
                plt.close("all")

    return run


@pytest.mark.parametrize("rate", [1e12, 1e30])
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("train.ipynb", "learning_rates"),
        ("train_with_validation.ipynb", "learning_rates"),
        ("train_with_rnns.ipynb", "search_learning_rates"),
        ("sequences.ipynb", "search_learning_rates"),
    ],
)
def test_says_that_no_run_converged(execute, name, setting, rate):
    with pytest.raises(NoneConverged, match="Lower the learning rates in the settings cell"):
        execute(name, TINY[name] | {setting: [rate]})


def test_says_so_where_only_the_last_step_diverged(execute):
    settings = {"learning_rates": [1e12], "batch_sizes": [600]}  # one step
    with pytest.raises(NoneConverged):
        execute("train.ipynb", TINY["train.ipynb"] | settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("train.ipynb", {"learning_rates": [1e12, 0.001]}),
        ("train_with_validation.ipynb", {"learning_rates": [1e12, 0.001]}),
        ("train_with_rnns.ipynb", {"search_learning_rates": [1e12, 0.01], "num_epochs": 1}),
    ],
)
def test_goes_on_with_the_runs_that_converged(execute, name, settings):
    execute(name, TINY[name] | settings)


def test_exploration_runs_at_the_limits_of_its_settings(execute):
    limits = {"num_components": 100, "num_close_neighbours": 4, "num_samples": 5}
    limits |= {"num_extremes": 5, "num_candidates": 1, "knn_neighbours": 100}
    smallest = {"num_train_images": 100, "num_test_images": 50, "num_map_images": 50}
    smallest |= {"tsne_perplexity": 16, "tsne_iterations": 250, "shifts": [1]}
    execute("data_exploration.ipynb", limits | smallest)


@pytest.fixture
def own_models(repository):
    """Names of fifteen more files in the models folder of the copy."""
    files = [repository / "models" / f"mine{index}.pt" for index in range(15)]
    for file in files:
        shutil.copy(repository / "models" / "small_25k.pt", file)
    yield [file.stem for file in files]
    for file in files:
        file.unlink()


@pytest.mark.parametrize(
    ("models", "num_own", "names"),
    [
        (["rnn"], 0, ["RNN"]),
        (["with_validation"], 1, ["CNN, with validation", "mine0"]),
        ([], 15, [f"mine{index}" for index in range(15)]),
    ],
)
def test_results_cope_with_any_models(execute, repository, own_models, models, num_own, names):
    settings = {"models": models + own_models[:num_own], "num_test_images": 50}
    execute("results.ipynb", TINY["results.ipynb"] | settings)
    results = pd.read_csv(repository / "visualizations" / "results.csv")
    assert list(results["model"]) == names
    readme = (repository / "README.md").read_text(encoding="utf-8")
    table = readme.partition("<!-- results -->\n")[2].partition("\n<!-- /results -->")[0]
    shown = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    assert shown == names[:14]


def test_results_are_written_only_where_everything_ran(execute, repository, monkeypatch):
    paths = [repository / "README.md", repository / "visualizations" / "results.csv"]
    before = [path.read_bytes() for path in paths]
    monkeypatch.setattr(plots, "reliability", None)
    with pytest.raises(TypeError):
        execute("results.ipynb", TINY["results.ipynb"] | {"models": ["small_25k"]})
    assert [path.read_bytes() for path in paths] == before


def test_results_without_writers_differ_in_nothing_else(
    execute, repository, qmnist, no_network, capsys
):
    """The same table with the writers and without; only what is about writers is left out."""
    settings = TINY["results.ipynb"] | {"models": ["small_25k"]}
    figures = repository / "visualizations"
    kept = [figures / "results.csv", repository / "README.md", figures / "mistakes.png"]
    hardest = figures / "hardest_writers.png"
    written = {}
    for known in (True, False):
        hardest.unlink(missing_ok=True)
        execute("results.ipynb", settings)
        written[known] = [path.read_bytes() for path in kept]
        said = capsys.readouterr().out
        assert hardest.exists() is known
        assert ("is missing in" not in said) is known
        assert ("wrong answers fall to" in said) is known
        shutil.rmtree(repository / "data" / "QMNIST")
        shutil.rmtree(qmnist)
        (repository / "data" / "QMNIST").mkdir()
        qmnist.mkdir()
    assert written[True] == written[False]


def wrong_values(name, value):
    """Values of all kinds that no setting like this one can have."""
    if isinstance(value, bool):
        return [None, 1, "yes"]
    if isinstance(value, str):
        return ["", None, 3, [value]]
    if isinstance(value, list):
        return [[], None, value[0], [*value, value[0]], [*value[:-1], -1], [*value[:-1], None]]
    if isinstance(value, dict):
        return [{}, None, -1, "x", value | {"unknown": 1}, value | {next(iter(value)): -1}]
    may_be_zero = "seed" in name or name in ("dropout", "weight_decay")
    zero = [] if may_be_zero else [0]
    return [*zero, -10, str(value), None, [value], math.nan, math.inf, True]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_setting_has_a_rule_and_is_refused_by_its_name(name):
    settings = settings_of(name)
    assert set(settings) <= set(knobs.RULES)
    knobs.check(settings)
    knobs.check(settings | TINY[name])
    for setting, value in settings.items():
        for wrong in wrong_values(setting, value):
            with pytest.raises(ValueError, match=f"^{setting} must "):
                knobs.check(settings | {setting: wrong})


@pytest.mark.parametrize(
    ("name", "settings", "blamed"),
    [
        ("train.ipynb", {"num_train_images": 500, "batch_sizes": [256, 512]}, "batch_sizes"),
        ("train_with_validation.ipynb", {"num_train_images": 600}, "batch_sizes"),
        ("train_with_validation.ipynb", {"valid_fraction": 0.0001}, "valid_fraction"),
        ("train_with_validation.ipynb", {"valid_fraction": 0.9999}, "valid_fraction"),
        ("train_with_augmentation.ipynb", {"num_train_images": 200}, "cnn_settings"),
        ("train_with_augmentation.ipynb", {"size_epochs": [1, 2]}, "size_epochs"),
        ("train_with_augmentation.ipynb", {"distilled_size": 999}, "distilled_size"),
        (
            "train_with_augmentation.ipynb",
            {"size_trials": [(900, "RecursiveCNN", {"wdth": 3}, 0.01, 0.5)]},
            "size_trials",
        ),
        ("train_with_rnns.ipynb", {"search_images": 100}, "batch_size"),
        ("sequences.ipynb", {"num_train_images": 100}, "batch_size"),
        ("data_exploration.ipynb", {"num_train_images": 200}, "num_samples"),
        ("data_exploration.ipynb", {"num_map_images": 80}, "tsne_perplexity"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(name, settings, blamed):
    with pytest.raises(ValueError, match=f"^{blamed} must "):
        knobs.check(settings_of(name) | settings)


def test_settings_of_a_dict_are_refused_by_their_name():
    settings = {"lr": 0.01, "batch_size": 64}
    for wrong in ({"lr": -1}, {"batch_size": "64"}, {"weight_decay": None}, {"wdth": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            knobs.check({"deep_settings": settings | wrong})


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_checks_its_settings_before_it_reads_data(name):
    source = "\n".join(cell.source for cell in code_cells(read(name)))
    assert "knobs.check(globals())" in source.partition("load(")[0]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_are_short(name):
    for cell in code_cells(read(name))[1:]:
        assert len(cell.source.splitlines()) <= 12, cell.source
        assert "fmt:" not in cell.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_committed_executed_in_order(name):
    notebook = read(name)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_shows_neither_error_nor_warning_nor_widget(name):
    notebook = read(name)
    assert "widgets" not in notebook.metadata
    for output in (output for cell in code_cells(notebook) for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
        assert "Warning" not in text
        assert "widget" not in str(list(output.get("data", {})))
        # A progress bar that is finished leaves one line.
        assert "\r" not in text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_form(name):
    notebook = read(name)
    first, *_, last = notebook.cells
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert "**Question.**" in first.source
    assert last.cell_type == "markdown" and last.source.startswith("## What we saw")
    tagged = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert tagged == code_cells(notebook)[:1]
    for line in filter(None, tagged[0].source.splitlines()):
        assert re.match(r"\w+ = .*#|[ \])}]", line), f"not a setting with its comment: {line}"
    settings = {target.id for node in ast.parse(tagged[0].source).body for target in node.targets}
    assert set(TINY[name]) <= settings


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_prose_states_no_result(name):
    """A result changes when a cell is run again; text does not."""
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+\.\d+ ?%|99\.\d", cell.source), cell.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_small_and_names_no_local_path(name):
    assert (ROOT / name).stat().st_size < 1_200_000
    text = (ROOT / name).read_text()
    assert not re.search(r"/(home|root|Users|tmp)/|C:\\\\", text)


@pytest.mark.parametrize("path", sorted((ROOT / "visualizations").glob("*.png")), ids=str)
def test_figure_is_small(path):
    assert path.stat().st_size < 300_000
