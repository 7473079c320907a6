"""How far does a Dask cluster carry the grid?

Everything on this machine: a scheduler, and workers of one thread, each a process of its own,
started and warm before time is taken.

1. Runs that do nothing, on two workers: milliseconds a run, from the call of the search to the
   last run written; bytes moved; peak memory of this process, PyTorch and the data included;
   seconds to resume the search when all are done.
2. Short trainings of the CNN, batch 256: without a cluster, then on one worker and on two.
   The overhead is the time of the search beyond the trainings themselves, as each worker clocks
   them, as a part of a training; the efficiency is the speed of two workers against twice that
   of one. The second worker's share of the caches and of memory counts against the efficiency.

    python benchmarks/grid_scaling.py [--nothing 2000] [--runs 8] [--images 60000] [--epochs 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import joblib
import pandas as pd
import psutil
import torch
from distributed import Client

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from network import CNN  # noqa: E402
from study import (
    cluster,
    grid_search,
    mnist,
    training,
)

TRAIN = grid_search._train


def train_nothing(folder, run, identity, train, valid, tensorboard):
    """In a worker, in the place of a training: the files of a run, without one."""
    result = {"status": "finished", "train_loss": 0.0, "train_accuracy": 1.0, "seconds": 0.0}
    settings = json.dumps(identity | {"result": result}).encode()
    return folder, {"model.pt": b"", "history.csv": b"epoch\n", "settings.json": settings}


def train_clocked(*arguments):
    """In a worker: a training, and beside its files the seconds that it took there."""
    start = time.perf_counter()
    folder, files = TRAIN(*arguments)
    return folder, files | {"clock": str(time.perf_counter() - start).encode()}


@contextmanager
def cluster_of(num_workers: int):
    """A client of a cluster, started as in the README, whose workers have imported the study."""
    with tempfile.TemporaryDirectory() as folder:
        scheduler_file = str(Path(folder) / "scheduler.json")
        options = ["--scheduler-file", scheduler_file, "--host", "127.0.0.1"]
        options += ["--dashboard-address", "127.0.0.1:0"]
        commands = [
            ["worker", "--nthreads", "1", "--nworkers", str(num_workers)],
            ["scheduler", "--port", "0"],
        ]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *options],
                cwd=ROOT,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        try:
            with Client(scheduler_file=scheduler_file, timeout=120) as client:
                client.wait_for_workers(num_workers)
                client.run(__import__, "grid_search")
                yield client
        finally:
            for process in processes:  # workers first: they take leave of the scheduler
                process.terminate()
                process.wait()


def search(train: mnist.Digits, runs_dir: Path, num_runs: int, train_run, **settings):
    """Seconds of a search of ``num_runs`` seeds on the cluster at hand, and its table."""
    grid_search._train = train_run
    start = time.perf_counter()
    runs = grid_search.search(
        {"seed": range(num_runs)},
        train,
        study="scaling",
        runs_dir=runs_dir,
        num_workers=1,
        progress=False,
        network=CNN,
        lr=0.001,
        batch_size=256,
        **settings,
    )
    seconds = time.perf_counter() - start
    grid_search._train = TRAIN
    return seconds, runs


def loopback_bytes() -> int:
    """Bytes that went between processes of this machine so far (Linux and macOS)."""
    counters = psutil.net_io_counters(pernic=True)
    return sum(counter.bytes_sent for name, counter in counters.items() if name[:2] == "lo")


def peak_memory() -> float:
    """Peak memory of this process in GB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def measure_nothing(train: mnist.Digits, num_runs: int) -> None:
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder, cluster_of(2) as client:
        with joblib.parallel_config(backend="dask"):
            search(train, Path(folder) / "warm", 2, train_nothing, num_epochs=1)
            sent = loopback_bytes()
            seconds, _ = search(train, Path(folder), num_runs, train_nothing, num_epochs=1)
            sent = loopback_bytes() - sent
            resumed, _ = search(train, Path(folder), num_runs, train_nothing, num_epochs=1)
        peak = peak_memory()
        data_hash = mnist.fingerprint(train, None)
        packed = client.get_metadata([cluster.DATA_KEY, data_hash, "arrays"])
    print(
        f"{num_runs} runs that do nothing: {seconds / num_runs * 1000:.1f} ms a run, "
        f"{sent / num_runs / 1e3:.1f} KB moved a run"
    )
    print(f"peak memory of the driver: {peak:.2f} GB ({before:.2f} GB before)")
    print(f"seconds to resume when all are done: {resumed:.1f}")
    print(f"data, once for the scheduler and once for a worker without: {len(packed) / 1e6:.1f} MB")


def measure_trainings(train: mnist.Digits, num_runs: int, num_epochs: int) -> None:
    rows = []
    for num_workers in (0, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            with (
                cluster_of(num_workers) if num_workers else nullcontext(),
                joblib.parallel_config(backend="dask" if num_workers else "loky"),
            ):
                search(train[:512], Path(folder) / "warm", 4, TRAIN, num_epochs=1)
                sent = loopback_bytes()
                seconds, runs = search(
                    train, Path(folder), num_runs, train_clocked, num_epochs=num_epochs
                )
                sent = loopback_bytes() - sent
            clocks = [float((Path(run) / "clock").read_text()) for run in runs["folder"]]
        rows.append(
            {
                "workers": num_workers or "no cluster",
                "seconds": seconds,
                "seconds a training": statistics.mean(clocks),
                "overhead": (seconds * max(num_workers, 1) - sum(clocks)) / sum(clocks),
                "MB moved a run": sent / num_runs / 1e6,
            }
        )
    table = pd.DataFrame(rows)
    print(f"\n{num_runs} trainings, {len(train)} images, {num_epochs} epochs:")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    none, one, two = table["seconds"]
    print(f"overhead of the cluster: {table['overhead'][1]:.1%} of a run (one worker)")
    print(f"one worker against no cluster: {one / none - 1:+.1%}")
    print(f"efficiency from one worker to two: {one / (2 * two):.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nothing", type=int, default=2000, help="runs that do nothing")
    parser.add_argument("--runs", type=int, default=8, help="trainings for each number of workers")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of a training")
    arguments = parser.parse_args()
    train, _ = mnist.load(ROOT / "data")
    train = train[: arguments.images]
    device = training.default_device()
    print(f"{device}, {training.fast_precision(device)}, torch {torch.__version__}")
    measure_nothing(train, arguments.nothing)
    measure_trainings(train, arguments.runs, arguments.epochs)


if __name__ == "__main__":
    main()
