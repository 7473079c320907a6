"""Train the runs of a search in new processes on this machine, several at once.

A process imports the code anew, so that no run is trained with code imported before an edit or
changed in a notebook. It ends with the process that searches.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import joblib
import psutil
import torch
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from study import runs
from study.data import Digits
from study.device import where_to_train
from study.runs import Run

Outcome = dict[str, bytes] | str  # the files of a run by name, or why it failed
_digits: tuple[Digits, Digits | None]  # in a worker: what it trains on
_problem: str  # in a worker: why it must not train, or ""


def default_number(device: str | None = None) -> int:
    """Return how many runs train at once: one per physical core, or one on an accelerator."""
    if where_to_train(device)[0].type != "cpu":
        return 1
    return joblib.cpu_count(only_physical_cores=True)


def train_all(
    jobs: dict[Path, tuple[Run, dict]],
    train: Digits,
    valid: Digits | None,
    tensorboard: bool,
    num_workers: int,
) -> Iterator[tuple[Path, Outcome]]:
    """Train on this machine; yield each run's folder and files as it ends.

    If a process is ended from outside, which ends the others too, all remaining runs are trained
    one after another, so that each has the memory to itself, and a failure costs only that run.
    """
    left = dict(jobs)
    try:
        for folder, outcome in _train_in_new_processes(
            jobs, train, valid, tensorboard, num_workers
        ):
            del left[folder]
            yield folder, outcome
    except BrokenProcessPool:
        for folder, job in left.items():
            try:
                yield from _train_in_new_processes({folder: job}, train, valid, tensorboard, 1)
            except TerminatedWorkerError:
                yield folder, "its process was ended from outside, perhaps because memory ran out"
            except BrokenProcessPool as error:
                yield folder, f"its process could not begin: {error.__cause__ or error}"


def _train_in_new_processes(
    jobs: dict[Path, tuple[Run, dict]],
    train: Digits,
    valid: Digits | None,
    tensorboard: bool,
    num_workers: int,
) -> Iterator[tuple[Path, Outcome]]:
    """Train several runs at once. joblib would train a single one here, with what was imported."""
    if not jobs:
        return
    # As arrays: a tensor that is part of another would be pickled with all of it.
    arrays = [p and (p.images.numpy(), p.labels.numpy()) for p in (train, valid)]
    executor = ProcessPoolExecutor(
        min(num_workers, len(jobs)),
        initializer=_begin_worker,
        initargs=(os.getpid(), arrays, {run.network: told["code"] for run, told in jobs.values()}),
    )
    futures = {executor.submit(_train, *job, tensorboard): f for f, job in jobs.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
            del futures[future]
    finally:  # nobody will collect the results of any that are left
        executor.shutdown(kill_workers=bool(futures))


def _begin_worker(parent: int, arrays: list, codes: dict[type, str]) -> None:
    """In a worker: check its code, take the images, and end when the process that searches ends."""
    global _digits, _problem
    _problem = "".join(runs.code_problem(network, code) for network, code in codes.items())
    _digits = tuple(p and Digits(*map(torch.from_numpy, p)) for p in arrays)

    def follow() -> None:  # on Windows, a process keeps the number of a parent that has ended
        while os.getppid() == parent and psutil.pid_exists(parent):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _train(run: Run, identity: dict, tensorboard: bool) -> Outcome:
    """In a worker: train a run; an error costs only this run."""
    return _problem or runs.train(run, identity, *_digits, tensorboard)
