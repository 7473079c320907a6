"""One run: what determines it, and what is kept of it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest
from torch import nn

from conftest import ROOT
from network import CNN
from study import training, weights
from study.runs import CODE_HASHES, SOURCES, Run, RunError, code_hash

SETTINGS = {"network": CNN, "lr": 0.01, "batch_size": 64, "num_epochs": 1}
# Together they make a training pass through all that it can pass through.
EVERYTHING = SETTINGS | {
    "schedule": "constant",
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "augmentation": {"rotation": 10, "elastic": 0.5, "thickness": 0.5, "coarseness": 0.5},
    "ema_decay": 0.5,
}


@pytest.fixture(scope="session")
def files(few) -> dict[str, bytes]:
    """The files of a short run."""
    chosen = Run.from_settings(SETTINGS)
    return run.train_run(chosen, chosen.identity("data"), *few, False)


@pytest.fixture
def folder(files, tmp_path) -> Path:
    """The folder of a kept run."""
    run.write(tmp_path / "run", files)
    assert run.is_kept(tmp_path / "run")
    return tmp_path / "run"


# --- What determines a run ---


def edited(old: str, new: str) -> list[str]:
    assert sum(source.count(old) for source in SOURCES) == 1, old
    return [source.replace(old, new) for source in SOURCES]


def passed_through(few, log_dir) -> set[CodeType]:
    """The functions of this repository that are called while a run is trained."""
    called = set()

    def record(frame, event, _):
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(ROOT):
            called.add(frame.f_code)

    train, valid = (digits[:128] for digits in few)
    everything, plain = Run.from_settings(EVERYTHING), Run.from_settings(SETTINGS)
    sys.setprofile(record)
    try:
        run._train(everything, train, valid, log_dir)
        run._train(plain, train, None, None)
    finally:
        sys.setprofile(None)
    return {code for code in called if ".venv" not in code.co_filename}


class Mutate(ast.NodeTransformer):
    """Adds a statement to the function that begins at a line, as its decorators do."""

    def __init__(self, line: int):
        self.line, self.found = line, False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        if first == self.line:
            self.found = True
            node.body.append(ast.parse("mutated = True").body[0])
        return self.generic_visit(node)


def test_a_change_of_any_function_that_a_training_passes_through_counts(few, tmp_path):
    before = code_hash("CNN", SOURCES)
    assert before == CODE_HASHES["CNN"]
    mutated = set()
    for code in passed_through(few, tmp_path):
        if code.co_name.startswith("<"):  # a lambda or a comprehension, inside a function
            continue
        source = Path(code.co_filename).read_text(encoding="utf-8")
        assert source in SOURCES, f"{code.co_filename} is not among the hashed modules"
        mutate = Mutate(code.co_firstlineno)
        changed = ast.unparse(mutate.visit(ast.parse(source)))
        assert mutate.found, code
        sources = [changed if other == source else other for other in SOURCES]
        assert code_hash("CNN", sources) != before, f"a change of {code.co_qualname} goes unseen"
        mutated.add(code.co_qualname)
    assert {
        "fit",
        "num_correct",
        "Digits.__getitem__",
        "to_float",
        "transform",
        "Normalize.forward",
    } < mutated


@pytest.mark.parametrize(
    "old, new",
    [
        ("0.1307, 0.3081", "0.1307, 0.3"),  # a constant
        (".argmax(1) == labels)", ".argmin(1) == labels)"),
        ("self.images[indices], self.labels[indices]", "self.images[indices], self.labels"),
        ("from torch.nn import functional as F\nfrom torch.optim", "F = None\nfrom torch.optim"),
        ("HISTOGRAM_LIMIT = 1e20", "HISTOGRAM_LIMIT = 1e20\ntorch.set_flush_denormal(True)"),
    ],
)
def test_what_can_alter_a_number_counts(old, new):
    assert code_hash("CNN", edited(old, new)) != CODE_HASHES["CNN"]


@pytest.mark.parametrize(
    "old, new",
    [
        ("# The channel is added last", "# The channel comes last"),
        ("Turn uint8 images", "Make uint8 images"),
        ("def wilson_interval(", "def new_figure(x):\n    return x\n\n\ndef wilson_interval("),
        ("class DeepCNN(", "class New(CNN):\n    pass\n\n\nclass DeepCNN("),
        ("*(RNN, GRU,", "*(CNN, RNN, GRU,"),
        ("def train_run(\n", "def newest():\n    pass\n\n\ndef train_run(\n"),
        (") -> tuple[float, float]:\n    \"\"\"Return mean", "):\n    \"\"\"Return mean"),
    ],
)  # fmt: skip
def test_comments_docstrings_and_what_is_new_beside_it_do_not(old, new):
    assert code_hash("CNN", edited(old, new)) == CODE_HASHES["CNN"]


def test_another_network_does_not_count():
    first = "self,\n        width: int = 32,\n        dropout: float = "
    changed = edited(f"{first}0.3", f"{first}0.2")
    assert code_hash("DeepCNN", changed) != CODE_HASHES["DeepCNN"]
    assert code_hash("Ensemble", changed) != CODE_HASHES["Ensemble"]
    assert code_hash("CNN", changed) == CODE_HASHES["CNN"]
    assert code_hash("GRU", changed) == CODE_HASHES["GRU"]


def test_machine_is_part_of_the_identity(monkeypatch):
    chosen = Run.from_settings(SETTINGS)
    before = chosen.identity("data")
    monkeypatch.setattr(run, "fast_precision", lambda device: "another precision")
    assert chosen.identity("data") != before
    assert run.folder_name(chosen.identity("data")) != run.folder_name(before)


def test_changed_code_is_refused_in_a_worker(few):
    chosen = Run.from_settings(SETTINGS)
    with pytest.raises(RunError, match="restart the kernel"):
        run.train_run(chosen, chosen.identity("data") | {"code": "of another time"}, *few, False)


# --- A network of one's own ---


class Forgetful(nn.Module):
    """Does not say how it was made."""

    def __init__(self, size: int = 10):
        super().__init__()
        self.classifier = nn.Linear(784, size)

    def forward(self, images):
        return self.classifier(images.flatten(1))


def test_forgotten_arguments_are_found_before_the_training(monkeypatch):
    monkeypatch.setitem(weights.NETWORKS, "Forgetful", Forgetful)
    chosen = Run.from_settings(SETTINGS | {"network": Forgetful})
    with pytest.raises(ValueError, match=r"Forgetful must set self\.arguments"):
        chosen.check(num_images=600)


def test_an_unlisted_network_is_told_where_the_list_is():
    with pytest.raises(ValueError, match=r"study/weights\.py has the list"):
        Run.from_settings(SETTINGS | {"network": Forgetful})


# --- What is kept ---


@pytest.mark.parametrize(
    "name, content",
    [
        ("history.csv", None),
        ("history.csv", b""),
        ("history.csv", b"epoch,train_loss\n"),
        ("model.pt", None),
        ("model.pt", b""),
        ("model.pt", 0.5),
        ("settings.json", b"{"),
        ("settings.json", b"[]"),
        ("settings.json", b'{"result": null}'),
        ("settings.json", b'{"result": {}}'),
        ("settings.json", b"\xff\xfe"),
    ],
)
def test_what_is_not_whole_is_not_kept(folder, files, name, content):
    damaged = folder / name
    if content is None:
        damaged.unlink()
    elif content == 0.5:
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    else:
        damaged.write_bytes(content)
    assert not run.is_kept(folder)
    run.write(folder, files)
    assert run.is_kept(folder)


def test_a_run_is_written_whole_or_not_at_all(files, tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def fail(path, content):
        if path.name == "history.csv":
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(RunError, match=r"run cannot be written: .*No space left"):
            run.write(tmp_path / "run", files)
    assert list(tmp_path.iterdir()) == []


def test_two_searches_may_write_the_same_run(folder, files, monkeypatch):
    """The other one takes the name between this one's two renames."""
    rename = Path.rename

    def slow(path, target):
        if path == folder:
            rename(path, target)
            run.write(folder, files | {"other": b""})
            return None
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", slow)
    run.write(folder, files)
    assert (folder / "other").exists()
    assert run.is_kept(folder)


NO_ROOM = """
import resource, sys
from study import data, runs
from network import CNN
train = data.load(sys.argv[1])[0][:64]
chosen = run.Run.from_settings(
    {"network": CNN, "lr": 0.01, "batch_size": 32, "num_epochs": 1}
)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
run.train_run(chosen, chosen.identity("data"), train, None, True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
def test_no_room_for_the_log_is_said_in_a_sentence():
    command = [sys.executable, "-c", NO_ROOM, ROOT / "data"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # TensorBoard's own thread reports its error too, before or after.
    said = [line for line in ended.stderr.splitlines() if line.startswith("study.run.RunError: ")]
    assert len(said) == 1, ended.stderr
    assert "The TensorBoard log could not be written" in said[0]
    assert "TMPDIR" in said[0]


def test_results_are_those_of_the_finished_network(files, few):
    settings = json.loads(files["settings.json"])
    assert settings["fit"]["lr"] == 0.01
    assert settings["network"] == "CNN"
    assert settings["precision"] == str(training.fast_precision(training.default_device()))
    assert set(settings["result"]) == {
        "status", "train_loss", "train_accuracy", "best_epoch", "valid_loss", "valid_accuracy",
        "seconds",
    }  # fmt: skip
