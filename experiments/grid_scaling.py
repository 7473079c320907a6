"""How far does a Dask cluster carry a search?

Everything runs on this machine: a scheduler, and workers of one thread, started and warm before
time is taken. First come runs that do nothing, on two workers: what a run costs besides its
training. Then come trainings of the CNN, batch 256: without a cluster, on one worker, and on two.
The overhead is the time of the search beyond the trainings themselves, as the workers clock them.

    python -m experiments.grid_scaling [--nothing 2000] [--runs 8] [--images 60000] [--epochs 2]
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd
import psutil
import torch
from distributed import Client

from experiments.training_speed import peak_memory
from network import CNN
from study import cluster, data, search, tables
from study.runs import Run, train_run

ROOT = Path(__file__).parent.parent


def train_nothing(run: Run, identity: dict, *_) -> dict[str, bytes]:
    """In a worker, in place of ``train_run``: the files of a run that was not trained."""
    result = {"status": "finished", "train_loss": 0.0, "train_accuracy": 1.0, "seconds": 0.0}
    weights = io.BytesIO()
    torch.save({}, weights)
    return {
        "model.pt": weights.getvalue(),
        "history.csv": b"epoch,train_loss\n1,0.0\n",
        "settings.json": json.dumps(identity | {"result": result}).encode(),
    }


def train_clocked(*arguments) -> dict[str, bytes]:
    """In a worker, in place of ``train_run``: a training, and the seconds that it took there."""
    start = time.perf_counter()
    files = train_run(*arguments)
    return files | {"clock": str(time.perf_counter() - start).encode()}


@contextmanager
def cluster_of(num_workers: int, train: Callable) -> Iterator[Client]:
    """Start a cluster as docs/cluster.md does, whose workers call ``train`` for each run."""

    def prepare() -> None:
        cluster.train_run = train

    dask = [sys.executable, "-m", "dask"]
    workers = ["worker", "--nthreads", "1", "--nworkers", str(num_workers)]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--scheduler-file", str(Path(folder) / "scheduler.json")]
        options += ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        processes = [
            subprocess.Popen([*dask, *command, *options], cwd=ROOT, stderr=subprocess.DEVNULL)
            for command in (workers, ["scheduler", "--port", "0"])
        ]
        try:
            with Client(scheduler_file=options[1], timeout=120) as client:
                client.wait_for_workers(num_workers)
                client.run(prepare)
                yield client
        finally:
            for process in processes:  # workers first: they take leave of the scheduler
                process.terminate()
                process.wait()


def search(
    train: data.Digits, runs_dir: Path, num_runs: int, client: Client | None, num_epochs: int
) -> tuple[float, pd.DataFrame]:
    """Search over ``num_runs`` seeds; return the seconds that it took, and its table."""
    start = time.perf_counter()
    runs = search.search(
        {"seed": range(num_runs)},
        train,
        study="scaling",
        runs_dir=runs_dir,
        num_workers=1,
        client=client,
        progress=False,
        network=CNN,
        lr=0.001,
        batch_size=256,
        num_epochs=num_epochs,
    )
    return time.perf_counter() - start, runs


def bytes_sent() -> int:
    """Bytes sent between processes of this machine so far (Linux and macOS)."""
    counters = psutil.net_io_counters(pernic=True)
    return sum(counter.bytes_sent for name, counter in counters.items() if name[:2] == "lo")


def measure_nothing(train: data.Digits, num_runs: int) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder, cluster_of(2, train_nothing) as client:
        search(train, Path(folder) / "warm", 2, client, 1)
        before = bytes_sent()
        seconds, _ = search(train, Path(folder), num_runs, client, 1)
        sent = bytes_sent() - before
        resumed, _ = search(train, Path(folder), num_runs, client, 1)
        data = client.get_metadata([cluster.DATA_KEY, data.fingerprint(train, None), "size"])
    return {
        "ms a run": f"{seconds / num_runs * 1000:.1f}",
        "kB a run": f"{sent / num_runs / 1e3:.1f}",
        "GB in use": f"{peak_memory():.2f}",
        "s to resume": f"{resumed:.1f}",
        "MB of images": f"{data / 1e6:.1f}",
    }


def measure_trainings(
    train: data.Digits, num_runs: int, num_epochs: int, num_workers: int
) -> dict[str, float]:
    """Train on a cluster, or without one (``num_workers`` 0), warm."""
    there = cluster_of(num_workers, train_clocked) if num_workers else nullcontext()
    with tempfile.TemporaryDirectory() as folder, there as client:
        search(train[:512], Path(folder) / "warm", 4, client, 1)
        before = bytes_sent()
        seconds, runs = search(train, Path(folder), num_runs, client, num_epochs)
        sent = bytes_sent() - before
        clocks = [Path(folder) / "clock" for folder in runs["folder"]] if client else []
        trainings = sum(float(clock.read_text()) for clock in clocks) if client else seconds
    return {
        "workers": num_workers,
        "seconds": seconds,
        "s a training": trainings / num_runs,
        "overhead": seconds * max(num_workers, 1) / trainings - 1,
        "MB a training": sent / num_runs / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nothing", type=int, default=2000, help="runs that do nothing")
    parser.add_argument("--runs", type=int, default=8, help="trainings for each number of workers")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of a training")
    parser.add_argument("--report", type=Path, help="Markdown page that gets this machine's row")
    arguments = parser.parse_args()
    train = data.load(ROOT / "data")[0][: arguments.images]
    row = measure_nothing(train, arguments.nothing)
    none, one, two = (
        measure_trainings(train, arguments.runs, arguments.epochs, num_workers)
        for num_workers in (0, 1, 2)
    )
    print(pd.DataFrame([none, one, two]).round(3).to_string(index=False))
    row |= {
        "s a training": f"{one['s a training']:.1f}",
        "MB a training": f"{one['MB a training']:.1f}",
        "overhead": f"{one['overhead']:.1%}",
        "one worker against none": f"{one['seconds'] / none['seconds'] - 1:+.1%}",
        "efficiency of two": f"{one['seconds'] / (2 * two['seconds']):.0%}",
    }
    for name, value in row.items():
        print(f"{name:25} {value}")
    if arguments.report:
        tables.write_row(arguments.report, "grid-scaling", tables.machine() | row)


if __name__ == "__main__":
    main()
