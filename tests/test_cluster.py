"""Searches on a cluster of real processes on loopback, some of which are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
from distributed import Client

from conftest import ROOT
from network import CNN
from study import cluster, weights
from study import runs as kept_runs
from study import search as grid_search
from study.code_hash import code_hash
from study.runs import RunError

GRID = {"lr": [0.01, 0.003, 0.001], "seed": [0, 1]}
SECONDS = 300  # for one step, on a busy machine; a few are usual


class Cluster:
    """A scheduler and workers, each a process group of its own; logs in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}
        self.client: Client | None = None

    def start_scheduler(self) -> None:
        self.close()
        (self.folder / "scheduler.json").unlink(missing_ok=True)
        # In a folder without the study: the scheduler does not need it.
        self.start("scheduler", self.folder, "scheduler", "--port", "0")
        self.client = Client(scheduler_file=self.folder / "scheduler.json")

    def start_worker(self, name: str, cwd: Path = ROOT, *options: str) -> None:
        """Without a nanny, which takes as long to start as the worker itself."""
        if "--nthreads" not in options:
            options = ("--nthreads", "1", *options)
        self.start(name, cwd, "worker", "--name", name, "--no-nanny", *options)

    def start(self, name: str, cwd: Path, *command: str) -> None:
        loopback = ("--dashboard-address", "127.0.0.1:0")
        if "--listen-address" not in command:
            loopback += ("--host", "127.0.0.1")
        scheduler_file = ("--scheduler-file", self.folder / "scheduler.json")
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *loopback, *scheduler_file],
                cwd=cwd,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
                stderr=log,
                start_new_session=True,
            )

    def wait_for_workers(self) -> None:
        """Until the scheduler knows every worker that was started, and no other."""
        wait_for(lambda: len(self.client.nthreads()) == len(self.processes) - 1)

    def address(self, name: str) -> str:
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return next(address for address, worker in workers.items() if worker["name"] == name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """SIGKILL to the whole group, which says goodbye to nobody."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        if self.client is not None:
            self.client.close(timeout=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.close()


@pytest.fixture
def processes(shared) -> Iterator[Cluster]:
    """A cluster with one good worker, which the next test uses again if this one leaves it."""
    if "scheduler" not in shared.processes:
        shared.start_scheduler()
    if "good" not in shared.processes:
        shared.start_worker("good")
    shared.wait_for_workers()
    yield shared
    for name in set(shared.processes) - {"scheduler", "good"}:
        shared.kill(name)


@pytest.fixture(scope="module")
def other_code(tmp_path_factory) -> Path:
    """A folder with the study, in which one number of a network is another."""
    folder = tmp_path_factory.mktemp("other_code")
    for module in ("network.py", "mlp.py", "rnns.py"):
        shutil.copy(ROOT / module, folder)
    shutil.copytree(ROOT / "study", folder / "study")
    source = (folder / "network.py").read_text()
    (folder / "network.py").write_text(source.replace("0.1307", "0.1308"))
    return folder


def search(data, runs_dir: Path, client: Client | None = None, grid=GRID, **settings):
    return grid_search.search(
        grid,
        *data,
        study="study",
        runs_dir=runs_dir,
        client=client,
        num_workers=1,
        progress=False,
        **{"network": CNN, "batch_size": 64, "num_epochs": 3, **settings},
    )


def begin_search(*arguments, **settings) -> Future:
    return ThreadPoolExecutor(1).submit(search, *arguments, **settings)


def wait_for(what, running: Future | None = None) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, "nothing happened"
        if running is not None and running.done():
            running.result()
            raise AssertionError("the search ended too early")
        time.sleep(0.01)


def finished(runs_dir: Path, study: str = "study") -> list[Path]:
    return sorted((runs_dir / study).glob("CNN*/model.pt"))


def times(runs_dir: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in finished(runs_dir)}


def assert_same(runs: pd.DataFrame, others: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        runs.drop(columns=["seconds", "folder"]),
        others.drop(columns=["seconds", "folder"]),
        check_exact=True,
    )
    for folder, other in zip(runs["folder"], others["folder"], strict=True):
        assert Path(folder).name == Path(other).name
        assert kept_runs.is_kept(Path(folder))
        states = [
            weights.read_model_file(Path(f) / "model.pt")["state_dict"] for f in (folder, other)
        ]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_killed_worker_changes_nothing(processes, few, tmp_path, trainings):
    """One of two dies in a run; the other trains it again, with the results of this machine."""
    processes.start_worker("other")
    processes.wait_for_workers()
    running = begin_search(few, tmp_path / "there", processes.client)
    address = processes.address("other")
    wait_for(lambda: finished(tmp_path / "there"), running)
    wait_for(lambda: processes.client.processing()[address], running)
    processes.kill("other")
    there = running.result(timeout=SECONDS)

    assert trainings == []
    assert_same(there, search(few, tmp_path / "here"))
    kept = times(tmp_path / "there")
    again = search(few, tmp_path / "there", processes.client)
    pd.testing.assert_frame_equal(again, there, check_exact=True)
    assert kept == times(tmp_path / "there")


def test_a_worker_that_joins_late_gets_the_images_and_trains(processes, few, tmp_path):
    """The search waits while there is no worker at all."""
    grid = {"lr": 0.001, "seed": list(range(4))}
    running = begin_search(few, tmp_path, processes.client, grid, num_epochs=5)
    wait_for(lambda: finished(tmp_path), running)
    processes.kill("good")
    wait_for(lambda: not processes.client.nthreads(), running)
    assert len(finished(tmp_path)) < 4
    processes.start_worker("good")
    assert list(running.result(timeout=SECONDS)["status"]) == ["finished"] * 4


def test_an_interrupted_search_leaves_nothing(processes, few, tmp_path, monkeypatch):
    def interrupt(folder: Path, files: dict[str, bytes]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kept_runs, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(few, tmp_path, processes.client, {"lr": 0.001, "seed": list(range(100))})
    wait_for(lambda: not any(processes.client.processing().values()))
    assert processes.client.futures == {}


def test_workers_that_compute_otherwise_are_refused(processes, few, other_code, tmp_path):
    """They get no runs; where all of them are such, the search says what each lacks."""
    processes.kill("good")
    processes.start_worker("no_study", processes.folder)
    processes.start_worker("other_code", other_code)
    processes.start_worker("two_threads", ROOT, "--nthreads", "2")
    processes.wait_for_workers()
    with pytest.raises(cluster.ClusterError) as error:
        search(few, tmp_path / "runs", processes.client)
    for name, problem in {
        "no_study": "No module named 'study'",
        "other_code": rf"code [0-9a-f]+ \(needed: {code_hash(CNN)}\)",
        "two_threads": r"--nthreads 2 \(needed: 1\)",
    }.items():
        assert re.search(f"{processes.address(name)} [^;]*{problem}", str(error.value)), name
    assert finished(tmp_path / "runs") == []

    processes.start_worker("good")
    processes.wait_for_workers()
    table = search(few, tmp_path / "runs", processes.client, {"lr": [0.01, 0.003]})
    assert list(table["status"]) == ["finished"] * 2
    for name in ("no_study", "other_code", "two_threads"):
        assert processes.processes.pop(name).wait(timeout=SECONDS) is not None
        assert "This worker closes: it" in processes.log(name)


def test_another_version_of_torch_computes_otherwise(monkeypatch):
    identity = kept_runs.environment(CNN, None, None)
    monkeypatch.setattr(torch, "__version__", "1.0.0")
    problem = cluster.problem({("network", "CNN"): identity}, num_threads=1)
    assert problem == f"has torch 1.0.0 (needed: {identity['torch']})"


def test_the_scheduler_goes_away(processes, few, tmp_path, trainings):
    """And until it does, the only worker trains every run: none is trained in this process."""
    seconds = 10  # in which another scheduler might answer in its place; 30 is usual
    client = Client(scheduler_file=processes.folder / "scheduler.json", timeout=seconds)
    running = begin_search(few, tmp_path, client)
    wait_for(lambda: finished(tmp_path), running)
    processes.kill("scheduler")
    with pytest.raises(
        cluster.ClusterError, match=r"scheduler at tcp://.* was lost\. .*are kept: connect again"
    ):
        running.result(timeout=SECONDS)
    kept = times(tmp_path)
    assert 0 < len(kept) < 6
    with pytest.raises(cluster.ClusterError, match="was lost"):
        search(few, tmp_path, client)
    assert trainings == []
    assert list(search(few, tmp_path)["status"]) == ["finished"] * 6
    assert kept.items() <= times(tmp_path).items()


def test_a_run_that_ends_its_workers_costs_that_run_alone(shared, few, tmp_path, monkeypatch):
    preload = tmp_path / "out_of_memory.py"
    preload.write_text(
        "import os\nfrom study import runs\n"
        "def fragile(run, *rest, train=runs.train):\n"
        "    os._exit(1) if run.settings.lr == 0.5 else None\n"
        "    return train(run, *rest)\n"
        "if runs.train.__name__ == 'train':\n"  # Dask loads this more than once
        "    runs.train = fragile\n"
    )
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    shared.start_scheduler()
    # With a nanny, which starts the worker again.
    shared.start("fragile", ROOT, "worker", "--nthreads", "1", "--preload", str(preload))
    shared.wait_for_workers()
    with pytest.raises(RunError, match=r"1 of 2 runs failed.*lr 0\.5: several workers were lost"):
        search(few, tmp_path / "runs", shared.client, {"lr": [0.5, 0.01]})
    assert len(finished(tmp_path / "runs")) == 1


def test_the_page_about_clusters(tmp_path, monkeypatch):
    """Its commands and code over TLS, with one worker on another port, and few images."""
    for name in ("study", "data", "network.py", "mlp.py", "rnns.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    page = (ROOT / "docs" / "cluster.md").read_text()
    for old, new in {
        "SCHEDULER:8786": f"127.0.0.1:{port}",
        "--protocol tls": f"--protocol tls --host 127.0.0.1 --port {port}",
        "127.0.0.1:8787": "127.0.0.1:0",
        "--nworkers 2": "--nworkers 1",
        "python -m": f"exec {sys.executable} -m",
        "data.load()[0]": "data.load()[0][:800]",
        "num_epochs=4": "num_epochs=1",
        'client = Client("tcp://127.0.0.1:8786")\n': "",
    }.items():
        assert old in page, old
        page = page.replace(old, new)
    blocks = re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL)
    local, tls = (block for language, block in blocks if language == "python")
    [openssl, commands] = (block for language, block in blocks if not language and "pem" in block)
    subprocess.run(["bash", "-ec", openssl], check=True, capture_output=True)
    assert (tmp_path / "key.pem").exists()
    variable, *commands = commands.splitlines()
    processes = [
        subprocess.Popen(
            ["bash", "-ec", f"{variable}\n{command}"],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    names = {}
    try:
        exec(tls, names)
        with names["client"]:
            exec(local, names)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert list(names["runs"]["status"]) == ["finished"] * 4
    assert len(finished(tmp_path / "runs", "cluster")) == 4


def test_only_one_module_needs_dask():
    pattern = re.compile(r"^(?:from|import) (?:dask|distributed)", re.MULTILINE)
    modules = [*ROOT.glob("*.py"), *ROOT.glob("study/**/*.py"), *ROOT.glob("app/*.py")]
    needing = [path.name for path in modules if pattern.search(path.read_text())]
    assert needing == ["cluster.py"]


def test_the_key_of_a_cluster_is_not_committed(tmp_path):
    """docs/cluster.md has the user make key.pem in the clone."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "check-ignore", "key.pem"], check=True)
