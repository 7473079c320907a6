"""The README keeps its promises: its numbers, its code, its recipe, its links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from PIL import Image

from conftest import ROOT
from study import files
from study.tables import result_table

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "experiments/README.md", "data/README.md"]
PAGES += ["docs/api.md", "docs/cluster.md", "docs/scenes.md", "docs/glossary.md"]
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def section(title: str) -> str:
    """The text below a heading of the README, up to the next."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.S | re.M)[1]


def code(text: str, language: str = "python") -> list[str]:
    """The code blocks of a piece of Markdown."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.S | re.M)
    return [textwrap.dedent(block) for block in blocks]


def run(script: str, folder) -> str:
    """What a script prints that is run in a folder of the repository, or of a copy of it."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_is_read_in_five_minutes():
    """1,200 words, besides tables and what notebooks write."""
    written = re.sub(r"<!-- (\S+) -->.*?<!-- /\1 -->", "", README, flags=re.S)
    prose = re.sub(r"^\|.*$", "", written, flags=re.M)
    assert len(prose.split()) <= 1200


def test_has_the_table_of_the_results():
    results = pd.read_csv(ROOT / "results" / "results.csv")
    table = result_table(results).to_markdown(index=False, disable_numparse=True)
    assert f"<!-- results -->\n{table}\n<!-- /results -->" in README


def test_counts_and_lists_every_notebook():
    notebooks = {path.name for path in ROOT.glob("*.ipynb")}
    listed = re.findall(r"^\*\*\[(\d+)\. [^]]*\]\((\w+\.ipynb)\)", section("The study"), re.M)
    assert [int(number) for number, _ in listed] == list(range(1, len(notebooks) + 1))
    assert {name for _, name in listed} == notebooks
    assert f"in {NUMBERS[len(notebooks)]} notebooks" in README


def test_every_command_is_a_target_of_make():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    in_code = " ".join(re.findall(r"```.*?```|`[^`]*`", pages, re.S))
    commands = set(re.findall(r"\bmake ([a-z-]+)\b", in_code))
    assert {"run", "long", "test", "app", "benchmark"} <= commands <= set(targets)


@pytest.mark.parametrize("page", PAGES)
def test_links_exist_and_images_have_alternative_text(page):
    folder, text = (ROOT / page).parent, (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / target).exists(), target
    for alternative, _ in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text):
        assert len(alternative) > 20


def test_the_settings_that_it_changes_are_those_of_a_notebook():
    [line] = code(section("Change a hyperparameter"))
    name = line.split(" = ")[0]
    assert f'"{name} = ' in (ROOT / "train.ipynb").read_text(encoding="utf-8")


def test_reads_your_own_picture(digits, tmp_path):
    """The code as it stands, on a test digit that was saved as a picture, larger and off-centre."""
    [script] = code(section("Read your own picture"))
    ink = np.kron(digits[1].images[0].numpy(), np.ones((4, 4), dtype=np.uint8))
    paper = np.full((300, 200), 255, dtype=np.uint8)
    paper[150:262, 30:142] -= ink
    Image.fromarray(paper).save(tmp_path / "digit.png")
    for name in ("models", "study", "network.py", "mlp.py", "rnns.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert run(script, tmp_path).split() == ["7"]


@pytest.fixture(scope="module")
def own_network(tmp_path_factory):
    """A copy of the repository after the recipe, with one model beside the new one.

    It trains on few images; the test set is whole.
    """
    copy = tmp_path_factory.mktemp("own") / "repository"
    ignore = shutil.ignore_patterns(".*", "runs", "*.png", "*-ubyte", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignore)
    for path in (copy / "models").glob("*.pt"):
        if path.stem != "without_validation":
            path.unlink()
    network, cell = code(section("Add your own network"))
    (copy / "one_layer.py").write_text(network, encoding="utf-8")
    assert cell.count("data.load()[0]") == 1
    run(cell.replace("data.load()[0]", "data.load()[0][:1000]"), copy)

    results = nbformat.read(copy / "results.ipynb", as_version=4)
    [settings] = [c for c in results.cells if "parameters" in c.metadata.get("tags", [])]
    models = 'models = [\n    "without_validation",\n    "one_layer",\n]\n'
    settings.source = re.sub(r"models = \[.*?\]\n", models, settings.source, flags=re.S)
    settings.source = f"import one_layer\n\n{settings.source}"
    nbformat.write(results, copy / "results.ipynb")
    few = {"num_resamples": 100, "num_shuffles": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(copy))
        papermill.execute_notebook(copy / "results.ipynb", None, few, progress_bar=False, cwd=copy)
    return copy


def test_own_network_is_trained_and_has_its_row_in_the_results(own_network):
    assert len(list((own_network / "runs" / "one_layer").iterdir())) == 3
    readme = (own_network / "README.md").read_text(encoding="utf-8")
    rows = re.search(r"<!-- results -->(.*)<!-- /results -->", readme, re.S)
    assert re.search(r"^\| one_layer +\| 7,850 ", rows[1], re.M)
    results = pd.read_csv(own_network / "results" / "results.csv", index_col="model")
    assert results.loc["one_layer", "test accuracy"] > 0.7


def test_own_network_passes_the_tests_of_saved_models(own_network):
    tests = "every_saved_model or as_good_as_published"
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_models.py", "-k", tests]
    done = subprocess.run(command, cwd=own_network, capture_output=True, text=True)
    assert re.search(r"^3 passed", done.stdout, re.M), done.stdout


def test_write_between(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    files.write_between(file, "results", "new")
    assert file.read_text() == "before\n<!-- results -->\nnew\n<!-- /results -->\nafter\n"
    with pytest.raises(ValueError, match="once each"):
        files.write_between(file, "other", "new")
