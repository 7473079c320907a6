"""Train many: every combination of a grid, several at once, each kept on disk.

A finished run lies in ``runs/STUDY/RUN/``: ``model.pt`` (weights), ``history.csv`` (one row an
epoch), ``settings.json`` (what determined it, and how it ended) and its TensorBoard log. RUN ends
with a hash of everything that determines the result, so that a search finds what it has already
trained, trains what is new, and goes on where it was interrupted.

joblib.Memory was considered: it knows a call by its arguments and by the source of the one
function it wraps, so a changed network would give old results, and it keeps pickles where a reader
wants a CSV and a checkpoint.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from sklearn.model_selection import ParameterGrid
from torch import nn
from tqdm import tqdm

from network import Normalize
from study import augmentation, training
from study.evaluation import loss_and_accuracy, predict
from study.mnist import Digits, fingerprint, to_float

FIT_SETTINGS = {
    name: parameter.default
    for name, parameter in inspect.signature(training.fit).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("log_dir", "progress")
}
RUN_FILES = ("model.pt", "history.csv", "settings.json")


@dataclass(frozen=True)
class Run:
    """One point of a grid: a network, its arguments, and the settings of ``training.fit``."""

    network: type[nn.Module]
    arguments: dict
    fit_settings: dict

    @classmethod
    def from_settings(cls, settings: dict) -> Run:
        """Tell the settings of the network from those of ``fit``, and fill in the defaults.

        Raises:
            ValueError: a setting is unknown or missing; the message names it.
        """
        # A number taken from a table is NumPy's, and would neither go into JSON nor be found again.
        settings = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
        network = settings.pop("network", None)
        if network not in training.NETWORKS.values():
            raise ValueError(f"network must be one of {list(training.NETWORKS)}, got {network!r}")
        arguments = {
            name: parameter.default
            for name, parameter in inspect.signature(network).parameters.items()
        }
        for name in settings:
            if name not in arguments and name not in FIT_SETTINGS:
                known = ", ".join([*arguments, *FIT_SETTINGS])
                raise ValueError(f"unknown setting {name!r}; {network.__name__} has {known}")
        for name, default in FIT_SETTINGS.items():
            if default is inspect.Parameter.empty and name not in settings:
                raise ValueError(f"setting {name!r} is missing")
        return cls(
            network,
            {name: settings.get(name, default) for name, default in arguments.items()},
            {name: settings.get(name, default) for name, default in FIT_SETTINGS.items()},
        )

    def identity(self, data_hash: str) -> dict:
        """All that determines the result on this machine, as JSON can hold it."""
        return {
            "network": self.network.__name__,
            "arguments": self.arguments,
            "fit": self.fit_settings,
            "data": data_hash,
        } | environment(self.network.__name__)


def environment(network: str) -> dict:
    """What the result owes to the code and the machine, not to settings and data."""
    device = training.default_device()
    return {
        "code": CODE_HASHES[network],
        "device": str(device),
        "precision": str(training.fast_precision(device)),
        # Another number of threads adds in another order, and ends with other weights.
        "threads": 1,
        "torch": str(torch.__version__),
    }


def search(
    grid: dict | list[dict],
    train: Digits,
    valid: Digits | None = None,
    *,
    study: str,
    runs_dir: str | Path = "runs",
    num_workers: int | None = None,
    retrain: bool = False,
    tensorboard: bool = True,
    progress: bool = True,
    **settings,
) -> pd.DataFrame:
    """Train every combination of ``grid``, except those already trained; return one row a run.

    Each run has one thread, and as many run at once as the machine has cores (one on an
    accelerator): on two cores that is the fastest way, and makes the result independent of how
    many run at once. Interrupt it whenever you like; what was finished is kept.

    Inside ``with joblib.parallel_config(backend="dask"):`` the runs are trained on that cluster,
    one on each of its workers, with the same results; only this process writes to ``runs_dir``.

    Args:
        grid: lists of values by setting, ``{"lr": [0.01, 0.001], "batch_size": [256]}``, or a
            list of such dicts. A setting is ``network`` (a class of ``training.NETWORKS``), an
            argument of that class, or a keyword of ``training.fit``.
        study: name of the folder below ``runs_dir`` that keeps the runs.
        num_workers: how many are trained at once on this machine.
        retrain: train all of them again.
        tensorboard: write a TensorBoard log for each run.
        settings: settings that all runs share.

    Returns:
        The settings of ``grid``, then ``status`` ("finished" or "diverged"), ``train_loss``
        (nats) and ``train_accuracy`` (0 to 1) of the finished model over the training images
        with dropout off, ``best_epoch``, ``valid_loss`` and ``valid_accuracy`` where ``valid``
        is given, ``seconds``, and ``folder``.

    Raises:
        ValueError: a setting is unknown, missing, or makes no sense; raised before any training.
        cluster.ClusterError: a worker would compute something else, or the scheduler was lost.
    """
    try:
        points = list(ParameterGrid(grid))
    except TypeError as error:
        raise ValueError(f"a grid is a dict of lists, by setting: {error}") from error
    if not points:
        raise ValueError("the grid is empty")
    runs = [Run.from_settings(settings | point) for point in points]
    for run in runs:
        training.check_settings(len(train), **run.fit_settings)
    for run in {str((run.network, run.arguments)): run for run in runs}.values():
        _check_arguments(run)
    data_hash = fingerprint(train, valid)
    identities = [run.identity(data_hash) for run in runs]
    folders = [Path(runs_dir) / study / _folder_name(identity) for identity in identities]

    todo = {
        folder: (run, identity)
        for folder, run, identity in zip(folders, runs, identities, strict=True)
        if retrain or not _is_kept(folder)
    }
    jobs = [(folder, *job) for folder, job in todo.items()]
    # No backend is named here: a cluster that the caller chose around this call is used.
    backend, _ = get_active_backend()
    if type(backend).__name__ == "DaskDistributedBackend" and jobs:
        from study import cluster  # needs requirements-cluster.txt

        environments = {name: environment(name) for name in {run.network.__name__ for run in runs}}
        results = cluster.train_all(backend, _train, jobs, environments, train, valid, tensorboard)
    else:
        results = Parallel(
            n_jobs=min(num_workers or _default_workers(), len(jobs) or 1),
            return_as="generator_unordered",
        )(delayed(_train)(*job, train, valid, tensorboard) for job in jobs)
    kept = [_read_result(folder) for folder in dict.fromkeys(folders) if folder not in todo]
    with tqdm(
        total=len(todo) + len(kept),
        initial=len(kept),
        desc=study,
        unit="run",
        file=sys.stdout,
        disable=not progress,
    ) as bar:
        bar.set_postfix_str(_best(kept, len(kept)))
        for folder, files in results:
            _write(folder, files)
            kept.append(_read_result(folder))
            bar.update()
            bar.set_postfix_str(_best(kept, len(folders) - len(todo)))
    return _table(grid, points, folders)


def histories(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the histories of all runs of a search as one table, the run's settings beside."""
    settings = list(runs.columns[: runs.columns.get_loc("status")])
    return pd.concat(
        [
            _read_history(Path(run["folder"])).assign(**run[settings].to_dict())
            for _, run in runs.iterrows()
        ],
        ignore_index=True,
    )


def load_model(run: pd.Series) -> nn.Module:
    """Return the trained network of one row of the table, in eval mode, on the CPU."""
    return training.load_model(Path(run["folder"]) / "model.pt")


def keep(run: pd.Series, path: str | Path) -> None:
    """Copy the weights file of one row of the table to ``path``, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = shutil.copyfile(Path(run["folder"]) / "model.pt", path.with_suffix(".partial"))
    partial.replace(path)


def _default_workers() -> int:
    if training.default_device().type != "cpu":
        return 1
    return joblib.cpu_count(only_physical_cores=True)


def _check_arguments(run: Run) -> None:
    """Make the network and use it once, to have it refuse its arguments before any training."""
    try:
        run.network(**run.arguments).eval()(torch.zeros(1, 1, 28, 28))
    except (TypeError, ValueError, RuntimeError) as error:
        name = run.network.__name__
        raise ValueError(f"{name} cannot be made with {run.arguments}: {error}") from error


def _folder_name(identity: dict) -> str:
    fit, digest = identity["fit"], joblib.hash(identity)[:12]
    return (
        f"{identity['network']}-lr{fit['lr']}-batch{fit['batch_size']}-seed{fit['seed']}-{digest}"
    )


def _train(
    folder: Path, run: Run, identity: dict, train: Digits, valid: Digits | None, tensorboard
):
    """Train one run in a worker; return its folder and its files, for the caller to write.

    Only the process that searches writes below ``runs/``: a worker that outlives it leaves
    nothing half-written, and needs no file system in common with it.
    """
    if CODE_HASHES[run.network.__name__] != identity["code"]:
        raise RuntimeError("the code was changed since it was imported: restart the kernel")
    seed = run.fit_settings["seed"]
    with tempfile.TemporaryDirectory() as scratch, _one_thread(), torch.random.fork_rng():
        torch.manual_seed(seed)
        model = run.network(**run.arguments)
        history = training.fit(
            model,
            train,
            valid,
            **run.fit_settings,
            log_dir=scratch if tensorboard else None,
            progress=False,
        )
        training.save_model(
            Path(scratch) / "model.pt",
            model,
            hyperparameters={**run.fit_settings, "num_images": len(train)},
            seed=seed,
            history=history,
        )
        history.to_csv(Path(scratch) / "history.csv", index=False)
        content = identity | {"result": _result(model, train, history)}
        (Path(scratch) / "settings.json").write_text(json.dumps(content, indent=2))
        files = {path.name: path.read_bytes() for path in Path(scratch).iterdir()}
    return folder, files


def _result(model: nn.Module, train: Digits, history: pd.DataFrame) -> dict:
    """How a run ended, as numbers that JSON can hold."""
    precision = training.fast_precision(next(model.parameters()).device)
    logits = predict(model, train.images, precision=precision)
    train_loss, train_accuracy = loss_and_accuracy(logits, train.labels)
    result = {
        "status": "diverged" if training.diverged(history) else "finished",
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
    }
    if "valid_loss" in history and history["valid_loss"].notna().any():
        best = history.loc[history["valid_loss"].idxmin()]
        result["best_epoch"] = int(best["epoch"])
        result["valid_loss"] = float(best["valid_loss"])
        result["valid_accuracy"] = float(best["valid_accuracy"])
    return result | {"seconds": float(history["seconds"].sum())}


@contextmanager
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write a run; its folder gets its name last, so that one that has it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)


def _is_kept(folder: Path) -> bool:
    """Whether a run is there with all its files, and can be read."""
    try:
        _read_result(folder)
        return all((folder / name).exists() for name in RUN_FILES)
    except (OSError, ValueError, KeyError):
        return False


def _read_result(folder: Path) -> dict:
    return json.loads((folder / "settings.json").read_text())["result"]


def _read_history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")


def _best(results: list[dict], num_kept: int) -> str:
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
        | _read_result(folder)
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


def _code_hash(network: type[nn.Module]) -> str:
    """Hash of the code that a run passes through; comments and docstrings do not count."""
    parts = (
        *{sys.modules[network.__module__], sys.modules[Normalize.__module__]},
        training.fit,
        training._train_epoch,
        training._Step,
        training._average,
        training._scheduler,
        augmentation,
        predict,
        loss_and_accuracy,
        to_float,
        _train,
        _result,
    )
    trees = [ast.parse(inspect.getsource(part)) for part in parts]
    for node in (node for tree in trees for node in ast.walk(tree)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[0] = ast.Pass()
    code = sorted(ast.unparse(tree) for tree in trees)
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:12]


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


# Taken when this module is imported: a file that is edited later does not change what runs.
CODE_HASHES = {name: _code_hash(network) for name, network in training.NETWORKS.items()}
