"""One run: what determines it, and what is kept of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conftest import ROOT
from network import CNN, DeepCNN, Network
from rnns import GRU
from study import device, runs
from study.runs import Run, RunError

SETTINGS = {"network": CNN, "lr": 0.01, "batch_size": 64, "num_epochs": 1}


def identity(**changes) -> dict:
    return Run.of(SETTINGS | changes).identity("data", None, None)


@pytest.fixture(scope="session")
def files(few) -> dict[str, bytes]:
    """The files of a short run."""
    return runs.train(Run.of(SETTINGS), identity(), *few, False)


@pytest.fixture
def folder(files, tmp_path) -> Path:
    """The folder of a kept run."""
    runs.write(tmp_path / "run", files)
    assert runs.is_kept(tmp_path / "run")
    return tmp_path / "run"


# --- What determines a run ---


@pytest.mark.parametrize(
    "one, other",
    [
        ({"lr": 1}, {"lr": 1.0}),
        ({"lr": 0.01}, {"lr": np.float64(0.01)}),
        ({"batch_size": 64}, {"batch_size": np.int32(64)}),
        ({"channels": (8, 16)}, {"channels": [8, 16]}),
        ({"channels": (8, 16)}, {"channels": np.array([8, 16])}),
        ({"channels": (8, 16)}, {"channels": tuple(np.arange(8, 17, 8))}),
        (
            {"augmentation": {"rotation": 5}},
            {"augmentation": {"rotation": np.linspace(5, 9, 2)[0]}},
        ),
        ({"dropout": 0}, {"dropout": 0.0}),
        ({}, {"seed": 0, "dropout": 0.2, "clip_norm": None}),  # the defaults
        ({"network": GRU}, {"network": GRU, "every_row": np.bool_(False)}),
    ],
)
def test_equal_settings_are_equal_runs_that_can_be_written(one, other):
    assert identity(**one) == identity(**other)
    assert json.loads(json.dumps(identity(**other))) == identity(**other)


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.02},
        {"seed": 1},
        {"num_epochs": 2},
        {"dropout": 0.5},
        {"channels": (8, 16)},
        {"augmentation": {"rotation": 5}},
        {"network": DeepCNN},
    ],
)
def test_other_settings_are_other_runs(changes):
    assert runs.folder_name(identity(**changes)) != runs.folder_name(identity())


def test_data_machine_and_code_are_part_of_the_identity(monkeypatch):
    run = Run.of(SETTINGS)
    others = [run.identity("other data", None, None), run.identity("data", "cpu", "float32")]
    monkeypatch.setenv("STUDY_PRECISION", "bfloat16")
    others.append(run.identity("data", None, None))
    monkeypatch.setattr(runs, "code_hash", lambda network: "other code")
    others.append(run.identity("data", None, None))
    assert len(set(map(runs.folder_name, others))) == 4


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"activation": nn.ReLU}, "activation must be made of numbers"),
        ({"channels": [(8, torch.ones(2))]}, "channels must be made of numbers"),
        ({"augmentation": {"rotation": {1, 2}}}, r"augmentation\['rotation'\] must be made of"),
        ({"network": nn.Linear}, r"network must be a class derived from network\.Network"),
        ({"network": "CNN"}, r"network must be a class derived from network\.Network"),
        ({"widths": 3}, "unknown setting 'widths'; CNN has channels"),
    ],
)
def test_what_cannot_be_kept_or_is_unknown_is_refused_by_name(changes, said):
    with pytest.raises(ValueError, match=said):
        Run.of(SETTINGS | changes)


class Restless(Network):
    """Has weights that cannot be loaded again: their number is drawn anew each time."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.extra = nn.Parameter(torch.zeros(int(torch.randint(1_000_000, ()))))

    def forward(self, images):
        return self.layers(images)


class Variadic(Network):
    """Takes arguments without a name."""

    def __init__(self, *sizes, **options):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, images):
        return self.layers(images)


@pytest.mark.parametrize(
    "changes, num_images, said",
    [
        ({"network": Restless}, 600, "Restless with {} cannot be kept in a file"),
        ({"hidden_size": -1}, 600, "CNN with .* cannot be made"),
        ({"batch_size": 601}, 600, "batch_size must be at most the 600 images"),
        ({"network": DeepCNN}, 641, "batch_size 64 leaves a batch of a single one of 641"),
        ({"network": DeepCNN, "batch_size": 1}, 600, "batch_size 1 leaves"),
    ],
)
def test_what_would_fail_after_a_training_is_refused_before_it(changes, num_images, said):
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=said):
        Run.of(SETTINGS | changes).check(num_images)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_last_batch_of_one_is_fine_where_a_network_can_normalise_it():
    assert Run.of(SETTINGS).check(641) > 0
    assert Run.of(SETTINGS | {"network": GRU, "hidden_size": 8}).check(641) > 0


def test_arguments_without_a_name_would_be_forgotten():
    assert Variadic().arguments == {}
    for values, named in (((8,), {}), ((), {"dropout": 0.1})):
        with pytest.raises(TypeError, match="Variadic must name every argument of __init__"):
            Variadic(*values, **named)


class Seeded(Network):
    """Has an argument that fit has, too."""

    def __init__(self, seed: int = 1):
        super().__init__()


def test_an_argument_that_fit_has_too_is_refused():
    with pytest.raises(ValueError, match="Seeded has an argument 'seed', as fit has: rename it"):
        Run.of(SETTINGS | {"network": Seeded})


def test_changed_code_is_refused_in_a_worker(monkeypatch):
    assert runs.code_problem(CNN, identity()["code"]) == ""
    said = runs.code_problem(CNN, "of another time")
    assert said == "the code was changed while the search was starting; search again"
    monkeypatch.setattr(CNN, "forward", lambda self, images: images)
    assert "CNN.forward in memory is not" in runs.code_problem(CNN, identity()["code"])


def test_a_network_that_fails_is_told_and_raises_nothing(few, monkeypatch):
    def fail(*_, **__):
        raise LookupError("no such layer")

    monkeypatch.setattr(runs, "train_network", fail)
    said = runs.train(Run.of(SETTINGS), identity(), *few, False)
    assert said == "LookupError: no such layer"


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_precision_can_be_chosen(few, name):
    """In bfloat16 as a smoke test, where the processor computes in it."""
    chosen = getattr(torch, name)
    if chosen is torch.bfloat16 and not torch.cpu.get_capabilities().get("avx512_bf16"):
        pytest.skip("this processor has no fast bfloat16")
    run = Run.of(SETTINGS | {"num_epochs": 3})
    told = run.identity("data", "cpu", name)
    assert (told["device"], told["precision"]) == ("cpu", name)
    result = json.loads(runs.train(run, told, *few, False)["settings.json"])["result"]
    assert result["status"] == "finished" and result["train_accuracy"] > 0.5


@pytest.mark.parametrize(
    "where, said",
    [
        ({"precision": "float16"}, "precision must be one of float32, bfloat16"),
        ({"device": "gpu"}, "device must be one that torch knows"),
    ],
)
def test_an_unknown_precision_or_device_is_refused(where, said):
    with pytest.raises(ValueError, match=said):
        device.where_to_train(**where)


# --- What is kept ---


@pytest.mark.parametrize(
    "name, content",
    [
        ("history.csv", None),
        ("history.csv", b"epoch,train_loss\n"),
        ("model.pt", None),
        ("model.pt", b""),
        ("model.pt", 0.5),
        ("settings.json", b"{"),
        ("settings.json", b"[]"),
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
    assert not runs.is_kept(folder)
    runs.write(folder, files)
    assert runs.is_kept(folder)


def test_a_run_that_cannot_be_loaded_is_not_kept(folder):
    """As one whose network has another form by now."""
    content = (folder / "model.pt").read_bytes()
    parsed = torch.load(folder / "model.pt", weights_only=True)
    torch.save(parsed | {"arguments": {"channels": (4, 8)}}, folder / "model.pt")
    assert not runs.is_kept(folder)
    (folder / "model.pt").write_bytes(content)
    assert runs.is_kept(folder)


def test_a_run_is_written_whole_or_not_at_all(files, tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def fail(path, content):
        if path.name == "history.csv":
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(RunError, match=r"run cannot be written: .*No space left"):
            runs.write(tmp_path / "run", files)
    assert list(tmp_path.iterdir()) == []


def test_two_searches_may_write_the_same_run(folder, files, monkeypatch):
    """The other one takes the name between this one's two renames."""
    rename = Path.rename

    def slow(path, target):
        if path == folder:
            rename(path, target)
            runs.write(folder, files | {"other": b""})
            return None
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", slow)
    runs.write(folder, files)
    assert (folder / "other").exists()
    assert runs.is_kept(folder)


NO_ROOM = """
import resource, sys
from study import data, runs
from network import CNN
train = data.load(sys.argv[1])[0][:64]
run = runs.Run.of({"network": CNN, "lr": 0.01, "batch_size": 32, "num_epochs": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
print(runs.train(run, run.identity("data", None, None), train, None, True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
def test_no_room_for_the_log_is_said_in_a_sentence():
    command = [sys.executable, "-c", NO_ROOM, ROOT / "data"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "if the TensorBoard log could not be written" in ended.stdout, ended.stderr
    assert "TMPDIR" in ended.stdout


def test_results_are_those_of_the_finished_network(files):
    told = json.loads(files["settings.json"])
    assert told["settings"] == {"lr": 0.01, "batch_size": 64, "num_epochs": 1}
    assert told["network"] == "CNN"
    assert set(told["result"]) == {
        "status", "train_loss", "train_accuracy", "best_epoch", "valid_loss", "valid_accuracy",
        "seconds",
    }  # fmt: skip
