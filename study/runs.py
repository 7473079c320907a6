"""One run: what determines it, training it, keeping it on disk.

A kept run is in ``runs/STUDY/RUN/``: ``model.pt`` (weights), ``history.csv`` (one row per epoch),
``settings.json`` (what determined it, where it was trained, and how it ended), ``judged.json`` (its
answers to sets of images that it was judged on) and its TensorBoard log. RUN ends with a hash of
what determines the result: the settings that are not the defaults, data, code, version of torch,
device and precision. Two kinds of processors may share the hash and still differ in the last
digits. A run that comes from the record (see ``record``) has no weights.

joblib.Memory was considered: it identifies a call by the source of the one function that it wraps,
so a changed network would give old results, and it keeps pickles where a reader wants a CSV.
"""

import ctypes
import hashlib
import inspect
import json
import re
import shutil
import tempfile
from contextlib import nullcontext, suppress
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Self

import pandas as pd
import torch

from network import Network
from study import monitoring, weights
from study.code_hash import CodeError, check_imported, code_hash
from study.data import Digits
from study.device import where_to_train
from study.machine import machine
from study.training import Settings, train_network

NAME_LENGTH = 100  # characters of the settings in the name of a folder


class RunError(RuntimeError):
    """A run cannot be trained or kept; the message says why, and what to do."""


@dataclass(frozen=True)
class Run:
    """A network, the arguments to make it with, and the settings of ``training.fit``."""

    network: type[Network]
    arguments: dict
    settings: Settings

    @classmethod
    def of(cls, values: dict) -> Self:
        """Split ``values`` into the network, its arguments and the settings of ``fit``.

        Raises:
            ValueError: a setting is unknown, missing, or makes no sense; the message names it.
        """
        values = dict(values)
        network = values.pop("network", None)
        if not (isinstance(network, type) and issubclass(network, Network)):
            raise ValueError(
                f"network must be a class derived from network.Network, got {network!r}"
            )
        values = {name: weights.plain(value, name) for name, value in values.items()}
        told = {field.name for field in fields(Settings)}
        taken = list(inspect.signature(network.__init__).parameters)[1:]
        if both := told & set(taken):
            raise ValueError(
                f"{network.__name__} has an argument {min(both)!r}, as fit has: rename it"
            )
        if unknown := values.keys() - told - set(taken):
            names = ", ".join([*taken, *sorted(told)])
            raise ValueError(f"unknown setting {min(unknown)!r}; {network.__name__} has {names}")
        arguments = {name: value for name, value in values.items() if name in taken}
        settings = {name: value for name, value in values.items() if name in told}
        return cls(network, arguments, Settings.of(settings))

    def check(self, num_images: int) -> int:
        """Make the network and use it once, so that errors show before training, not after.

        Returns:
            The size of its weights file in bytes.

        Raises:
            ValueError: the network cannot be made, used, trained on batches of this size, or kept.
        """
        name = f"{self.network.__name__} with {self.arguments}"
        with torch.random.fork_rng():
            try:
                model = self.network(**self.arguments).eval()
                model(torch.zeros(1, 1, 28, 28))
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"{name} cannot be made: {error}") from error
            self.settings.check_batches(model, num_images)
            content = weights.pack(model, hyperparameters={}, seed=0, history=pd.DataFrame())
            try:
                weights.unpack(content)
            except weights.ModelFileError as error:
                raise ValueError(f"{name} cannot be kept in a file: {error}") from error
        return len(content)

    def identity(self, data_hash: str, device: str | None, precision: str | None) -> dict:
        """Return what determines the result, in the types of JSON.

        Settings that are the defaults are left out: their values are part of the code.
        """
        defaults = {field.name: field.default for field in fields(Settings)}
        signature = inspect.signature(self.network.__init__).parameters.values()
        defaults |= {parameter.name: parameter.default for parameter in signature}
        chosen = asdict(self.settings) | self.arguments
        changed = {
            name: _canonical(v) for name, v in chosen.items() if not _is_same(v, defaults[name])
        }
        told = {"network": self.network.__name__, "settings": changed}
        return told | {"data": data_hash} | environment(self.network, device, precision)


def train(
    run: Run, identity: dict, train: Digits, valid: Digits | None, tensorboard: bool
) -> dict[str, bytes] | str:
    """Train a run in its own process, so that an error costs only this run.

    Only the process that searches writes below ``runs/``: a worker that outlives it leaves nothing
    half-written, and the two need not share a file system.

    Returns:
        The run's files by name, for the caller to write; or why it failed.
    """
    keep_freed_memory()
    try:
        with tempfile.TemporaryDirectory() if tensorboard else nullcontext() as log_dir:
            model, history, result = train_network(
                *(run.network, run.arguments, train, valid),
                device=identity["device"],
                precision=identity["precision"],
                log_dir=log_dir,
                **asdict(run.settings),
            )
            if tensorboard:
                monitoring.log_settings(log_dir, asdict(run.settings) | run.arguments, result)
            log = {p.name: p.read_bytes() for p in Path(log_dir).iterdir()} if log_dir else {}
    except Exception as error:  # whatever a network of yours may raise
        hint = ""
        if tensorboard and isinstance(error, OSError):
            hint = (
                " (if the TensorBoard log could not be written: make room in the temporary folder, "
                "or set TMPDIR to another one, or search with tensorboard=False)"
            )
        return f"{type(error).__name__}: {error}{hint}"
    finally:
        return_freed_memory()
    told = asdict(run.settings) | {"num_images": len(train)}
    packed = weights.pack(model, hyperparameters=told, seed=run.settings.seed, history=history)
    where = machine()
    ended = {"processor": where["processor"], "day": where["day"]}
    ended |= {"weights": weights.version(model), "result": result}
    return log | {
        "model.pt": packed,
        "history.csv": history.to_csv(index=False).encode(),
        "settings.json": json.dumps(identity | ended, indent=2).encode(),
    }


def environment(network: type[Network], device: str | None, precision: str | None) -> dict:
    """Return what a result depends on besides settings and data: code and machine."""
    device, dtype = where_to_train(device, precision)
    return {
        "code": code_hash(network),
        "device": str(device),
        "precision": str(dtype).removeprefix("torch."),
        "torch": str(torch.__version__),
    }


def code_problem(network: type[Network], code: str) -> str:
    """Return why the code that this process has imported does not match a hash, or ""."""
    try:
        check_imported(network)
    except CodeError as error:
        return str(error)
    same = code_hash(network) == code
    return "" if same else "the code was changed while the search was starting; search again"


def _is_same(value, default) -> bool:
    return default is not MISSING and _canonical(value) == _canonical(default)


def _canonical(value):
    """Return equal settings in the same form, as in JSON: 5.0 as 5, a tuple as a list."""
    if isinstance(value, dict):
        return {name: _canonical(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_canonical(one) for one in value]
    is_whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else value


def digest(value) -> str:
    """Return 12 hexadecimal digits that stand for a value of JSON's types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def folder_name(identity: dict) -> str:
    """Return the name of a run's folder: its settings as far as there is room, and a hash."""
    settings = "-".join(f"{name}{value}" for name, value in identity["settings"].items())
    settings = re.sub(r"[^\w.-]+", "_", settings)[:NAME_LENGTH]
    return f"{identity['network']}-{settings}-{digest(identity)}"


def keep_freed_memory() -> None:
    """Have the C library (glibc) keep freed memory for the next training step.

    By default it gives large blocks back in every step, which takes 10 to 20% of the training time.
    """
    with suppress(AttributeError, TypeError, OSError):  # another C library
        c_library = ctypes.CDLL(None)
        trim_threshold, mmap_threshold = -1, -3  # of <malloc.h>
        c_library.mallopt(trim_threshold, 2**30)
        c_library.mallopt(mmap_threshold, 2**30)


def return_freed_memory() -> None:
    """Have the C library give freed memory back to the system after training."""
    with suppress(AttributeError, TypeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def try_folder(folder: Path, num_bytes: int) -> None:
    """Make sure that a folder can be written, so that no training run is lost.

    Raises:
        RunError: it cannot be made or written, or has no room for ``num_bytes``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".partial-") as file:
            file.write(b"room")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error}") from error
    if free < num_bytes:
        raise RunError(
            f"{folder} has room for {free / 1e6:.0f} MB, and the runs need {num_bytes / 1e6:.0f}."
        )


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write a run; its folder gets its name last, so that a folder with that name is complete.

    An existing run is replaced; one that another search writes at the same moment may stay.

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
    """Return whether a run is there with its weights: a truncated or damaged one does not count."""
    try:
        digest = weights.version(weights.load_model(folder / "model.pt"))
        told = read_settings(folder)
        return len(read_history(folder)) > 0 and told["weights"] == digest and "result" in told
    except (OSError, ValueError, KeyError, TypeError, weights.ModelFileError):
        return False


def read_settings(folder: Path) -> dict:
    """Return what determined a run, where it was trained, and how it ended (``result``)."""
    return json.loads((folder / "settings.json").read_text(encoding="utf-8"))


def read_history(folder: Path) -> pd.DataFrame:
    """Return the history of a run, one row per epoch."""
    return pd.read_csv(folder / "history.csv")
