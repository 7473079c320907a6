"""The grid on a cluster of real processes on loopback, started as a user would; some are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import joblib
import pandas as pd
import pytest
import torch
from distributed import Client

from conftest import ROOT
from network import CNN
from study import cluster, grid_search, mnist, training, weights

GRID = {"lr": [0.01, 0.003, 0.001], "seed": [0, 1]}
SECONDS = 300  # for one step, on a busy machine; a few are usual


class Cluster:
    """A scheduler and workers, each a process group of its own; logs in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}
        # In a folder without the package: the scheduler does not need it.
        self.start("scheduler", folder, "scheduler", "--port", "0")
        self.client = Client(scheduler_file=folder / "scheduler.json", timeout=SECONDS)

    def start(self, name: str, cwd: Path, *command: str) -> None:
        loopback = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
        scheduler_file = ("--scheduler-file", self.folder / "scheduler.json")
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *loopback, *scheduler_file],
                cwd=cwd,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
                stderr=log,
                start_new_session=True,
            )

    def start_worker(self, name: str, cwd: Path = ROOT, *options: str) -> None:
        if "--nthreads" not in options:
            options = ("--nthreads", "1", *options)
        self.start(name, cwd, "worker", "--name", name, *options)

    def wait_for_workers(self, count: int) -> None:
        self.client.wait_for_workers(count, timeout=SECONDS)

    def address(self, name: str) -> str:
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return next(address for address, worker in workers.items() if worker["name"] == name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """SIGKILL to the whole group: a worker, and the nanny that would start it again."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        self.client.close(timeout=1)


@pytest.fixture
def processes(tmp_path) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    started = Cluster(tmp_path / "cluster")
    yield started
    started.close()


@pytest.fixture(scope="module")
def no_data(tmp_path_factory) -> Path:
    """A folder that has the modules of this study, and not its data."""
    folder = tmp_path_factory.mktemp("no_data")
    for module in ROOT.glob("*.py"):
        shutil.copy(module, folder)
    return folder


def search(data, runs_dir: Path, grid=GRID, **settings) -> pd.DataFrame:
    return grid_search.search(
        grid,
        *data,
        study="study",
        runs_dir=runs_dir,
        progress=False,
        **{"network": CNN, "batch_size": 64, "num_epochs": 3, **settings},
    )


def search_there(*arguments, **settings) -> pd.DataFrame:
    with joblib.parallel_config(backend="dask"):
        return search(*arguments, **settings)


def begin_search_there(*arguments, **settings) -> Future:
    return ThreadPoolExecutor(1).submit(search_there, *arguments, **settings)


def wait_for(what, running: Future | None = None) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, "nothing happened"
        if running is not None and running.done():
            running.result()
            raise AssertionError("the search ended too early")
        time.sleep(0.01)


def finished(runs_dir: Path) -> list[Path]:
    return sorted((runs_dir / "study").glob("CNN*/model.pt"))


def assert_same(runs: pd.DataFrame, others: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        runs.drop(columns=["seconds", "folder"]),
        others.drop(columns=["seconds", "folder"]),
        check_exact=True,
    )
    for folder, other in zip(runs["folder"], others["folder"], strict=True):
        assert Path(folder).name == Path(other).name
        assert {p.name for p in Path(folder).iterdir()} >= set(grid_search.RUN_FILES)
        states = [
            weights.read_model_file(Path(f) / "model.pt")["state_dict"] for f in (folder, other)
        ]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_killed_worker_changes_nothing(processes, few, no_data, tmp_path):
    """One worker has the data on its disk, the other gets it once; one dies in a run."""
    processes.start_worker("with_data")
    processes.start_worker("no_data", no_data)
    processes.wait_for_workers(2)
    running = begin_search_there(few, tmp_path / "there")
    has_data = "data .* from the disk", "data .* from the driver"
    wait_for(lambda: re.search(has_data[0], processes.log("with_data")), running)
    wait_for(lambda: re.search(has_data[1], processes.log("no_data")), running)
    wait_for(lambda: finished(tmp_path / "there"), running)
    address = processes.address("with_data")
    wait_for(lambda: processes.client.processing()[address], running)
    processes.kill("with_data")
    there = running.result(timeout=SECONDS)
    assert len(re.findall(has_data[1], processes.log("no_data"))) == 1

    assert_same(there, search(few, tmp_path / "here", num_workers=1))
    kept = {path: path.stat().st_mtime_ns for path in finished(tmp_path / "there")}
    pd.testing.assert_frame_equal(search_there(few, tmp_path / "there"), there, check_exact=True)
    assert kept == {path: path.stat().st_mtime_ns for path in finished(tmp_path / "there")}


def test_the_scheduler_goes_away(processes, few, tmp_path):
    """And until it does, its only worker trains every run: none is trained in this process."""
    processes.start_worker("worker")
    processes.wait_for_workers(1)
    running = begin_search_there(few, tmp_path)
    wait_for(lambda: finished(tmp_path), running)
    assert len(re.findall("data .* from the disk", processes.log("worker"))) == 1
    processes.kill("scheduler")
    with pytest.raises(cluster.ClusterError, match=r"scheduler at tcp://.* was lost.*are kept"):
        running.result(timeout=SECONDS)
    kept = {path: path.stat().st_mtime_ns for path in finished(tmp_path)}
    assert 0 < len(kept) < 6
    assert list(search(few, tmp_path, num_workers=1)["status"]) == ["finished"] * 6
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())


def test_other_versions_are_refused(processes, few, no_data, tmp_path):
    processes.start_worker("no_package", tmp_path)
    other_code = shutil.copytree(no_data, tmp_path / "other_code")
    source = (other_code / "network.py").read_text()
    (other_code / "network.py").write_text(source.replace("0.1307", "0.1308"))
    processes.start_worker("other_code", other_code)
    preload = tmp_path / "older.py"
    preload.write_text("import torch\ntorch.__version__ = '1.0.0'\n")
    processes.start_worker("other_torch", ROOT, "--preload", str(preload))
    processes.start_worker("two_threads", ROOT, "--nthreads", "2")
    processes.wait_for_workers(4)
    with pytest.raises(cluster.ClusterError) as error:
        search_there(few, tmp_path / "runs")
    code, version = grid_search.CODE_HASHES["CNN"], re.escape(torch.__version__)
    for name, problem in {
        "no_package": rf"No module named 'grid_search'.*code of CNN {code}, .*torch {version}",
        "other_code": rf"has code of CNN [0-9a-f]+ \(needed: {code}\)",
        "other_torch": rf"has torch 1\.0\.0 \(needed: {version}\)",
        "two_threads": "has 2 threads.*--nthreads 1",
    }.items():
        assert re.search(f"{processes.address(name)} [^\n]*{problem}", str(error.value)), name
    assert finished(tmp_path / "runs") == []


def test_who_joins_later_is_refused_too(processes, few, tmp_path):
    processes.start_worker("worker")
    processes.wait_for_workers(1)
    running = begin_search_there(few, tmp_path, {"lr": [0.001], "seed": range(100)}, num_epochs=9)
    processes.start_worker("no_package", tmp_path)
    with pytest.raises(cluster.ClusterError, match="No module named 'grid_search'"):
        running.result(timeout=SECONDS)
    # What was not begun is not begun any more.
    wait_for(lambda: not any(processes.client.processing().values()))
    assert len(finished(tmp_path)) < 100


def test_a_machine_that_computes_otherwise_is_refused(processes, few, tmp_path, monkeypatch):
    processes.start_worker("worker")
    processes.wait_for_workers(1)
    monkeypatch.setattr(training, "fast_precision", lambda device: "another precision")
    with pytest.raises(cluster.ClusterError, match=r"precision .*needed: another precision"):
        search_there(few, tmp_path)


def test_rows_of_the_training_file(digits):
    train, test = digits
    parts = mnist.split(train, 0.2, seed=0)
    taken = cluster._take(cluster._rows(parts))
    assert mnist.fingerprint(*taken) == mnist.fingerprint(*parts)
    without_valid = cluster._take(cluster._rows((train[:10], None)))
    assert mnist.fingerprint(*without_valid) == mnist.fingerprint(train[:10], None)
    assert cluster._rows((train[:10], test[:10])) is None


def test_only_one_module_needs_dask():
    pattern = re.compile(r"^\s*(?:from|import) (?:dask|distributed)", re.MULTILINE)
    needing = [path.name for path in ROOT.glob("*.py") if pattern.search(path.read_text())]
    assert needing == ["cluster.py"]
