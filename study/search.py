"""Train many: every combination of a grid, several at once, each kept on disk (see ``runs``)."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from study import runs as kept_runs
from study import weights, workers
from study.code_hash import check_imported
from study.data import Digits, fingerprint
from study.runs import Run, RunError
from study.training import Settings
from study.workers import Outcome

if TYPE_CHECKING:
    from distributed import Client

Job = tuple[Run, dict]  # a run and its identity


class NoneConverged(RuntimeError):
    """Every run of a search diverged; the message says what to change."""


def search(
    grid: dict | dict[str, dict],
    train: Digits,
    valid: Digits | None = None,
    *,
    study: str,
    runs_dir: str | Path = "runs",
    num_workers: int | None = None,
    client: "Client | None" = None,
    device: str | None = None,
    precision: str | None = None,
    retrain: bool = False,
    tensorboard: bool = True,
    progress: bool = True,
    **settings,
) -> pd.DataFrame:
    """Train every combination of ``grid``, except those already trained; return one row a run.

    Each run has one thread and a process that imports the code anew, and as many run at once as the
    machine has physical cores (one on an accelerator): the fastest way, with the same result
    however many run at once. Interrupt it whenever you like; what was finished is kept.

    Args:
        grid: settings by name; a list, or a NumPy array, is varied, anything else is fixed:
            ``{"lr": [0.01, 0.001], "batch_size": 256}``. Or several such grids by name. A setting
            is ``network`` (its class), an argument of that class, or a keyword of ``training.fit``.
        study: name of the folder below ``runs_dir`` that keeps the runs.
        num_workers: how many are trained at once on this machine.
        client: of a Dask cluster (docs/cluster.md): the runs are trained there, one on each
            worker, with the same results; only this process writes to ``runs_dir``.
        device, precision: see ``training.fit``.
        retrain: train all of them again.
        tensorboard: write a TensorBoard log for each run.
        settings: settings that all runs share, where the grid does not say otherwise.

    Returns:
        ``name`` of the grid, where grids have names; the settings of ``grid``; then ``status``
        ("finished" or "diverged"), ``train_loss`` (nats) and ``train_accuracy`` (0 to 1) of the
        finished model over the training images with dropout off, ``best_epoch``, ``valid_loss`` and
        ``valid_accuracy`` where ``valid`` is given, ``seconds``, and ``folder``.

    Raises:
        ValueError: a setting is unknown, missing, repeated, or makes no sense (before training).
        code_hash.CodeError: the code in memory is not that of the files (before training).
        runs.RunError: a run failed, or cannot be written; the others are trained and kept.
        cluster.ClusterError: a worker would compute something else, or the scheduler was lost.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers!r}")
    points = _points(grid)
    folders, jobs = _jobs(points, settings, train, valid, Path(runs_dir) / study, device, precision)
    waiting = {f: job for f, job in jobs.items() if retrain or not kept_runs.is_kept(f)}
    if waiting:
        kept_runs.try_folder(Path(runs_dir) / study, _check(waiting, len(train)))
    if client is not None and waiting:
        from study import cluster  # needs requirements-cluster.txt

        trained = cluster.train_all(client, waiting, train, valid, tensorboard)
    else:
        num_workers = num_workers or workers.default_number(device)
        trained = workers.train_all(waiting, train, valid, tensorboard, num_workers)
    kept = [folder for folder in jobs if folder not in waiting]
    shown = {"desc": study, "unit": "run", "file": sys.stdout, "disable": not progress}
    bar = tqdm(total=len(jobs), initial=len(kept), **shown)
    with closing(trained), bar:  # an interrupted search ends its runs
        failed = _keep_all(trained, kept, bar)
    if failed:
        folder, reason = next(iter(failed.items()))
        raise RunError(
            f"{len(failed)} of {len(jobs)} runs failed, and the others are kept. "
            f"{_told(settings | points[folders.index(folder)][1])}: {reason}"
        )
    return _table(points, folders, _columns(grid))


def _has_names(grid: dict) -> bool:
    """Return whether these are several grids by name, and not the settings of one."""
    settings = {field.name for field in fields(Settings)}
    return (
        bool(grid) and all(isinstance(v, dict) for v in grid.values()) and not settings & set(grid)
    )


def _points(grid: dict | dict[str, dict]) -> list[tuple[str | None, dict]]:
    """Return every combination of each grid, with the name of the grid where it has one."""
    from sklearn.model_selection import ParameterGrid  # takes a second, in each worker too

    points = []
    for name, one in grid.items() if _has_names(grid) else [(None, grid)]:
        lists = {k: list(v) if isinstance(v, list | np.ndarray) else [v] for k, v in one.items()}
        points += [(name, point) for point in ParameterGrid(lists)]
    return points


def _columns(grid: dict | dict[str, dict]) -> list[str]:
    """Return the settings of a grid, or of all grids, in their order."""
    if not _has_names(grid):
        return list(grid)
    return list(dict.fromkeys(setting for one in grid.values() for setting in one))


def _jobs(
    points: list[tuple[str | None, dict]],
    settings: dict,
    train: Digits,
    valid: Digits | None,
    place: Path,
    device: str | None,
    precision: str | None,
) -> tuple[list[Path], dict[Path, Job]]:
    """Return the folder of each point, and what has to be in each folder."""
    runs = [Run.of(settings | point) for _, point in points]
    for network in {run.network for run in runs}:
        check_imported(network)
    data_hash, folders, jobs, seen = fingerprint(train, valid), [], {}, set()
    for (name, point), run in zip(points, runs, strict=True):
        identity = run.identity(data_hash, device, precision)
        folder = place / kept_runs.folder_name(identity)
        if (folder, name) in seen:  # two equal rows could not be told apart
            raise ValueError(f"the grid has the same run twice: {_told(point)}")
        seen.add((folder, name))
        folders.append(folder)
        jobs[folder] = run, identity
    return folders, jobs


def _check(jobs: dict[Path, Job], num_images: int) -> int:
    """Try every network once with each batch size; return the bytes of all weights files."""
    sizes: dict[str, int] = {}
    total = 0
    for run, _ in jobs.values():
        key = repr((run.network, run.arguments, run.settings.batch_size))
        if key not in sizes:
            sizes[key] = run.check(num_images)
        total += sizes[key]
    return total


def _keep_all(
    trained: Iterator[tuple[Path, Outcome]], kept: list[Path], bar: tqdm
) -> dict[Path, str]:
    """Write each run as it is finished; return why some failed."""
    results, failed = [kept_runs.read_result(folder) for folder in kept], {}
    bar.set_postfix_str(_best_so_far(results, len(kept)))
    for folder, outcome in trained:
        try:
            if isinstance(outcome, str):
                raise RunError(outcome)
            kept_runs.write(folder, outcome)
            results.append(kept_runs.read_result(folder))
        except RunError as error:
            failed[folder] = str(error)
        bar.update()
        bar.set_postfix_str(_best_so_far(results, len(kept)))
    return failed


def _best_so_far(results: list[dict], num_kept: int) -> str:
    """Return the lowest loss so far, of validation if there is one, for the progress bar."""
    from_before = f"{num_kept} kept from before, " if num_kept else ""
    for name in ("valid_loss", "train_loss"):
        losses = [r[name] for r in results if r["status"] == "finished" and name in r]
        if losses:
            return f"{from_before}best {name} {min(losses):.4f}"
    return ""


def _table(
    points: list[tuple[str | None, dict]], folders: list[Path], columns: list[str]
) -> pd.DataFrame:
    rows = [
        ({} if name is None else {"name": name})
        | {setting: _readable(point.get(setting)) for setting in columns}
        | kept_runs.read_result(folder)
        | {"folder": folder.as_posix()}
        for (name, point), folder in zip(points, folders, strict=True)
    ]
    table = pd.DataFrame(rows)
    return table.astype({"best_epoch": "Int64"}) if "best_epoch" in table else table


def _readable(value):
    """Return a setting as a cell of a table holds it."""
    if isinstance(value, type):
        return value.__name__
    return ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, dict) else value


def _told(settings: dict) -> str:
    """Return the settings of a run as a text, such as "network CNN, lr 0.01"."""
    return ", ".join(f"{name} {_readable(value)}" for name, value in settings.items())


def best(runs: pd.DataFrame, by: str) -> pd.Series:
    """Return the run of a search with the lowest loss ``by``: "valid_loss" or "train_loss".

    Raises:
        NoneConverged: every run diverged.
        ValueError: ``by`` is no loss.
    """
    if by not in ("valid_loss", "train_loss"):
        raise ValueError(f"by must be 'valid_loss' or 'train_loss', got {by!r}")
    finished = runs[runs["status"] == "finished"]
    if finished.empty:
        raise NoneConverged(
            f"None of the {len(runs)} runs converged: each ended with a loss above twice that of "
            "guessing, or NaN. Lower the learning rates in the settings cell and run the notebook "
            "again."
        )
    return finished.loc[finished[by].idxmin()]


def histories(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the histories of all runs of a search as one table, with each run's settings."""
    settings = list(runs.columns[: runs.columns.get_loc("status")])
    parts = []
    for _, run in runs.iterrows():
        history = kept_runs.read_history(Path(run["folder"]))
        # A list, since a setting may be a tuple.
        parts.append(history.assign(**{name: [run[name]] * len(history) for name in settings}))
    return pd.concat(parts, ignore_index=True)


def load_model(run: pd.Series) -> nn.Module:
    """Return the trained network of one row of the table, in eval mode, on the CPU."""
    return weights.load_model(Path(run["folder"]) / "model.pt")


def keep(run: pd.Series, path: str | Path, images: torch.Tensor | None = None) -> None:
    """Copy the weights file of one row of the table to ``path``, unless it has those weights.

    With images, uint8 (N, 28, 28), it gets 16-bit weights where no answer to these changes.
    """
    content = (Path(run["folder"]) / "model.pt").read_bytes()
    weights.keep(path, content if images is None else weights.halve(content, images))
