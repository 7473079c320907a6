"""Save models to files, and load them."""

import hashlib
import io
import platform
import zipfile
from contextlib import suppress
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import mlp  # noqa: F401  (the networks of a file have to be known)
import rnns  # noqa: F401
from network import Network
from study.files import write_whole

FILE_FORMAT = "mnist-study-1"


class ModelFileError(RuntimeError):
    """A weights file cannot be read; the message names the file and the remedy."""


def plain(value: object, name: str) -> object:
    """Return a setting in the types that a file can hold, at any depth.

    NumPy's numbers become Python's, and sequences, NumPy's arrays among them, become tuples.

    Raises:
        ValueError: there is something else in it; the message contains ``name``.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist(), name)
    if isinstance(value, list | tuple):
        return tuple(plain(one, name) for one in value)
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: plain(one, f"{name}[{key!r}]") for key, one in value.items()}
    raise ValueError(
        f"{name} must be made of numbers, texts, None, lists and dicts, so that a file can hold "
        f"it, got {value!r}"
    )


def save_model(
    path: str | Path, model: nn.Module, *, hyperparameters: dict, seed: int, history: pd.DataFrame
) -> None:
    """Write a weights file that ``load_model`` can read without knowing anything else.

    A file with the same weights is left alone: only the seconds of its history would change.
    """
    keep(path, pack(model, hyperparameters=hyperparameters, seed=seed, history=history))


def pack(model: nn.Module, *, hyperparameters: dict, seed: int, history: pd.DataFrame) -> bytes:
    """Return the content of a weights file: state dict, class, arguments, and how it came to be.

    Raises:
        ValueError: an argument or a hyperparameter is not ``plain``.
    """
    content = {
        "format": FILE_FORMAT,
        "network": type(model).__name__,
        "arguments": plain(model.arguments, "arguments"),
        "state_dict": {
            name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()
        },
        "hyperparameters": plain(hyperparameters, "hyperparameters"),
        "seed": plain(seed, "seed"),
        "history": history.to_dict("list"),
        "versions": {
            "python": platform.python_version(),
            # str() because torch.__version__ is of a class that weights_only=True refuses.
            "torch": str(torch.__version__),
            "torchvision": version_of("torchvision"),
        },
    }
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def unpack(content: bytes) -> nn.Module:
    """Return the network that ``pack`` packed; ModelFileError if it cannot be built again."""
    return _build(_parse(content, "the file"), "the file")


def keep(path: str | Path, content: bytes) -> None:
    """Write the content of a weights file, unless the file there has the same weights."""
    new = version(_build(_parse(content, path), path))  # what cannot be read is never written
    with suppress(ModelFileError):
        if version(load_model(path)) == new:
            return
    write_whole(path, content)


def version(model: nn.Module) -> str:
    """Return 12 hexadecimal digits that stand for a network and its weights alone."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_model(path: str | Path) -> nn.Module:
    """Return the network of a weights file, on the CPU, in eval mode.

    Raises:
        ModelFileError: the file is missing, damaged, foreign, or from another version of this
            repository.
    """
    return _build(read_model_file(path), path)


def read_model_file(path: str | Path) -> dict:
    """Return everything that ``save_model`` wrote, as a dict; ``history`` as a DataFrame.

    Raises:
        ModelFileError: see ``load_model``.
    """
    try:
        return _parse(Path(path).read_bytes(), path)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): {_cure(path)}") from error


def _parse(content: bytes, path: str | Path) -> dict:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip():  # torch.load does not look at checksums
                raise zipfile.BadZipFile("a checksum is wrong")
        parsed = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # from damaged bytes the unpickler may raise anything
        raise ModelFileError(f"{path} is damaged or no weights file: {_cure(path)}") from error
    if not isinstance(parsed, dict) or parsed.get("format") != FILE_FORMAT:
        raise ModelFileError(f"{path} is not a weights file of this version: {_cure(path)}")
    return parsed | {"history": pd.DataFrame(parsed["history"])}


def _build(content: dict, path: str | Path) -> nn.Module:
    network = Network.known.get(str(content.get("network")))
    if network is None:
        raise ModelFileError(
            f"{path} holds a network called {content.get('network')!r}, which is not known: import "
            "its class first."
        )
    try:
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and replaced
            model = network(**content["arguments"])
        model.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} does not fit the networks of this version ({error}): {_cure(path)}"
        ) from error
    return model.eval()


def _cure(path: str | Path) -> str:
    return (
        f"`git restore {path}` brings it back if it came with the repository; otherwise run the "
        "notebook that trains it."
    )
