"""The contract of a notebook, on the committed files; and each one run with tiny settings."""

from __future__ import annotations

import ast
import re

import nbformat
import papermill
import pytest

from conftest import ROOT

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
        "deep_settings": {"lr": 0.003, "batch_size": 32, "width": 4},
        "small_settings": {"lr": 0.003, "batch_size": 32, "width": 2},
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
    "draw_a_digit.ipynb": {
        "num_test_images": 50,
        "num_train_images": 100,
        "num_non_digits": 30,
        "digits_refused": 0.05,
    },
    "results.ipynb": {"num_test_images": 300, "num_train_images": 1000, "num_map_images": 100},
}


def read(name):
    return nbformat.read(ROOT / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


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
    assert (ROOT / name).stat().st_size < 1_500_000
    text = (ROOT / name).read_text()
    assert not re.search(r"/(home|root|Users|tmp)/|C:\\\\", text)


@pytest.mark.parametrize("path", sorted((ROOT / "visualizations").glob("*.png")), ids=str)
def test_figure_is_small(path):
    assert path.stat().st_size < 300_000
