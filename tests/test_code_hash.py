"""Which edits train a network again, and what in memory is refused."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest

from conftest import ROOT
from study import code_hash as hashed
from study import training

HELPER = '''
"""A helper."""
from shapes import SIDE as side

def flat(images):
    return images.flatten(1)[:, : side**2]

def unused():
    return 1
'''
MINE = '''
import torch
from torch import nn
import helper
from network import Network, Normalize

RATE = 0.1

class Mine(Network):
    """A network in a file of its own."""

    def __init__(self, bias: bool = True):
        super().__init__()
        self.layers = nn.Sequential(Normalize(), nn.Dropout(RATE))
        self.last = nn.Linear(784, 10, bias)

    def forward(self, images):
        return self.last(getattr(helper, "flat")(self.layers(images)))
'''


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A copy of the code, with a network in mine.py and helpers beside it, which is hashed."""
    shutil.copytree(ROOT / "study", tmp_path / "study", ignore=shutil.ignore_patterns("*cache*"))
    for name in ("network.py", "mlp.py", "rnns.py"):
        shutil.copy(ROOT / name, tmp_path)
    for name, source in {"helper": HELPER, "mine": MINE, "shapes": "SIDE = 28\n"}.items():
        (tmp_path / f"{name}.py").write_text(source)
    training_files = tuple(tmp_path / path.relative_to(ROOT) for path in hashed.TRAINING)
    monkeypatch.setattr(hashed, "ROOT", tmp_path)
    monkeypatch.setattr(hashed, "TRAINING", training_files)
    return tmp_path


def code_hash(clone: Path, network: str) -> str:
    """The hash of "file.Class" of a clone."""
    file, name = network.split(".")
    return hashed.hash_of(clone / f"{file}.py", name)


def edit(clone: Path, file: str, old: str, new: str) -> None:
    path = clone / file
    source = path.read_text()
    assert source.count(old) >= 1, old
    path.write_text(source.replace(old, new, 1))


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("mine.py", "(self.layers(images))", "(0 * self.layers(images))"),
        ("mine.py", "RATE = 0.1", "RATE = 0.2"),
        ("mine.py", "RATE = 0.1", "RATE = 0.1\nTABLE = [1]\nTABLE[0] = 2"),
        ("mine.py", "import torch\n", "import torch\n\ntorch.set_flush_denormal(True)\n"),
        ("helper.py", "flatten(1)", "flatten(1) * 2"),
        ("shapes.py", "28", "14"),
        ("network.py", "0.1307", "0.13"),
        ("study/training.py", "self.scheduler.step()", "self.scheduler.step() or 0"),
        ("study/augmentation.py", "NODES = 4", "NODES = 5"),
        ("study/data.py", "images.float() / 255", "images.float() / 256"),
    ],
)
def test_what_a_training_passes_through_counts(clone, file, old, new):
    before = code_hash(clone, "mine.Mine")
    edit(clone, file, old, new)
    assert code_hash(clone, "mine.Mine") != before


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("mine.py", '"""A network in a file of its own."""', '"""Says another thing."""'),
        ("mine.py", "RATE = 0.1", "RATE = 0.1  # of dropout"),
        ("helper.py", "return 1", "return 2"),
        ("network.py", "class DeepCNN(", "class New(CNN):\n    pass\n\n\nclass DeepCNN("),
        ("network.py", "width: int = 32", "width: int = 31"),
        ("study/monitoring.py", '"training"', '"learning"'),
        ("study/plots/style.py", "import", "import  "),
        ("study/weights.py", "FILE_FORMAT =", "NEW = 1\nFILE_FORMAT ="),
        ("study/runs.py", "NAME_LENGTH = 100", "NAME_LENGTH = 90"),
    ],
)
def test_comments_figures_and_what_it_does_not_mention_do_not(clone, file, old, new):
    before = code_hash(clone, "mine.Mine")
    edit(clone, file, old, new)
    assert code_hash(clone, "mine.Mine") == before


def test_another_network_does_not_count(clone):
    before = {name: code_hash(clone, name) for name in ("network.CNN", "rnns.GRU")}
    edit(clone, "network.py", "width: int = 32", "width: int = 31")  # of the DeepCNN
    edit(clone, "rnns.py", "append(nn.Dropout(dropout))", "append(nn.Dropout(0.0))")  # Transformer
    (clone / "network.py").open("a").write("\n\nclass Later(DeepCNN):\n    pass\n")
    assert before == {name: code_hash(clone, name) for name in before}


def functions_called(few, log_dir) -> set[CodeType]:
    """The functions of this repository that are called while a network is trained."""
    called = set()

    def record(frame, event, _):
        if event == "call":
            called.add(frame.f_code)

    from rnns import RNN

    train, valid = (digits[:128] for digits in few)
    everything = {
        "schedule": "constant",
        "clip_norm": 1.0,
        "label_smoothing": 0.1,
        "augmentation": {"rotation": 10, "elastic": 0.5, "thickness": 0.5, "coarseness": 0.5},
        "ema_decay": 0.5,
    }
    short = {"lr": 0.01, "batch_size": 64, "num_epochs": 1}
    sys.setprofile(record)
    try:
        size = {"hidden_size": 8}
        training.train_network(RNN, size, train, valid, log_dir=log_dir, **short, **everything)
        training.train_network(RNN, size, train, **short)
    finally:
        sys.setprofile(None)
    here = {code for code in called if Path(code.co_filename).is_relative_to(ROOT)}
    return {code for code in here if ".venv" not in code.co_filename}


def test_every_function_that_a_training_calls_is_hashed(few, tmp_path):
    """But for the progress bar and the log, which the training files only call."""
    mentioned = hashed.mentioned(ROOT / "rnns.py", "RNN")
    of_network = {node for parts in mentioned.values() for part in parts for node in ast.walk(part)}
    names = {node.name for node in of_network if isinstance(node, ast.FunctionDef)}
    whole = {*hashed.TRAINING, ROOT / "study" / "monitoring.py"}
    for code in functions_called(few, tmp_path):
        if Path(code.co_filename) not in whole and not code.co_name.startswith("<"):
            assert code.co_name in names, f"{code.co_qualname} of {code.co_filename} is not hashed"


def test_the_training_files_import_no_other_file_of_ours_but_the_log():
    found = set(hashed._with_imports(ROOT / "study" / "training.py"))
    assert found - set(hashed.TRAINING) <= {
        ROOT / "study" / "__init__.py",
        ROOT / "study" / "monitoring.py",
    }


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_hash_is_the_same_under_each_python(version):
    """As far as they are installed: of the whole repository, f-strings and all."""
    script = (
        "import hashlib, pathlib, study.code_hash as h\n"
        "files = sorted(p for p in pathlib.Path().rglob('*.py') if '.venv' not in p.parts)\n"
        "text = repr([h._dump(h._bare(p)) for p in files])\n"
        "print(len(files) > 50, hashlib.sha256(text.encode()).hexdigest())\n"
    )

    def run(python: str) -> str:
        command = [python, "-c", script]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    by_pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    found = (run(str(python)) for python in (f"python{version}", *by_pyenv) if shutil.which(python))
    hashes = set(filter(None, found))  # a shim of pyenv may stand for nothing
    if not hashes:
        pytest.skip(f"Python {version} is not installed")
    assert hashes == {run(sys.executable)}


# --- What is in memory ---

CELLS = {
    "pass": "fine",
    "mine.Mine.forward = lambda self, images: images": "Mine.forward in memory",
    "mine.Mine.train = lambda self, mode=True: self": "Mine.train in memory",
    "network.PIXEL_MEAN = 0.9": "PIXEL_MEAN in memory is not what network.py says",
    "network.Normalize.forward = print": "Normalize.forward in memory",
    "helper.flat = lambda images: images": "flat in memory is not what helper.py says",
    "evaluation.predict = print": "predict in memory is not what evaluation.py says",
    "network.DeepCNN.forward = print": "fine",  # another network
    "edit('helper.py', '(1)', '(1) + 1')": "flat in memory",
    "edit('mine.py', '0.1', '0.2')": "RATE in memory",
    "edit('mine.py', 'bias: bool = True', 'bias: bool = False')": "Mine.__init__ in memory",
    "edit('study/training.py', 'weight_decay: NonNegativeFloat = 0.0', "
    "'weight_decay: NonNegativeFloat = 0.1')": "Settings.weight_decay in memory",
    "edit('mine.py', 'import torch', '# A comment\\nimport torch, math')": "fine",
    "old = mine.Mine; importlib.reload(mine); chosen = old": "mine.py has been imported again",
    "class Cell(network.Network): pass\nchosen = Cell": "put it in a file of its own",
}
KERNEL = """
import importlib, os, sys
from pathlib import Path
from study.code_hash import check_imported, CodeError
import mine, network, helper, rnns
from study import evaluation, training
def edit(file, old, new):
    text = Path(file).read_text()
    Path(file).write_text(text.replace(old, new, 1))
mine.Mine().eval()(network.torch.zeros(1, 1, 28, 28))
before = {file: Path(file).read_text() for file in ("helper.py", "mine.py", "study/training.py")}
for cell in CELLS:
    if os.fork() == 0:
        chosen = mine.Mine
        exec(cell)
        try:
            check_imported(chosen)
            print("fine", flush=True)
        except CodeError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
    for file, text in before.items():
        Path(file).write_text(text)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each cell is run in a fork of one process")
def test_what_is_not_in_the_files_is_refused(clone):
    command = [sys.executable, "-c", f"CELLS = {list(CELLS)!r}\n{KERNEL}"]
    ended = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    lines = ended.stdout.splitlines()
    assert len(lines) == len(CELLS), ended.stderr
    for (cell, said), line in zip(CELLS.items(), lines, strict=True):
        assert said in line, cell
