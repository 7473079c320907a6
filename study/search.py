"""Train many: every combination of a grid, several at once, each kept on disk (see ``run``)."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import psutil
import torch
from loky import get_reusable_executor, process_executor
from sklearn.model_selection import ParameterGrid
from torch import nn
from tqdm import tqdm

from study import run as runs_on_disk
from study import training, weights
from study.data import Digits, fingerprint
from study.runs import Run, RunError, train_run
from study.settings import or_none, whole

if TYPE_CHECKING:
    from distributed import Client


class NoneConverged(RuntimeError):
    """No run of a search ended with a loss that is a number; the message says what to change."""


def search(
    grid: dict | list[dict],
    train: Digits,
    valid: Digits | None = None,
    *,
    study: str,
    runs_dir: str | Path = "runs",
    num_workers: int | None = None,
    client: "Client | None" = None,
    retrain: bool = False,
    tensorboard: bool = True,
    progress: bool = True,
    **settings,
) -> pd.DataFrame:
    """Train every combination of ``grid``, except those already trained; return one row a run.

    Each run has one thread, and as many run at once as the machine has physical cores (one
    on an accelerator): the fastest way, with the same result however many run at once. Interrupt it
    whenever you like; what was finished is kept.

    Args:
        grid: lists of values by setting, ``{"lr": [0.01, 0.001], "batch_size": [256]}``, or a
            list of such dicts. A setting is ``network`` (a class of ``weights.NETWORKS``), an
            argument of that class, or a keyword of ``training.fit``.
        study: name of the folder below ``runs_dir`` that keeps the runs.
        num_workers: how many are trained at once on this machine.
        client: of a Dask cluster (docs/cluster.md): the runs are trained there, one on each
            worker, with the same results; only this process writes to ``runs_dir``.
        retrain: train all of them again.
        tensorboard: write a TensorBoard log for each run.
        settings: settings that all runs share.

    Returns:
        The settings of ``grid``, then ``status`` ("finished" or "diverged"), ``train_loss``
        (nats) and ``train_accuracy`` (0 to 1) of the finished model over the training images
        with dropout off, ``best_epoch``, ``valid_loss`` and ``valid_accuracy`` where ``valid``
        is given, ``seconds``, and ``folder``.

    Raises:
        ValueError: a setting is unknown, missing, repeated, or makes no sense (before training).
        run.RunError: a run cannot be trained or written.
        cluster.ClusterError: a worker would compute something else, or the scheduler was lost.
    """
    or_none(whole(1)).check("num_workers", num_workers)
    points = _points(grid)
    jobs = _jobs(points, settings, train, valid, Path(runs_dir) / study)
    folders = list(jobs)
    kept = [] if retrain else [folder for folder in folders if runs_on_disk.is_kept(folder)]
    for folder in kept:
        del jobs[folder]
    if client is not None and jobs:
        from study import cluster  # needs requirements-cluster.txt

        trained = cluster.train_all(client, jobs, train, valid, tensorboard)
    else:
        num_workers = min(num_workers or default_workers(), len(jobs))
        trained = _train_here(jobs, train, valid, tensorboard, num_workers)
    shown = {"desc": study, "unit": "run", "file": sys.stdout, "disable": not progress}
    bar = tqdm(total=len(folders), initial=len(kept), **shown)
    with closing(trained), bar:  # an interrupted search ends its runs
        results = [runs_on_disk.read_result(folder) for folder in kept]
        bar.set_postfix_str(_best_so_far(results, len(kept)))
        for folder, files in trained:
            runs_on_disk.write(folder, files)
            results.append(runs_on_disk.read_result(folder))
            bar.update()
            bar.set_postfix_str(_best_so_far(results, len(kept)))
    return _table(grid, points, folders)


def _jobs(
    points: list[dict], settings: dict, train: Digits, valid: Digits | None, folder: Path
) -> dict[Path, tuple[Run, dict]]:
    """Each run and what identifies it, by the subfolder that is to keep it, in their order."""
    runs = [Run.from_settings(settings | point) for point in points]
    # Each combination of network and batch size is tried once, with one image.
    for run in {repr((r.network, r.arguments, r.settings["batch_size"])): r for r in runs}.values():
        run.check(len(train))
    data_hash, jobs = fingerprint(train, valid), {}
    for point, run in zip(points, runs, strict=True):
        identity = run.identity(data_hash)
        subfolder = folder / runs_on_disk.folder_name(identity)
        if subfolder in jobs:  # two equal rows of the table could not be told apart
            repeated = ", ".join(f"{name} {value!r}" for name, value in point.items())
            raise ValueError(f"the grid has the same run twice: {repeated}")
        jobs[subfolder] = run, identity
    return jobs


def best(runs: pd.DataFrame, by: str) -> pd.Series:
    """Return the run of a search with the lowest loss ``by``: "valid_loss" or "train_loss".

    Raises:
        NoneConverged: every run diverged.
    """
    # Weights may become NaN in the very last step, which no loss of the history has seen.
    finished = runs[(runs["status"] == "finished") & np.isfinite(runs[by])]
    if finished.empty:
        raise NoneConverged(
            f"None of the {len(runs)} runs converged: the loss became infinite or NaN in each. "
            "Lower the learning rates in the settings cell and run the notebook again."
        )
    return finished.loc[finished[by].idxmin()]


def histories(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the histories of all runs of a search as one table, with each run's settings."""
    settings = list(runs.columns[: runs.columns.get_loc("status")])
    return pd.concat(
        [
            runs_on_disk.read_history(Path(run["folder"])).assign(**run[settings].to_dict())
            for _, run in runs.iterrows()
        ],
        ignore_index=True,
    )


def load_model(run: pd.Series) -> nn.Module:
    """Return the trained network of one row of the table, in eval mode, on the CPU."""
    return weights.load_model(Path(run["folder"]) / "model.pt")


def keep(run: pd.Series, path: str | Path, images: torch.Tensor | None = None) -> None:
    """Copy the weights file of one row of the table to ``path``, unless it has those weights.

    With images, uint8 (N, 28, 28), it gets 16-bit weights where no answer to these changes.
    """
    content = (Path(run["folder"]) / "model.pt").read_bytes()
    weights.keep(path, content if images is None else weights.halve(content, images))


def _points(grid: dict | list[dict]) -> list[dict]:
    try:
        points = list(ParameterGrid(grid))
    except TypeError as error:
        raise ValueError(f"a grid is a dict of lists, by setting: {error}") from error
    if not points:
        raise ValueError("the grid is empty")
    return points


def default_workers() -> int:
    """Return how many runs train at once: one a physical core, or one on an accelerator."""
    if training.default_device().type != "cpu":
        return 1
    return joblib.cpu_count(only_physical_cores=True)


def _train_here(
    jobs: dict[Path, tuple[Run, dict]],
    train: Digits,
    valid: Digits | None,
    tensorboard: bool,
    num_workers: int,
) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """Train on this machine; yield the folder and the files of each run as it is finished."""
    if num_workers < 2:
        for folder, job in jobs.items():
            yield folder, train_run(*job, train, valid, tensorboard)
        return
    executor = get_reusable_executor(
        num_workers, timeout=300, initializer=_begin_worker, initargs=(os.getpid(),)
    )
    futures = {
        executor.submit(train_run, *job, train, valid, tensorboard): folder
        for folder, job in jobs.items()
    }
    try:
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except process_executor.TerminatedWorkerError as error:
        raise RunError(
            "A process that trained a run was ended from outside, perhaps for want of memory: "
            "search again with a smaller num_workers. Finished runs are kept."
        ) from error
    finally:
        if futures:  # interrupted: nobody will collect the other results
            executor.shutdown(kill_workers=True)


def _begin_worker(parent: int) -> None:
    """Settle a new worker in: it lives as long as its parent, whatever its memory."""
    # loky takes memory that malloc keeps for a leak, and would replace the worker with a warning.
    process_executor._USE_PSUTIL = False

    def follow() -> None:
        while os.getppid() == parent and psutil.pid_exists(parent):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _best_so_far(results: list[dict], num_kept: int) -> str:
    """The lowest loss so far, of validation if there is one, for the end of the progress bar."""
    from_before = f"{num_kept} kept from before, " if num_kept else ""
    for name in ("valid_loss", "train_loss"):
        losses = [r[name] for r in results if r["status"] == "finished" and name in r]
        if losses:
            return f"{from_before}best {name} {min(losses):.4f}"
    return ""


def _table(grid: dict | list[dict], points: list[dict], folders: list[Path]) -> pd.DataFrame:
    grids = [grid] if isinstance(grid, dict) else grid
    columns = list(dict.fromkeys(name for part in grids for name in part))
    rows = [
        {name: _readable(point.get(name)) for name in columns}
        | runs_on_disk.read_result(folder)
        | {"folder": folder.as_posix()}
        for point, folder in zip(points, folders, strict=True)
    ]
    table = pd.DataFrame(rows)
    return table.astype({"best_epoch": "Int64"}) if "best_epoch" in table else table


def _readable(value):
    """A setting as a cell of a table holds it."""
    if isinstance(value, type):
        return value.__name__
    return ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, dict) else value
