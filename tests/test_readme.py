"""The README keeps its promises: its numbers, its code, its recipe, its links."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import papermill
import pytest
from PIL import Image

from conftest import ROOT
from study.runs import CODE_HASHES
from study.tables import README_ROWS, machine, result_table, write_row

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "experiments/README.md", "data/README.md"]
PAGES += ["docs/api.md", "docs/cluster.md", "docs/scenes.md"]
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
    """1 500 words, besides the tables that commands write."""
    written = re.sub(r"<!-- (\S+) -->.*?<!-- /\1 -->", "", README, flags=re.S)
    assert len(written.split()) <= 1500


def test_has_the_table_of_the_results():
    results = pd.read_csv(ROOT / "visualizations" / "results.csv")
    table = result_table(results.head(README_ROWS)).to_markdown(index=False, disable_numparse=True)
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
    for name in ("models", "study", "network.py", "rnns.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert run(script, tmp_path).split() == ["7"]


def replace_once(path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def own_network(tmp_path_factory):
    """A copy of the repository after steps 1 to 3 of the recipe, trained on a few images."""
    copy = tmp_path_factory.mktemp("own") / "repository"
    ignore = shutil.ignore_patterns(".*", "runs", "tests", "*.png")
    shutil.copytree(ROOT, copy, ignore=ignore)
    network, cell = code(section("Add your own network"))
    module = copy / "network.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n\n" + network, encoding="utf-8")
    replace_once(
        copy / "study" / "weights.py",
        "from network import CNN,",
        "from network import OneLayer, CNN,",
    )
    replace_once(copy / "study" / "weights.py", "*(CNN,", "*(OneLayer, CNN,")
    assert cell.count("data.load()[0]") == 1
    run(cell.replace("data.load()[0]", "data.load()[0][:1000]"), copy)
    return copy


def test_own_network_is_trained_saved_loaded_and_evaluated(own_network):
    """Nor does it throw a kept run of another network away."""
    script = """
import json
from study import data, evaluation, runs, weights
model = weights.load_model("models/one_layer.pt")
accuracy = evaluation.evaluate(model, data.load()[1])[1]
print(json.dumps([type(model).__name__, accuracy, run.CODE_HASHES]))
"""
    name, accuracy, hashes = json.loads(run(script, own_network))
    assert name == "OneLayer"
    assert accuracy > 0.7
    assert len(list((own_network / "runs" / "one_layer").iterdir())) == 3
    assert CODE_HASHES.items() < hashes.items()


def test_own_network_has_its_row_in_the_results(own_network, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(own_network))
    papermill.execute_notebook(
        own_network / "results.ipynb",
        None,
        {"models": ["without_validation", "one_layer"], "num_test_images": 300,
         "num_train_images": 1000, "num_map_images": 100},
        progress_bar=False,
        cwd=own_network,
    )  # fmt: skip
    rows = re.search(
        r"<!-- results -->(.*)<!-- /results -->", (own_network / "README.md").read_text(), re.S
    )
    assert re.search(r"^\| one_layer +\| 7,850 ", rows[1], re.M)


def test_a_row_for_each_machine_is_added_or_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- speed -->\n<!-- /speed -->\nafter\n", encoding="utf-8")
    here = machine()
    assert set(here) == {"processor", "cores", "day"}
    other = here | {"processor": "another", "day": "2026-01-31"}
    write_row(page, "speed", here | {"seconds": "4.10"})
    write_row(page, "speed", other | {"seconds": "2", "note": ""})
    write_row(page, "speed", here | {"seconds": "3.90", "note": "warm"})
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- speed -->\n|") and text.endswith("\nafter\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:-2]]
    assert rows[0] == ["processor", "cores", "day", "seconds", "note"]
    assert rows[2] == [*here.values(), "3.90", "warm"]
    assert rows[3] == [*other.values(), "2", ""]
    assert len(rows) == 4
    with pytest.raises(ValueError, match="<!-- load -->"):
        write_row(page, "load", here)
