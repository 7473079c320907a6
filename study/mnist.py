"""The images and labels, and how they are split.

MNIST lies in ``data/`` as the four archives of its authors, so nothing is downloaded. Should one
be missing, torchvision fetches it. All images stay in memory as one uint8 tensor: 47 MB, faster
to index than any loader of single files.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from filelock import FileLock
from sklearn.model_selection import train_test_split
from torchvision.datasets import MNIST
from torchvision.datasets.utils import check_integrity

# MD5 of each file once unpacked. torchvision checks only the archives, and would load a damaged
# unpacked file without a word.
UNPACKED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
ARCHIVE_MD5 = dict(MNIST.resources)


class DataError(RuntimeError):
    """A file of MNIST is damaged, or missing and out of reach."""


@dataclass(frozen=True)
class Digits:
    """Images with their labels.

    Attributes:
        images: uint8, shape (N, 28, 28); 0 is paper, 255 is ink.
        labels: int64, shape (N,), from 0 to 9.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices) -> Digits:
        """The images and labels at ``indices`` (a slice, a mask, or a sequence of indices)."""
        return Digits(self.images[indices], self.labels[indices])


def load(root: str | Path = "data") -> tuple[Digits, Digits]:
    """Return the 60 000 training and the 10 000 test images, in the official order.

    Args:
        root: the folder that holds ``MNIST/raw/``.

    Raises:
        DataError: a file is damaged, or missing and cannot be fetched; the message names the
            file and the cure.
    """
    raw = Path(root) / "MNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        # Of processes that start together on a fresh clone, one unpacks, and the others wait.
        # Once that is done nothing is written: the folder may be read-only.
        with nullcontext() if _is_unpacked(raw) else FileLock(raw / ".lock"):
            _check_files(raw)
            train, test = (MNIST(root, train=train, download=True) for train in (True, False))
    except DataError:
        raise
    except (RuntimeError, OSError) as error:
        raise DataError(_explain(raw, error)) from error
    return Digits(train.data, train.targets), Digits(test.data, test.targets)


def split(train: Digits, valid_fraction: float, seed: int) -> tuple[Digits, Digits]:
    """Split into training and validation images: stratified by class, the same for one seed.

    Args:
        valid_fraction: the part held out, between 0 and 1.
        seed: any non-negative integer.
    """
    train_indices, valid_indices = train_test_split(
        torch.arange(len(train)).numpy(),
        test_size=valid_fraction,
        stratify=train.labels.numpy(),
        random_state=seed,
    )
    return train[train_indices], train[valid_indices]


def fingerprint(*parts: Digits | None) -> str:
    """A hash of images and labels; None stands for a part that is not there."""
    arrays = [(p.images.numpy(), p.labels.numpy()) if p is not None else None for p in parts]
    return joblib.hash(arrays)[:12]


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 images (N, 28, 28) into what the networks take: float (N, 1, 28, 28) in [0, 1]."""
    # Added last and moved to its place, the channel has the strides of the channels_last layout,
    # in which convolutions are faster.
    return (images.float() / 255).unsqueeze(-1).permute(0, 3, 1, 2)


def _is_unpacked(raw: Path) -> bool:
    return all(check_integrity(raw / name, md5) for name, md5 in UNPACKED_MD5.items())


def _check_files(raw: Path) -> None:
    """Refuse a damaged archive; drop a damaged unpacked copy, to be unpacked again."""
    for name, md5 in UNPACKED_MD5.items():
        archive, unpacked = raw / f"{name}.gz", raw / name
        if archive.exists() and not check_integrity(archive, ARCHIVE_MD5[archive.name]):
            raise DataError(
                f"{archive} is damaged (its MD5 is not {ARCHIVE_MD5[archive.name]}): restore it "
                f"with `git restore {archive}`, or delete it to have it downloaded again."
            )
        if unpacked.exists() and not check_integrity(unpacked, md5):
            unpacked.unlink()


def _explain(raw: Path, error: Exception) -> str:
    """One sentence on why torchvision could not load the files in ``raw``."""
    missing = [f"{name}.gz" for name in UNPACKED_MD5 if not (raw / f"{name}.gz").exists()]
    if not missing:
        return f"The files in {raw} could not be unpacked: {error}"
    return (
        f"{raw / missing[0]} is missing and could not be downloaded: restore it with "
        f"`git restore {raw}`, or run again with a network connection."
    )
