"""The grid: what is trained, what is kept, and what an interruption costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from conftest import ROOT
from network import CNN
from rnns import RNN
from study import evaluation, search, training, weights
from study.runs import CODE_HASHES, RunError, folder_name, train_run

GRID = {"lr": [0.01, 0.001], "batch_size": [64]}


@pytest.fixture
def search(few, tmp_path):
    def run(grid=GRID, **settings):
        return search.search(
            grid,
            *few,
            study="study",
            runs_dir=tmp_path,
            progress=False,
            **{"network": CNN, "num_epochs": 1, **settings},
        )

    return run


@pytest.fixture
def trainings(monkeypatch):
    """Names of the runs that were really trained, in the process of the test."""
    names = []

    def record(run, identity, *data):
        names.append(folder_name(identity))
        return train_run(run, identity, *data)

    monkeypatch.setattr(grid_search, "train_run", record)
    monkeypatch.setattr(grid_search, "default_workers", lambda: 1)
    return names


def without_seconds(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.drop(columns=["seconds", "folder"])


def test_one_row_a_run(search, few):
    runs = search()
    assert list(runs["lr"]) == [0.01, 0.001]
    assert list(runs["status"]) == ["finished"] * 2
    for _, run in runs.iterrows():
        folder = Path(run["folder"])
        assert {"model.pt", "history.csv", "settings.json"} <= {p.name for p in folder.iterdir()}
        assert list(folder.glob("events.out.tfevents.*"))
        settings = json.loads((folder / "settings.json").read_text())
        assert settings["fit"]["lr"] == run["lr"]
        precision = training.fast_precision(training.default_device())
        logits = evaluation.predict(search.load_model(run), few[0].images, precision=precision)
        assert evaluation.loss_and_accuracy(logits, few[0].labels) == pytest.approx(
            (run["train_loss"], run["train_accuracy"])
        )


def test_histories_carry_the_settings(search):
    histories = search.histories(search(num_epochs=2))
    assert list(histories["lr"]) == [0.01, 0.01, 0.001, 0.001]
    assert list(histories["epoch"]) == [1, 2, 1, 2]
    assert {"train_loss", "valid_loss", "learning_rate"} <= set(histories)


def test_nothing_is_trained_twice(search, trainings):
    first = search()
    assert len(trainings) == 2
    second = search()
    assert len(trainings) == 2
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_numbers_from_a_table_are_the_same_numbers(search, trainings):
    runs = search()
    again = search({"lr": [runs["lr"][0]], "batch_size": [runs["batch_size"][0]]})
    assert len(trainings) == 2
    assert again["folder"][0] == runs["folder"][0]


def test_only_a_new_learning_rate_is_trained(search, trainings):
    search()
    search({"lr": [0.01, 0.003, 0.001], "batch_size": [64]})
    assert len(trainings) == 3
    assert trainings[-1].startswith("CNN-lr0.003")


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"num_epochs": 2}, {"schedule": "constant"}, {"dropout": 0.5}]
)
def test_whatever_determines_the_result_is_part_of_the_key(search, trainings, change):
    search({"lr": [0.01], "batch_size": [64]})
    search({"lr": [0.01], "batch_size": [64]}, **change)
    assert len(trainings) == 2


def test_data_and_code_are_part_of_the_key(search, trainings, few, tmp_path, monkeypatch):
    grid = {"lr": [0.01], "batch_size": [64]}
    search(grid)
    train, valid = few
    search.search(
        grid,
        train[:500],
        valid,
        study="study",
        runs_dir=tmp_path,
        progress=False,
        network=CNN,
        num_epochs=1,
    )
    assert len(trainings) == 2
    monkeypatch.setitem(CODE_HASHES, "CNN", "changed")
    search(grid)
    assert len(trainings) == 3


def test_retrain(search, trainings):
    first = search()
    second = search(retrain=True)
    assert len(trainings) == 4
    pd.testing.assert_frame_equal(without_seconds(first), without_seconds(second), check_exact=True)


def test_diverged_run_does_not_end_the_grid(search):
    runs = search({"lr": [1e30, 0.01], "batch_size": [64]}, num_epochs=3)
    assert list(runs["status"]) == ["diverged", "finished"]
    assert len(search.histories(runs[:1])) < 3
    assert runs["train_loss"].idxmin() == 1


def test_progress_shows_the_best_so_far(few, tmp_path, capsys):
    runs = search.search(GRID, *few, study="s", runs_dir=tmp_path, network=CNN, num_epochs=1)
    assert f"best valid_loss {runs['valid_loss'].min():.4f}" in capsys.readouterr().out


def test_without_tensorboard(search):
    folder = Path(search(tensorboard=False)["folder"][0])
    assert not list(folder.glob("events*"))


@pytest.mark.parametrize(
    "grid, settings, message",
    [
        ({"lr": [0.01], "learning_speed": [1]}, {}, "unknown setting 'learning_speed'"),
        ({"lr": [0.01, 0.003, 0.01]}, {}, "the same run twice: .*lr 0.01"),
        ({"lr": [0.01]}, {"num_workers": "2"}, "num_workers must be a whole number"),
        ({"lr": [0.01]}, {"num_workers": 0}, "num_workers must be a whole number"),
        ({"lr": [0.01, -1]}, {}, "lr must be a number above 0"),
        ({"lr": 0.01}, {}, "a dict of lists.*'lr'"),
        ([], {}, "the grid is empty"),
        ({"lr": [0.01], "hidden_size": [-1]}, {}, "CNN cannot be made with.*hidden_size"),
        ({"lr": []}, {}, "'lr'"),
        ({"lr": [0.01], "batch_size": [0]}, {}, "batch_size must be"),
        ({"lr": [0.01], "batch_size": [601]}, {}, "batch_size must be"),
        ({"lr": [0.01]}, {"num_epochs": 0}, "num_epochs must be"),
        ({"batch_size": [64]}, {}, "setting 'lr' is missing"),
        ({"lr": [0.01]}, {"network": "CNN"}, "network must be one of"),
    ],
)
def test_senseless_settings_are_refused_before_training(search, trainings, grid, settings, message):
    with pytest.raises(ValueError, match=message):
        search(grid, **{"batch_size": 64, **settings})
    assert trainings == []


def test_keep(search, tmp_path, few):
    run = search().iloc[0]
    search.keep(run, tmp_path / "models" / "kept.pt")
    kept = weights.load_model(tmp_path / "models" / "kept.pt")
    assert evaluation.evaluate(kept, few[1]) == evaluation.evaluate(
        search.load_model(run), few[1]
    )
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["kept.pt"]


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from study import data, search
from network import CNN
if __name__ == "__main__":
    train, _ = data.load(sys.argv[1])
    runs = search.search(
        {"lr": [0.01, 0.003, 0.001], "seed": [0, 1]}, train[:2000], train[2000:2500],
        study="killed", runs_dir=sys.argv[2], network=CNN, batch_size=64, num_epochs=2,
    )
    runs.drop(columns=["seconds", "folder"]).to_csv(sys.argv[3])
"""


def start_search(tmp_path: Path, runs_dir: str) -> subprocess.Popen:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, ROOT / "data", tmp_path / runs_dir, f"{runs_dir}.csv"]
    return subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True
    )


def children(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_two_runs(process: subprocess.Popen, folder: Path) -> None:
    while process.poll() is None and len(list(folder.glob("CNN*"))) < 2:
        time.sleep(0.01)


def test_killed_search_goes_on_to_the_same_end(tmp_path):
    """SIGKILL in the middle; started again, the outcome equals an undisturbed one exactly."""
    undisturbed = start_search(tmp_path, "undisturbed")
    assert undisturbed.wait(timeout=300) == 0

    killed = start_search(tmp_path, "killed")
    finished = tmp_path / "killed" / "killed"
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

    assert start_search(tmp_path, "killed").wait(timeout=300) == 0
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    names = [
        sorted(p.name for p in (tmp_path / d / "killed").iterdir() if p.name[0] != ".")
        for d in ("killed", "undisturbed")
    ]
    assert names[0] == names[1]
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()
    for name in names[0]:
        versions = [
            weights.version(weights.load_model(tmp_path / d / "killed" / name / "model.pt"))
            for d in ("killed", "undisturbed")
        ]
        assert versions[0] == versions[1]


def test_an_interrupted_search_leaves_no_process(tmp_path):
    search = start_search(tmp_path, "interrupted")
    wait_for_two_runs(search, tmp_path / "interrupted" / "killed")
    left_behind = children(search)
    os.killpg(search.pid, signal.SIGINT)  # as Jupyter and a terminal do
    assert search.wait(timeout=30) != 0
    _, alive = psutil.wait_procs(left_behind, timeout=10)
    assert not alive


QUIET_SCRIPT = """
import os, sys
from study import data, search
from network import CNN
if __name__ == "__main__":
    train, _ = data.load(sys.argv[1])
    # The later networks are larger by far: memory that their workers keep looks like a leak.
    search.search(
        {"hidden_size": [8, 9, 20_000, 20_001, 10, 11]}, train[:300], study="quiet",
        runs_dir=sys.argv[2], network=CNN, lr=0.01, batch_size=150, num_epochs=1, num_workers=2,
        progress=False, tensorboard=False,
    )
"""


def test_a_search_is_quiet_whatever_its_workers_memory_and_folders(tmp_path):
    """In a temporary folder with an umlaut, as that of a user of Windows may have one."""
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
    assert len(list((tmp_path / "runs" / "quiet").glob("CNN*"))) == 6


def test_a_worker_ended_from_outside_is_explained(few, tmp_path, monkeypatch):
    monkeypatch.setattr(grid_search, "train_run", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(RunError, match=r"ended from outside.*smaller num_workers"):
        search.search(
            GRID, *few, study="s", runs_dir=tmp_path, network=CNN, num_epochs=1, num_workers=2
        )


def test_a_recurrent_network_may_diverge_beside_its_log(search):
    """Its weights become too large for TensorBoard's histograms before they are infinite."""
    runs = search({"lr": [1e30]}, network=RNN, batch_size=64, hidden_size=8, num_epochs=3)
    assert list(Path(runs["folder"][0]).glob("events*"))
    assert {"valid_loss", "best_epoch"} <= set(runs)


def test_best(search):
    runs = search({"lr": [1e30, 0.01, 0.001]}, batch_size=64, num_epochs=3)
    assert list(runs["status"]) == ["diverged", "finished", "finished"]
    assert search.best(runs, "valid_loss")["lr"] == runs.loc[runs["valid_loss"].idxmin(), "lr"]
    with pytest.raises(search.NoneConverged, match="None of the 1 runs converged"):
        search.best(runs[:1], "valid_loss")


def test_a_dict_is_a_setting_like_any_other(search):
    strengths = [None, {"rotation": 10, "elastic": 0.5}]
    runs = search({"augmentation": strengths}, lr=0.01, batch_size=64)
    assert runs["augmentation"].fillna("none").tolist() == ["none", "rotation 10, elastic 0.5"]
    assert runs["folder"].nunique() == 2
    content = json.loads((Path(runs["folder"][1]) / "settings.json").read_text())
    assert content["fit"]["augmentation"] == strengths[1]
    assert len(search.histories(runs)) == 2
