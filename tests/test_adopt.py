"""Adopting the record: after an edit that changes no number, and only then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from experiments import adopt

SEARCH = """
from network import CNN
from rnns import RNN
from study import data, search

train, _ = data.load()
shared = {"study": "few", "lr": 0.001, "batch_size": 64, "num_epochs": 1, "tensorboard": False}
grids = {
    "plain": {"network": CNN},
    "clipped": {"network": RNN, "hidden_size": 8, "clip_norm": 0.01, "seed": [0, 1]},
}
search.search(grids, train[:200], **shared)
"""


def run(tree: Path, *command: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=tree, env=os.environ | variables, capture_output=True, text=True
    )


def commit(tree: Path) -> None:
    author = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    run(tree, "git", "add", "-A").check_returncode()
    run(tree, "git", *author, "commit", "-qm", "an edit").check_returncode()


def edit(tree: Path, name: str, old: str, new: str) -> None:
    text = (tree / name).read_text()
    assert old in text
    (tree / name).write_text(text.replace(old, new))


def codes(tree: Path) -> list[str]:
    lines = (tree / "results/runs/few.jsonl").read_text().splitlines()
    return [json.loads(line)["code"] for line in lines]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A repository whose record has runs of two networks."""
    tree = tmp_path_factory.mktemp("recorded") / "repository"
    (tree / "data/MNIST/raw").mkdir(parents=True)
    for archive in (ROOT / "data/MNIST/raw").glob("*.gz"):
        shutil.copy(archive, tree / "data/MNIST/raw")
    for name in ("network.py", "mlp.py", "rnns.py", ".gitignore"):
        shutil.copy(ROOT / name, tree)
    for name in ("study", "experiments"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(tree, "git", "init", "-q").check_returncode()
    done = run(tree, sys.executable, "-c", SEARCH, STUDY_RECORD="renew")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tree / "runs")
    commit(tree)
    return tree


@pytest.fixture
def tree(recorded, tmp_path, monkeypatch) -> Path:
    """A copy of it, where `adopt.main` works; only its short runs have processes of their own."""
    shutil.copytree(recorded, tmp_path / "tree")
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setattr(adopt, "ROOT", tmp_path / "tree")
    return tmp_path / "tree"


def test_an_edit_that_changes_no_number_is_adopted(tree, capsys):
    before = codes(tree)
    edit(tree, "study/evaluation.py", "num_digits", "how_many")
    commit(tree)
    edit(tree, "study/training.py", "steps_per_epoch", "num_steps")
    adopt.main()
    said = capsys.readouterr().out
    assert said == "2 of 2 kinds of runs had other code and get the same weights.\n"
    assert not set(before) & set(codes(tree))
    done = run(tree, sys.executable, "-m", "experiments.adopt")
    said = "0 of 2 kinds of runs had other code and get the same weights.\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    assert run(tree, "git", "worktree", "list").stdout.count("\n") == 1


def test_an_edit_that_changes_the_numbers_of_one_setting_is_refused(tree):
    before = codes(tree)
    edit(tree, "study/training.py", "self.settings.clip_norm)", "self.settings.clip_norm / 2)")
    with pytest.raises(SystemExit, match=r"not adopted: since commit .*RNN.* gets other weights"):
        adopt.main()
    assert codes(tree) == before


def test_lines_without_a_commit_of_their_code_are_refused(tree):
    text = (tree / "results/runs/few.jsonl").read_text()
    (tree / "results/runs/few.jsonl").write_text(text.replace(codes(tree)[0], "0123456789ab"))
    with pytest.raises(SystemExit, match="no commit has put code 0123456789ab on record"):
        adopt.main()
    commit(tree)
    with pytest.raises(SystemExit, match="has other code than CNN"):
        adopt.main()
