"""The committed record: it is of today's code, and the notebooks on it say what it says."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest
from nbclient import NotebookClient

import mlp  # noqa: F401  (networks of the record)
import rnns  # noqa: F401
from conftest import ROOT, copy_of_the_repository
from network import Network
from study import record
from study.code_hash import code_hash

STUDIES = sorted(path.stem for path in (ROOT / record.FOLDER).glob("*.jsonl"))
# Two that are executed from the record within seconds, and have all that the others do with it.
QUICK = ["train", "train_with_rnns"]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("study", STUDIES)
def test_the_record_is_whole_and_of_todays_code(study):
    """Otherwise train again, or, after an edit that changes no number, `make adopt`."""
    lines, problem = record.read(study)
    assert lines and problem == ""
    stale = {
        line.network
        for line in lines.values()
        if line.code != code_hash(Network.known[line.network])
    }
    assert not stale, "make adopt, or train again"


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Everything that a notebook's cells say; identifiers of styled tables are random."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = []
    for output in outputs:
        data = output.get("data", {})
        text = data.get("text/html") or data.get("text/plain", "") or output.get("text", "")
        said.append(re.sub(r"T_[0-9a-f]{5}|0x[0-9a-f]+", "", text))
    return said


@pytest.mark.parametrize("name", QUICK)
def test_executing_a_notebook_from_the_record_changes_no_number(name, tmp_path, monkeypatch):
    """In a copy of its own: other tests may save models."""
    repository = copy_of_the_repository(tmp_path)
    monkeypatch.chdir(repository)
    committed = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    executed = nbformat.read(repository / f"{name}.ipynb", as_version=4)
    NotebookClient(
        executed, coalesce_streams=True, resources={"metadata": {"path": str(repository)}}
    ).execute()
    assert texts(executed) == texts(committed)
    trained = list((repository / "runs" / name).glob("*/model.pt"))
    assert trained == [], "a run was trained that is not on record"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.ipynb")), ids=lambda path: path.stem)
def test_nothing_that_runs_are_judged_on_is_read_before_the_choice_is_kept(path):
    """Before the last ``search.keep``, such a set is loaded, cut, counted and handed over."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    trees = [ast.parse(cell.source) for cell in cells]
    judged = {
        name.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        and node.arg == "judge"
        and isinstance(node.value, ast.Dict)
        for name in node.value.values
        if isinstance(name, ast.Name)
    }
    keeps = [number for number, cell in enumerate(cells) if "search.keep(" in cell.source]
    if not keeps or not judged:
        return
    for tree in trees[: keeps[-1]]:
        allowed = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
                allowed.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len":
                allowed.update(node.args)
            if isinstance(node, ast.keyword) and node.arg == "judge":
                allowed.update(ast.walk(node.value))
        handed_on = {  # a function's own parameter: who calls it with such a set is found below
            argument.arg
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            for argument in node.args.args
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "predictions":
                asked = getattr(node.args[1], "id", None)
                assert asked in handed_on, "predictions are read before the choice is kept"
            if isinstance(node, ast.Name) and node.id in judged and node not in allowed:
                assert isinstance(node.ctx, ast.Store), f"{node.id} is read: {ast.unparse(tree)}"
