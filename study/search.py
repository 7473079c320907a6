"""Grid search: train every combination, several at once, each kept on disk and on record."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from study import grids, record, weights, workers
from study import runs as kept_runs
from study.code_hash import check_imported
from study.data import Digits, fingerprint
from study.runs import Run, RunError
from study.workers import Outcome

if TYPE_CHECKING:
    from distributed import Client

Job = tuple[Run, dict]  # a run and its identity
# For each folder of a run's results: what trains it here, and another file with its weights.
_jobs: dict[Path, tuple[Path, Job, Digits, Digits | None]] = {}
_copies: dict[Path, Path] = {}


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
    judge: dict[str, Digits] | None = None,
    retrain: bool = False,
    tensorboard: bool = True,
    progress: bool = True,
    **settings,
) -> pd.DataFrame:
    """Train every combination of ``grid``, except those already trained; return one row per run.

    Runs that were trained here, or are on record with the same settings, data and code, are not
    trained again. Each run has one thread and a process that imports the code anew, and as many run
    at once as the machine has physical cores (one on an accelerator): the fastest way, with the
    same result however many run at once. Interrupt it whenever you like; finished runs are kept.

    Args:
        grid: settings by name; a list, or a NumPy array, is varied, anything else is fixed:
            ``{"lr": [0.01, 0.001], "batch_size": 256}``. Or several such grids by name. A setting
            is ``network`` (its class), an argument of that class, or a keyword of ``training.fit``.
        study: name of the folder below ``runs_dir`` that keeps the runs, and of their record.
        num_workers: how many are trained at once on this machine.
        client: of a Dask cluster (docs/cluster.md): the runs are trained there, one on each
            worker, with the same results; only this process writes to ``runs_dir``.
        device, precision: see ``training.fit``.
        judge: sets of images by name, which every run classifies when it is trained;
            ``predictions`` returns the answers. They are not in the table, and no choice uses them.
        retrain: train all runs again, here, whatever is on record.
        tensorboard: write a TensorBoard log for each run.
        settings: settings that all runs share, unless the grid says otherwise.

    Returns:
        ``name`` of the grid, where grids have names; the settings of ``grid``; then ``status``
        ("finished" or "diverged"), ``train_loss`` (nats) and ``train_accuracy`` (0 to 1) of the
        finished model over the training images with dropout off, ``best_epoch``, ``valid_loss`` and
        ``valid_accuracy`` where ``valid`` is given, ``seconds``, ``folder``, and ``trained``
        (precision and processor) where they were trained on different machines.

    Raises:
        ValueError: a setting is unknown, missing, repeated, or makes no sense (before training).
        code_hash.CodeError: the code in memory differs from that in the files (before training).
        runs.RunError: a run failed, or cannot be written; the others are trained and kept.
        cluster.ClusterError: a worker would compute something else, or the scheduler was lost.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers!r}")
    points = grids.points(grid)
    place = Path(runs_dir) / study
    folders, jobs = _jobs_of(points, settings, train, valid, place, device, precision)
    found = {} if retrain else _found(jobs, study, place, progress)
    waiting = {folder: job for folder, job in jobs.items() if folder not in found}
    if waiting:
        kept_runs.try_folder(place, _check(waiting, len(train)))
    if client is not None and waiting:
        from study import cluster  # needs requirements-cluster.txt

        trained = cluster.train_all(client, waiting, train, valid, tensorboard)
    else:
        num_workers = num_workers or workers.default_number(device)
        trained = workers.train_all(waiting, train, valid, tensorboard, num_workers)
    shown = {"desc": study, "unit": "run", "file": sys.stdout}
    bar = tqdm(total=len(jobs), initial=len(found), disable=not (progress and waiting), **shown)
    with closing(trained), bar:  # an interrupted search ends its runs
        failed = _keep_all(trained, found, bar, _recorder(study, jobs, found, judge or {}))
    if failed:
        folder, reason = next(iter(failed.items()))
        raise RunError(
            f"{len(failed)} of {len(jobs)} runs failed, and the others are kept. "
            f"{grids.told(settings | points[folders.index(folder)][1])}: {reason}"
        )
    _jobs.update({found[folder]: (folder, job, train, valid) for folder, job in jobs.items()})
    return _table(points, [found[folder] for folder in folders], grids.columns(grid))


def _jobs_of(
    points: list[tuple[str | None, dict]],
    settings: dict,
    train: Digits,
    valid: Digits | None,
    place: Path,
    device: str | None,
    precision: str | None,
) -> tuple[list[Path], dict[Path, Job]]:
    """Return the folder of each point, and what must be in each folder."""
    runs = [Run.of(settings | point) for _, point in points]
    for network in {run.network for run in runs}:
        check_imported(network)
    data_hash, folders, jobs, seen = fingerprint(train, valid), [], {}, set()
    for (name, point), run in zip(points, runs, strict=True):
        identity = run.identity(data_hash, device, precision)
        folder = place / kept_runs.folder_name(identity)
        if (folder, name) in seen:  # two equal rows could not be told apart
            raise ValueError(f"the grid has the same run twice: {grids.told(point)}")
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


def _found(jobs: dict[Path, Job], study: str, place: Path, progress: bool) -> dict[Path, Path]:
    """Return the folders of the runs that are kept here or on record, each with its results'."""
    found = {folder: folder for folder in jobs if kept_runs.is_kept(folder)}
    if record.is_renewed() or len(found) == len(jobs):
        return found
    lines, problem = record.read(study)
    used = {f: lines.get(record.key(told)) for f, (_, told) in jobs.items() if f not in found}
    used = {folder: line for folder, line in used.items() if line}
    if problem and progress:
        print(problem)
    if used and progress:
        where = " and ".join(sorted({record.where(asdict(line)) for line in used.values()}))
        days = " and ".join(sorted({line.day for line in used.values()}))
        print(f"{study}: {len(used)} of {len(jobs)} runs are on record: {where}, {days}.")
    return found | {folder: record.unpack(line, place) for folder, line in used.items()}


def _recorder(
    study: str, jobs: dict[Path, Job], found: dict[Path, Path], judge: dict[str, Digits]
) -> Callable[[Path], None]:
    """Return a function that judges each run that ended here, and renews the record if asked to."""
    prints = {name: fingerprint(digits) for name, digits in judge.items()}
    keys = [record.key(told) for _, told in jobs.values()]
    codes = {told["network"]: told["code"] for _, told in jobs.values()}

    def end(folder: Path) -> None:
        if (found[folder] / "model.pt").is_file():
            record.judge(found[folder], judge, prints)
        if record.is_renewed():
            record.renew(study, found.values(), keys, codes)

    for folder in found:
        end(folder)
    return end


def _keep_all(
    trained: Iterator[tuple[Path, Outcome]],
    found: dict[Path, Path],
    bar: tqdm,
    end: Callable[[Path], None],
) -> dict[Path, str]:
    """Write each run as it is finished, and add it to ``found``; return why some failed."""
    num_kept, failed = len(found), {}
    results = [kept_runs.read_settings(folder)["result"] for folder in found.values()]
    bar.set_postfix_str(_best_so_far(results, num_kept))
    for folder, outcome in trained:
        try:
            if isinstance(outcome, str):
                raise RunError(outcome)
            kept_runs.write(folder, outcome)
            results.append(kept_runs.read_settings(folder)["result"])
            found[folder] = folder
            end(folder)
        except RunError as error:
            failed[folder] = str(error)
        bar.update()
        bar.set_postfix_str(_best_so_far(results, num_kept))
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
    told = [kept_runs.read_settings(folder) for folder in folders]
    rows = [
        ({} if name is None else {"name": name})
        | {setting: grids.readable(point.get(setting)) for setting in columns}
        | one["result"]
        | {"folder": folder.as_posix(), "trained": record.where(one)}
        for (name, point), folder, one in zip(points, folders, told, strict=True)
    ]
    table = pd.DataFrame(rows)
    if table["trained"].nunique() == 1:
        table = table.drop(columns="trained")
    return table.astype({"best_epoch": "Int64"}) if "best_epoch" in table else table


def best(runs: pd.DataFrame, by: str) -> pd.Series:
    """Return the run of a search with the lowest loss ``by``: "valid_loss" or "train_loss".

    Raises:
        NoneConverged: every run diverged.
        ValueError: ``by`` is not a loss.
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
    chosen = finished.loc[finished[by].idxmin()]
    if close_call := _close_call(finished, chosen, by):
        print(close_call)
    return chosen


def _close_call(finished: pd.DataFrame, chosen: pd.Series, by: str) -> str:
    """Return a note if a run from another machine is behind by less than seeds differ, or ""."""
    if "trained" not in finished:
        return ""
    others = finished[finished["trained"] != chosen["trained"]]
    deviation = record.seed_deviation(Path(chosen["folder"]).parent.name, by)
    if others.empty or deviation is None:
        return ""
    gap, seeds = others[by].min() - chosen[by], deviation * chosen[by]
    if gap > seeds:
        return ""
    return (
        f"Too close to call: the chosen run ({chosen['trained']}) is {gap:.2g} ahead of the best "
        f"one trained elsewhere ({others.loc[others[by].idxmin(), 'trained']}), and seeds differ "
        f"by {seeds:.2g} (one standard deviation of {by})."
    )


def histories(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the histories of all runs of a search as one table, with each run's settings."""
    settings = list(runs.columns[: runs.columns.get_loc("status")])
    parts = []
    for _, run in runs.iterrows():
        history = kept_runs.read_history(Path(run["folder"]))
        # A list, since a setting may be a tuple.
        parts.append(history.assign(**{name: [run[name]] * len(history) for name in settings}))
    return pd.concat(parts, ignore_index=True)


def predictions(run: pd.Series, digits: Digits) -> torch.Tensor:
    """Return the most probable digit of each image, int64 (N,), for one row of the table.

    Nothing is computed if the search was told to judge its runs on these images.
    """
    known = record.answers(Path(run["folder"]), digits)
    return record.answer(load_model(run), digits.images) if known is None else known


def load_model(run: pd.Series) -> nn.Module:
    """Return the trained network of one row of the table, in eval mode, on the CPU.

    A run on record whose weights are not here is trained again, and a printed line says so.

    Raises:
        runs.RunError: that failed, or another process's search found the run.
    """
    return weights.load_model(_weights_of(run))


def keep(run: pd.Series, path: str | Path) -> None:
    """Copy the weights file of one row of the table to ``path``, unless it has those weights.

    Raises:
        runs.RunError: see ``load_model``.
    """
    folder = Path(run["folder"])
    with suppress(weights.ModelFileError):
        digest = kept_runs.read_settings(folder)["weights"]
        if weights.version(weights.load_model(path)) == digest:
            _copies[folder] = Path(path)
            return
    weights.keep(path, _weights_of(run).read_bytes())


def _weights_of(run: pd.Series) -> Path:
    """Return a file with the weights of a run; if there is none here, train the run."""
    folder = Path(run["folder"])
    for path in (folder / "model.pt", _copies.get(folder)):
        if path and path.is_file():
            return path
    if folder not in _jobs:
        raise RunError(f"the weights of {folder} are not on this machine: search for it again")
    here, job, train, valid = _jobs[folder]
    if not kept_runs.is_kept(here):
        identity = job[1]
        print(
            f"The weights of {identity['network']} {identity['settings']} are not on this machine: "
            f"that run is trained again, in {identity['precision']}."
        )
        [(_, outcome)] = workers.train_all({here: job}, train, valid, False, 1)
        if isinstance(outcome, str):
            raise RunError(outcome)
        kept_runs.write(here, outcome)
    _copies[folder] = here / "model.pt"
    return _copies[folder]
