"""The grid: what is trained, what is kept, and what an interruption costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import ROOT
from network import CNN, DeepCNN
from rnns import GRU, RNN
from study import device, evaluation, runs, weights
from study import search as grid_search
from study.runs import RunError

GRID = {"lr": [0.003, 0.001], "batch_size": 64}


@pytest.fixture
def search(few, tmp_path):
    """A search in processes of its own, as everybody's."""

    def run(grid=GRID, **settings):
        return grid_search.search(
            grid,
            *few,
            study="study",
            runs_dir=tmp_path,
            progress=False,
            **{"network": CNN, "num_epochs": 1, **settings},
        )

    return run


def without_seconds(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["seconds", "folder"])


def test_one_row_a_run(search, few):
    table = search()
    assert list(table["lr"]) == [0.003, 0.001]
    assert list(table["status"]) == ["finished"] * 2
    for _, run in table.iterrows():
        folder = Path(run["folder"])
        assert {"model.pt", "history.csv", "settings.json"} <= {p.name for p in folder.iterdir()}
        assert list(folder.glob("events.out.tfevents.*"))
        settings = json.loads((folder / "settings.json").read_text())
        assert settings["settings"]["lr"] == run["lr"]
        precision = device.fast_precision(device.default_device())
        model = grid_search.load_model(run)
        logits = evaluation.predict(model, few[0].images, precision=precision)
        assert evaluation.loss_and_accuracy(logits, few[0].labels) == pytest.approx(
            (run["train_loss"], run["train_accuracy"])
        )


def test_lists_vary_and_grids_have_names(search, trainings):
    grids = {
        "narrow": {"channels": (4, 8), "lr": [0.01, 0.001]},
        "distorted": {"lr": 0.01, "augmentation": [{"rotation": d} for d in np.linspace(5, 9, 2)]},
        "recurrent": {"network": GRU, "hidden_size": np.array([8, 9]), "lr": 0.01},
    }
    table = search(grids, batch_size=64)
    columns = ["name", "channels", "lr", "augmentation", "network", "hidden_size"]
    assert list(table.columns[:6]) == columns
    assert list(table["name"]) == [name for name in grids for _ in range(2)]
    assert list(table["lr"]) == [0.01, 0.001, 0.01, 0.01, 0.01, 0.01]
    assert list(table["augmentation"][2:4]) == ["rotation 5", "rotation 9"]
    assert list(table["hidden_size"][4:]) == [8, 9]
    assert len(trainings) == 6
    for _, run in table.iterrows():
        grid_search.load_model(run)
    assert set(grid_search.histories(table)["name"]) == set(grids)


def test_a_grid_of_one_setting_that_is_a_dict_is_no_name(search, trainings):
    table = search({"augmentation": {"rotation": 10}}, lr=0.01, batch_size=64)
    assert list(table["augmentation"]) == ["rotation 10"]


def test_two_names_may_share_a_run(search, trainings):
    table = search({"plain": {"lr": 0.001}, "rates": GRID}, batch_size=64)
    assert list(table["name"]) == ["plain", "rates", "rates"]
    assert len(trainings) == 2 and table["folder"][0] == table["folder"][2]


def test_histories_carry_the_settings(search, trainings):
    histories = grid_search.histories(search(num_epochs=2))
    assert list(histories["lr"]) == [0.003, 0.003, 0.001, 0.001]
    assert list(histories["epoch"]) == [1, 2, 1, 2]
    assert {"train_loss", "valid_loss", "learning_rate"} <= set(histories)


def test_nothing_is_trained_twice(search, trainings):
    first = search()
    again = search({"lr": [first["lr"][0], first["lr"][1]], "batch_size": [first["batch_size"][0]]})
    assert len(trainings) == 2  # numbers from a table are the same numbers
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    search({"lr": [0.003, 0.002, 0.001], "batch_size": 64})
    assert len(trainings) == 3
    assert trainings[-1].startswith("CNN-lr0.002")


def test_data_and_code_are_part_of_the_key(search, trainings, few, tmp_path, monkeypatch):
    search({"lr": 0.01, "batch_size": 64})
    short = {"study": "study", "runs_dir": tmp_path, "progress": False, "num_epochs": 1}
    grid = {"lr": 0.01, "batch_size": 64, "network": CNN}
    grid_search.search(grid, few[0][:500], few[1], **short)
    assert len(trainings) == 2
    monkeypatch.setattr(runs, "code_hash", lambda network: "changed")
    search({"lr": 0.01, "batch_size": 64})
    assert len(trainings) == 3


def test_retrain(search, trainings):
    first = search()
    second = search(retrain=True)
    assert len(trainings) == 4
    pd.testing.assert_frame_equal(without_seconds(first), without_seconds(second), check_exact=True)


def test_the_callers_random_numbers_are_left_alone(search, trainings):
    """However many networks a search tries."""
    numbers = []
    for sizes in ([8], [8, 9, 10]):
        torch.manual_seed(0)
        search({"hidden_size": sizes}, lr=0.01, batch_size=64, network=RNN)
        numbers.append(torch.rand(3).tolist())
    assert numbers[0] == numbers[1]


def test_a_run_that_diverged_is_never_chosen(search, trainings):
    """Its loss may be finite, and far above that of guessing; it does not end the grid."""
    table = search({"lr": [1e30, 1e5, 0.01, 0.001]}, batch_size=64, num_epochs=3)
    assert list(table["status"]) == ["diverged", "diverged", "finished", "finished"]
    chosen = grid_search.best(table, "valid_loss")
    assert chosen["lr"] == table.loc[2:, "lr"][table.loc[2:, "valid_loss"].idxmin()]
    with pytest.raises(grid_search.NoneConverged, match="None of the 2 runs converged"):
        grid_search.best(table[:2], "valid_loss")


def test_progress_shows_the_best_so_far(few, tmp_path, capsys, trainings):
    short = {"study": "s", "runs_dir": tmp_path, "network": CNN, "num_epochs": 1}
    table = grid_search.search(GRID, *few, **short)
    assert f"best valid_loss {table['valid_loss'].min():.4f}" in capsys.readouterr().out


def test_tensorboard_tells_runs_apart(search, trainings):
    """By the names of their folders, and by a table of their settings."""
    grid = {"width": [4, 8], "augmentation": [None, {"rotation": 5}], "dropout": 0.25}
    table = search(grid, network=DeepCNN, lr=0.01, batch_size=64)
    names = [Path(folder).name for folder in table["folder"]]
    for name, (_, run) in zip(names, table.iterrows(), strict=True):
        assert f"width{run['width']}-" in name and "dropout0.25" in name
        assert ("rotation_5" in name) == (run["augmentation"] == "rotation 5")
    log = EventAccumulator(table["folder"][0]).Reload()
    assert "_hparams_/session_start_info" in log.summary_metadata
    assert not list(Path(search(tensorboard=False, lr=0.1)["folder"][0]).glob("events*"))


@pytest.mark.parametrize(
    "grid, settings, message",
    [
        ({"lr": [0.01], "learning_speed": [1]}, {}, "unknown setting 'learning_speed'"),
        ({"lr": [0.01, 0.003, 0.01]}, {}, "the same run twice: .*lr 0.01"),
        ({"lr": [1, 1.0]}, {}, "the same run twice"),
        ({"lr": [0.01]}, {"num_workers": 0}, "num_workers must be 1 or more"),
        ({"lr": [0.01, -1]}, {}, "lr must be greater than 0, got -1"),
        ({"lr": [0.01], "hidden_size": [-1]}, {}, "CNN with .* cannot be made.*"),
        ({"lr": []}, {}, "'lr'"),
        ({"lr": [0.01], "batch_size": [0]}, {}, "batch_size must be"),
        ({"lr": [0.01], "batch_size": [601]}, {}, "batch_size must be"),
        ({"lr": [0.01]}, {"num_epochs": 0}, "num_epochs must be"),
        ({"batch_size": [64]}, {}, "setting 'lr' is missing"),
        ({"lr": [0.01]}, {"network": "CNN"}, "network must be a class"),
        ({"a": {"lr": 0.01}, "b": {"lr": 0.01, "speed": 2}}, {}, "unknown setting 'speed'"),
        ({"lr": [0.01]}, {"precision": "half"}, "precision must be one of"),
    ],
)
def test_senseless_settings_are_refused_before_training(search, trainings, grid, settings, message):
    with pytest.raises(ValueError, match=message):
        search(grid, **{"batch_size": 64, **settings})
    assert trainings == []


@pytest.mark.parametrize("kind", ["a file in the way", "read-only", "full"])
def test_a_folder_that_cannot_be_written_is_found_before_training(
    search, trainings, tmp_path, monkeypatch, kind
):
    if kind == "a file in the way":
        (tmp_path / "study").write_text("")
    elif kind == "read-only":  # root may write everywhere

        def refuse(*_, **__):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(runs.tempfile, "TemporaryFile", refuse)
    else:
        full = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(RunError, match=r"cannot be written|has room for 0 MB, and the runs need"):
        search()
    assert trainings == []


def test_a_run_that_cannot_be_kept_costs_itself_alone(search, trainings, monkeypatch, tmp_path):
    """The others finish and are kept; one sentence names it and its settings."""
    write = runs.write

    def fail(folder, files):
        if "lr0.5" in folder.name:
            raise RunError(f"{folder} cannot be written: No space left on device")
        write(folder, files)

    monkeypatch.setattr(runs, "write", fail)
    with pytest.raises(RunError) as error:
        search({"lr": [0.5, 0.01, 0.001]}, batch_size=64)
    said = r"1 of 3 runs failed.* network CNN, .*batch_size 64, lr 0\.5: .*No space left"
    assert error.match(said) and str(error.value).count("\n") == 0
    assert len(list((tmp_path / "study").glob("CNN*/model.pt"))) == 2


FRAGILE = """
import os, sys
from network import CNN
class Fragile(CNN):
    def __init__(self, end: str = ""):
        super().__init__()
        self.end = end
    def forward(self, images):
        if self.training and self.end == "raise":
            raise LookupError("no such layer")
        if self.training and self.end == "exit":
            os._exit(1)
        return super().forward(images)
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """A network that fails in training, in the way that its argument says."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "fragile.py").write_text(FRAGILE)
    from fragile import Fragile

    yield Fragile
    del sys.modules["fragile"], Fragile.known["Fragile"]


def test_a_network_that_fails_in_training_costs_itself_alone(search, trainings, tmp_path, fragile):
    said = r"1 of 2 runs failed.*end raise.*: LookupError: no such layer"
    with pytest.raises(RunError, match=said):
        search({"end": ["raise", ""]}, network=fragile, lr=0.01, batch_size=64)
    assert len(list((tmp_path / "study").glob("Fragile*/model.pt"))) == 1


def test_a_run_that_ends_its_process_costs_itself_alone(search, tmp_path, fragile):
    """As for want of memory: the one beside it, whose process ends too, is trained again."""
    settings = {"network": fragile, "lr": 0.01, "batch_size": 64, "tensorboard": False}
    said = r"1 of 2 runs failed.*end exit.*: .*ended from outside"
    with pytest.raises(RunError, match=said):
        search({"end": ["exit", ""]}, num_workers=2, **settings)
    assert len(list((tmp_path / "study").glob("Fragile*/model.pt"))) == 1


def test_keep(search, trainings, tmp_path, few):
    run = search().iloc[0]
    grid_search.keep(run, tmp_path / "models" / "kept.pt")
    kept = weights.load_model(tmp_path / "models" / "kept.pt")
    assert evaluation.evaluate(kept, few[1]) == evaluation.evaluate(
        grid_search.load_model(run), few[1]
    )
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["kept.pt"]


SIX = {"lr": [0.01, 0.003, 0.001], "seed": [0, 1]}
SHORT = {"study": "six", "batch_size": 64, "num_epochs": 2, "tensorboard": False}
SCRIPT = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from study import data, search
from network import CNN
if __name__ == "__main__":
    train, _ = data.load(sys.argv[1])
    search.search(
        {SIX}, train[:1000], runs_dir=sys.argv[2], network=CNN, num_workers=2, **{SHORT}
    )
"""


def start_search(tmp_path: Path) -> subprocess.Popen:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, ROOT / "data", tmp_path / "runs"]
    return subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True
    )


def children(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_two_runs(process: subprocess.Popen, folder: Path) -> None:
    while process.poll() is None and len(list(folder.glob("CNN*"))) < 2:
        time.sleep(0.01)


def test_killed_search_goes_on(tmp_path, digits, trainings):
    """SIGKILL in the middle leaves no process; the next one trains only what is missing."""
    killed = start_search(tmp_path)
    finished = tmp_path / "runs" / "six"
    wait_for_two_runs(killed, finished)
    left_behind = children(killed)
    assert len(left_behind) >= 2
    os.kill(killed.pid, signal.SIGKILL)
    # Its workers notice although their parent, not yet waited for, is still listed.
    _, alive = psutil.wait_procs(left_behind, timeout=10)
    assert not alive, "workers outlive their parent"
    assert killed.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in finished.glob("CNN*/model.pt")}
    assert 0 < len(kept) < 6

    runs = grid_search.search(
        SIX, digits[0][:1000], runs_dir=tmp_path / "runs", network=CNN, progress=False, **SHORT
    )
    assert len(runs) == 6 and len(trainings) == 6 - len(kept)
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    assert sorted(p.name[0] for p in finished.iterdir()) == ["C"] * 6  # nothing half-written


def test_an_interrupted_search_leaves_no_process(tmp_path):
    search = start_search(tmp_path)
    wait_for_two_runs(search, tmp_path / "runs" / "six")
    left_behind = children(search)
    os.killpg(search.pid, signal.SIGINT)  # as Jupyter and a terminal do
    assert search.wait(timeout=30) != 0
    _, alive = psutil.wait_procs(left_behind, timeout=10)
    assert not alive


QUIET_SCRIPT = """
import sys
from study import data, search
from network import CNN
train, _ = data.load(sys.argv[1])
# A larger network comes second: memory that its worker keeps would look like a leak.
search.search(
    {"hidden_size": [8, 8_000, 9]}, train[:300], study="quiet", runs_dir=sys.argv[2], network=CNN,
    lr=0.01, batch_size=150, num_epochs=1, progress=False, tensorboard=False,
)
"""


def test_a_search_is_quiet_whatever_its_workers_memory_and_folders(tmp_path):
    """In a script without a guard, and a temporary folder with an umlaut."""
    script, folder = tmp_path / "script.py", tmp_path / "Jürgen"
    script.write_text(QUIET_SCRIPT)
    folder.mkdir()
    search = subprocess.run(
        [sys.executable, script, ROOT / "data", tmp_path / "runs"],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "JOBLIB_TEMP_FOLDER": str(folder)},
        capture_output=True,
        text=True,
    )
    assert (search.returncode, search.stdout, search.stderr) == (0, "", "")
    assert len(list((tmp_path / "runs" / "quiet").glob("CNN*"))) == 3


def test_a_recurrent_network_may_diverge_beside_its_log(search, trainings):
    """Its weights become too large for TensorBoard's histograms before they are infinite."""
    runs = search({"lr": [1e30]}, network=RNN, batch_size=64, hidden_size=8, num_epochs=3)
    assert list(Path(runs["folder"][0]).glob("events*"))
    assert {"valid_loss", "best_epoch"} <= set(runs)
