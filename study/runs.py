"""One run: what determines it, training it, keeping it on disk.

A kept run lies in ``runs/STUDY/RUN/``: ``model.pt`` (weights), ``history.csv`` (one row an epoch),
``settings.json`` (what determined it, and how it ended) and its TensorBoard log. RUN ends with a
hash of what determines the result: settings, data, code, version of torch, device and precision.
Two kinds of processors may share it, and still differ in the last digits.

joblib.Memory was considered: it knows a call by the source of the one function that it wraps, so
a changed network would give old results, and it keeps pickles where a reader wants a CSV.
"""

import ast
import ctypes
import hashlib
import inspect
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Self

import joblib
import numpy as np
import pandas as pd
import torch
from torch import nn

import network as networks
import rnns
from study import augmentation, evaluation, settings, training, weights
from study.data import Digits
from study.evaluation import loss_and_accuracy, one_thread, predict
from study.training import Settings, default_device, diverged, fast_precision, fit


class RunError(RuntimeError):
    """A run cannot be trained or kept; the message says why, and what to do."""


@dataclass(frozen=True)
class Run:
    """A network, its arguments, and the settings of ``training.fit``."""

    network: type[nn.Module]
    arguments: dict
    settings: dict

    @classmethod
    def from_settings(cls, values: dict) -> Self:
        """Tell the arguments of the network from the settings of ``fit``; fill in the defaults.

        Raises:
            ValueError: a setting is unknown, missing, or makes no sense; the message names it.
        """
        # A number taken from a table is NumPy's, and would neither go into JSON nor be found again.
        values = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
        network = values.pop("network", None)
        if network not in weights.NETWORKS.values():
            known = list(weights.NETWORKS)
            raise ValueError(
                f"network must be one of {known} (study/weights.py has the list), got {network!r}"
            )
        signature = inspect.signature(network).parameters.values()
        arguments = {parameter.name: parameter.default for parameter in signature}
        chosen = {field.name: field.default for field in fields(Settings)}
        for name in values.keys() - arguments.keys() - chosen.keys():
            names = ", ".join([*arguments, *chosen])
            raise ValueError(f"unknown setting {name!r}; {network.__name__} has {names}")
        for defaults in (arguments, chosen):
            defaults.update((name, values[name]) for name in values.keys() & defaults.keys())
        for name, value in chosen.items():
            if value is MISSING:
                raise ValueError(f"setting {name!r} is missing")
        return cls(network, arguments, asdict(Settings(**chosen)))

    def check(self, num_images: int) -> None:
        """Make the network and use it once: raise ValueError now rather than after a training."""
        Settings(**self.settings).check_batch_size(num_images)
        name = self.network.__name__
        try:
            model = self.network(**self.arguments).eval()
            model(torch.zeros(1, 1, 28, 28))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name} cannot be made with {self.arguments}: {error}") from error
        if getattr(model, "arguments", None) != self.arguments:
            raise ValueError(
                f"{name} must set self.arguments to the dict of its arguments, from which "
                "load_model makes it again"
            )

    def identity(self, data_hash: str) -> dict:
        """What identifies the result, as JSON can hold it."""
        return {
            "network": self.network.__name__,
            "arguments": self.arguments,
            "fit": self.settings,
            "data": data_hash,
        } | environment(self.network.__name__)


def environment(network: str) -> dict:
    """What the result depends on besides settings and data: code and machine."""
    device = default_device()
    return {
        "code": CODE_HASHES[network],
        "device": str(device),
        "precision": str(fast_precision(device)),
        # Another number of threads adds in another order, and ends with other weights.
        "threads": 1,
        "torch": str(torch.__version__),
    }


def folder_name(identity: dict) -> str:
    """Return the name of a run's folder, which ends with a hash of its identity."""
    fit, digest = identity["fit"], joblib.hash(identity)[:12]
    settings = f"lr{fit['lr']}-batch{fit['batch_size']}-seed{fit['seed']}"
    return f"{identity['network']}-{settings}-{digest}"


def train_run(
    run: Run, identity: dict, train: Digits, valid: Digits | None, tensorboard: bool
) -> dict[str, bytes]:
    """Train one run, in any process; return its files by name, for the caller to write.

    Only the process that searches writes below ``runs/``: a worker that outlives it leaves
    nothing half-written, and needs no file system in common with it.

    Raises:
        RunError: the code is not that of ``identity``, or there is no room for the log.
    """
    if CODE_HASHES[run.network.__name__] != identity["code"]:
        raise RunError("the code was changed since it was imported: restart the kernel")
    keep_freed_memory()
    try:
        with tempfile.TemporaryDirectory() if tensorboard else nullcontext() as log_dir:
            model, history, result = _train(run, train, valid, log_dir)
            written = Path(log_dir).iterdir() if log_dir else ()
            log = {path.name: path.read_bytes() for path in written}
    except OSError as error:
        raise RunError(
            f"The TensorBoard log could not be written to {tempfile.gettempdir()} ({error}): make "
            "room there, or set TMPDIR to another folder, or search with tensorboard=False."
        ) from error
    told = {"hyperparameters": run.settings | {"num_images": len(train)}, "history": history}
    return log | {
        "model.pt": weights.pack(model, seed=run.settings["seed"], **told),
        "history.csv": history.to_csv(index=False).encode(),
        "settings.json": json.dumps(identity | {"result": result}, indent=2).encode(),
    }


def _train(
    run: Run, train: Digits, valid: Digits | None, log_dir: str | None
) -> tuple[nn.Module, pd.DataFrame, dict]:
    """Train one run with one thread; return the network, its history, and how it ended."""
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(run.settings["seed"])
        model = run.network(**run.arguments)
        history = fit(model, train, valid, **run.settings, log_dir=log_dir, progress=False)
        precision = fast_precision(next(model.parameters()).device)
        logits = predict(model, train.images, precision=precision)
    result = {"status": "diverged" if diverged(history) else "finished"}
    result["train_loss"], result["train_accuracy"] = loss_and_accuracy(logits, train.labels)
    if valid is not None:
        # If no epoch has a finite loss, the first one is reported.
        best = history.loc[history["valid_loss"].fillna(np.inf).idxmin()]
        result["best_epoch"] = int(best["epoch"])
        result |= {name: float(best[name]) for name in ("valid_loss", "valid_accuracy")}
    return model, history, result | {"seconds": float(history["seconds"].sum())}


def keep_freed_memory() -> None:
    """Have the C library (glibc) keep freed memory for the next step of the training.

    By default it gives large blocks back in every step: that takes 10 to 20 % of a training.
    """
    with suppress(AttributeError, TypeError, OSError):  # another C library
        c_library = ctypes.CDLL(None)
        trim_threshold, mmap_threshold = -1, -3  # of <malloc.h>
        c_library.mallopt(trim_threshold, 2**30)
        c_library.mallopt(mmap_threshold, 2**30)


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write a run; its folder gets its name last, so that one that has it is whole.

    A run that is there is replaced; one that another search writes at the same moment may stay.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
            with suppress(FileNotFoundError):
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if not is_kept(folder):
                    raise
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error}") from error


def is_kept(folder: Path) -> bool:
    """Whether a run is there, whole: what is cut, empty or not of this form is trained again."""
    try:
        with zipfile.ZipFile(folder / "model.pt") as archive:
            whole = archive.testzip() is None
        return whole and len(read_history(folder)) > 0 and "status" in read_result(folder)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return False


def read_result(folder: Path) -> dict:
    """Return how a kept run ended."""
    return json.loads((folder / "settings.json").read_text(encoding="utf-8"))["result"]


def read_history(folder: Path) -> pd.DataFrame:
    """Return the history of a kept run, one row an epoch."""
    return pd.read_csv(folder / "history.csv")


def code_hash(network: str, sources: Iterable[str]) -> str:
    """Return a hash of the code that a training of ``network`` can pass through.

    It starts at ``_train`` and at the class, and follows every name through the modules' sources:
    what a definition mentions belongs to it. Comments, annotations of functions and the words of a
    docstring do not count (that there is one does), nor does what nothing here mentions: a figure,
    another network.
    """
    definitions: dict[str, list[ast.AST]] = {}
    for source in sources:
        for statement in _Bare().visit(ast.parse(source)).body:
            for name, part in _bindings(statement):
                definitions.setdefault(name, []).append(part)
    reached, waiting = {}, ["_train", network, ALWAYS]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in reached:
            reached[name] = sorted(ast.unparse(part) for part in definitions[name])
            for node in (node for part in definitions[name] for node in ast.walk(part)):
                # Names, attributes and what is imported: all that could lead to a definition.
                keys = filter(partial(hasattr, node), ("id", "attr", "name"))
                waiting += [getattr(node, key) for key in keys]
    return hashlib.sha256(repr(sorted(reached.items())).encode()).hexdigest()[:12]


class _Bare(ast.NodeTransformer):
    """Takes away what does not change a result: docstrings, and annotations of functions."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _bindings(statement: ast.stmt) -> list[tuple[str, ast.AST]]:
    """The names that a statement of a module defines, each with what defines it."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(one.asname or one.name.partition(".")[0], one) for one in statement.names]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [(statement.name, statement)]
    if isinstance(statement, ast.Assign):
        nodes = (node for target in statement.targets for node in ast.walk(target))
        return [(node.id, statement) for node in nodes if isinstance(node, ast.Name)]
    return [(ALWAYS, statement)]  # whatever else a module does when it is imported


# Taken when this module is imported: a file that is edited later does not change what runs.
ALWAYS = "*"
MODULES = (networks, rnns, settings, digits, augmentation, evaluation, training, weights)
SOURCES = tuple(map(inspect.getsource, (*MODULES, sys.modules[__name__])))
CODE_HASHES = {name: code_hash(name, SOURCES) for name in weights.NETWORKS}
