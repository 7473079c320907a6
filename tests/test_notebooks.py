"""The contract of a notebook, on the committed files; and each one run with tiny settings."""

from __future__ import annotations

import ast
import re
import shutil

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import papermill
import pytest

from conftest import ROOT
from study import findings, plots
from study.search import NoneConverged

NOTEBOOKS = sorted(path.name for path in ROOT.glob("*.ipynb"))

EXPLORATION = {
    "num_train_images": 800,
    "num_test_images": 200,
    "num_samples": 3,
    "num_components": 10,
    "num_candidates": 5,
    "num_shifted": 100,
    "num_conflicts": 2,
    "num_mistakes": 2,
}

# Their sentences compare two groups of writers; the first test images are all by one.
COMPARES_GROUPS = ["data_exploration.ipynb", "results.ipynb"]

DIVERGES = 1e12  # a learning rate whose loss ends far above that of guessing, on any processor

# Settings put in place of each notebook's own: everything runs, nothing learns much. Where a search
# has a learning rate that diverges, the notebook goes on with the runs that converged.
TINY = {
    "data_exploration.ipynb": EXPLORATION,
    "train.ipynb": {
        "learning_rates": [DIVERGES, 0.001],
        "batch_sizes": [64],
        "num_epochs": 1,
        "seeds": [0, 1],
        "num_train_images": 600,
        "num_test_images": 200,
    },
    "train_with_validation.ipynb": {
        "learning_rates": [0.01, 0.001],
        "batch_sizes": [64],
        "num_epochs": 1,
        "seeds": [0, 1, 2],
        "num_train_images": 600,
        "num_test_images": 200,
    },
    "train_with_augmentation.ipynb": {
        "strengths": [0, 0.5],
        "deep_settings": {"lr": 0.003, "batch_size": 32, "width": 4},
        "mlp_rates": [0.003, 0.01],
        "size_trials": [
            [3_000, "SeparableCNN", {"width": 3}, 0.01, 0.5],
            [900, "RecursiveCNN", {"width": 6}, 0.01, 0.1],
            [800, "RecursiveCNN", {"width": 6, "pooling": [1, 1]}, 0.01, 0],
        ],
        "size_epochs": [1, 1, 2],
        "short_epochs": 1,
        "long_epochs": 2,
        "step_seeds": [0, 1],
        "final_seeds": [0, 1],
        "numbers": [100, 480],
        "num_steps": 3,
        "few_gru_settings": {"lr": 0.003, "hidden_size": 8},
        "num_suspected": 9,
        "num_train_images": 600,
        "num_test_images": 200,
    },
    "train_with_rnns.ipynb": {
        "hidden_size": 16,
        "num_epochs": {"RNN": 1, "GRU": 2, "LSTM": 1, "BiLSTM": 1},
        "num_train_images": 1500,
        "search_learning_rates": [DIVERGES, 0.01],
        "search_images": 300,
        "search_epochs": 1,
        "seeds": [0, 1],
        "num_test_images": 200,
    },
    "sequences.ipynb": {
        "num_parameters": 25_000,
        "channels": [2, 4],
        "batch_size": 64,
        "learning_rates": [0.003],
        "num_extensions": 1,
        "short_epochs": 1,
        "long_epochs": 1,
        "seeds": [0, 1],
        "num_train_images": 300,
        "num_test_images": 100,
    },
    "robustness.ipynb": {
        "small_settings": {"width": 2, "lr": 0.005, "batch_size": 50},
        "deep_settings": {"lr": 0.003, "batch_size": 50, "width": 3},
        "images_shown": 300,
        "small_epochs": 1,
        "deep_epochs": 1,
        "final_seeds": [0, 1],
        "num_drawn": 12,
        "num_more": 2,
        "num_printed": 5,
        "num_non_digits": 41,
        "num_choice": 42,
        "num_damaged": 20,
        "num_per_kind": 2,
        "num_train_images": 400,
        "num_test_images": 40,
    },
    "draw_a_digit.ipynb": {
        "num_test_images": 30,
        "num_pages": 1,
        "num_scenes": 1,
        "num_non_digits": 3,
    },
    "results.ipynb": {
        "num_test_images": 300,
        "num_hardest": 2,
        "num_resamples": 100,
        "num_shuffles": 10,
    },
}


def read(name):
    return nbformat.read(ROOT / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def assigned(source):
    """The names of the settings in a cell."""
    return {target.id for node in ast.parse(source).body for target in node.targets}


@pytest.fixture
def execute(repository, monkeypatch, trainings):
    """A function that executes a notebook, and its trainings, in this process."""
    monkeypatch.chdir(repository)

    def run(name, settings):
        first, *others = code_cells(read(name))
        values = {}
        with plt.rc_context():
            for source in (first.source, *(cell.source for cell in others)):
                show(source, values)
                if source is first.source:
                    values |= settings
                plt.close("all")

    return run


def show(source, values):
    """Execute a cell, and make what it shows at its end, as Jupyter does."""
    *body, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        body.append(last)
    exec(compile(ast.Module(body, []), "cell", "exec"), values)
    if isinstance(last, ast.Expr):
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), values)
        getattr(shown, "_repr_html_", shown.__repr__)()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_with_tiny_settings(execute, repository, name):
    path, kept = repository / name, repository / "results" / "findings"
    (kept / f"{path.stem}.json").unlink(missing_ok=True)
    execute(name, TINY[name])
    if (kept / f"{path.stem}.md").exists():
        assert (kept / f"{path.stem}.json").exists()
        assert name in COMPARES_GROUPS or findings.sentences(path.stem, kept)


def test_runs_in_jupyter_and_trains_in_processes_of_its_own(repository):
    name = "train.ipynb"
    settings = TINY[name] | {"runs_dir": "runs of Jupyter"}
    papermill.execute_notebook(
        repository / name, repository / f"tiny-{name}", settings, progress_bar=False, cwd=repository
    )
    assert list((repository / "runs of Jupyter").glob("train/*/model.pt"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("train.ipynb", {"learning_rates": [DIVERGES], "batch_sizes": [600]}),  # in its only step
        ("train_with_validation.ipynb", {"learning_rates": [DIVERGES]}),
        ("train_with_rnns.ipynb", {"search_learning_rates": [DIVERGES]}),
        ("sequences.ipynb", {"learning_rates": [DIVERGES]}),
    ],
)
def test_says_that_no_run_converged(execute, name, settings):
    with pytest.raises(NoneConverged, match="Lower the learning rates in the settings cell"):
        execute(name, TINY[name] | settings)


def test_validation_needs_no_second_run_that_converged(execute):
    name = "train_with_validation.ipynb"
    execute(name, TINY[name] | {"learning_rates": [DIVERGES, 0.001]})


def test_exploration_runs_at_the_limits_of_its_settings(execute):
    limits = {"num_components": 100, "num_samples": 5, "num_candidates": 1, "knn_neighbours": 100}
    smallest = {"num_train_images": 100, "num_test_images": 50, "shifts": [1]}
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
    results = pd.read_csv(repository / "results" / "results.csv")
    assert list(results["model"]) == ["support vector machine", *names]
    readme = (repository / "README.md").read_text(encoding="utf-8")
    table = readme.partition("<!-- results -->\n")[2].partition("\n<!-- /results -->")[0]
    shown = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    assert shown == ["support vector machine", *names][:14]


def test_results_are_written_only_where_everything_ran(execute, repository, monkeypatch):
    paths = [repository / "README.md", repository / "results" / "results.csv"]
    before = [path.read_bytes() for path in paths]
    monkeypatch.setattr(plots, "forest", None)
    with pytest.raises(TypeError):
        execute("results.ipynb", TINY["results.ipynb"] | {"models": ["small_25k"]})
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_are_short_and_imports_in_one(name):
    _, imports, *others = code_cells(read(name))
    assert "import " in imports.source
    for cell in others:
        assert len(cell.source.splitlines()) <= 15, cell.source
        assert not re.search(r"^(from|import) |fmt:", cell.source, re.M), cell.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_setting_is_used(name):
    """A misspelt setting is one that no later cell mentions."""
    settings, *others = code_cells(read(name))
    nodes = [node for cell in others for node in ast.walk(ast.parse(cell.source))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert assigned(settings.source) <= used
    assert set(TINY[name]) <= assigned(settings.source)


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
    assert first.source.splitlines()[0].endswith("?")
    assert len(notebook.cells) <= 45  # a reader gives up on more
    assert last.cell_type == "markdown" and last.source.startswith("## What we saw")
    tagged = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert tagged == code_cells(notebook)[:1]
    for line in filter(None, tagged[0].source.splitlines()):
        assert re.match(r"\w+ = .*#|[ \])}]", line), f"not a setting with its comment: {line}"


MARKED = r"<!-- (answer|findings) -->.*?<!-- /\1 -->"
NUMBER = r"\d{1,3}(?:[ ,]\d{3})+(?!\d)|\d+(?:\.\d+)?"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_prose_states_results_between_markers(name):
    """A result changes when a cell is run again; other text does not."""
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            text = re.sub(rf"{MARKED}|<details>.*?</details>", "", cell.source, flags=re.S)
            assert not re.search(r"\d+\.\d+ ?%|99\.\d", text), cell.source


def numbers(text):
    """The numbers of a text, without the spaces or commas between their thousands."""
    return [re.sub("[ ,]", "", found) for found in re.findall(NUMBER, text)]


@pytest.mark.parametrize(
    "name",
    ["data_exploration.ipynb", "train_with_rnns.ipynb", "sequences.ipynb", "results.ipynb"],
)
def test_results_in_prose_are_those_of_the_cells(name):
    """Each number between markers stands in an output of the notebook, perhaps with more digits."""
    notebook = read(name)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    texts = [o.get("text", "") or o.get("data", {}).get("text/html", "") for o in outputs]
    shown = numbers(re.sub("<[^>]*>", " ", "\n".join(texts)))
    for cell in notebook.cells:
        for marked in re.finditer(MARKED, cell.source, re.S):
            for number in numbers(marked[0]):
                digits = len(number.partition(".")[2])
                assert float(number) in {round(float(other), digits) for other in shown}, number


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_small_and_names_no_local_path(name):
    assert (ROOT / name).stat().st_size < 1_200_000
    text = (ROOT / name).read_text()
    assert not re.search(r"/(home|root|Users|tmp)/|C:\\\\", text)


@pytest.mark.parametrize("path", sorted((ROOT / "visualizations").glob("*.png")), ids=str)
def test_figure_is_small(path):
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_lead_to_files_and_entries_of_the_glossary(name):
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", glossary, re.M)
    entries = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    for target, entry in re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", text):
        assert (ROOT / target).exists(), target
        if entry:
            assert target == "docs/glossary.md" and entry in entries, entry
