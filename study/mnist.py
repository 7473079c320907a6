"""The images and labels, and how they are split.

MNIST lies in ``data/`` as the four archives of its authors, so nothing is downloaded. Should one
be missing, torchvision fetches it. The archives are never unpacked on the disk, and all images
stay in memory as one uint8 tensor: 47 MB, and faster to index than any loader of single files.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import joblib
import torch
from filelock import FileLock
from sklearn.model_selection import train_test_split
from torchvision.datasets import MNIST
from torchvision.datasets.utils import check_integrity

ARCHIVE_MD5 = dict(MNIST.resources)
TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
IMAGES_HEADER, LABELS_HEADER = 16, 8  # bytes before the first pixel and the first label


class DataError(RuntimeError):
    """A file of MNIST is damaged, or missing and out of reach."""


@dataclass(frozen=True)
class Digits:
    """Images with their labels.

    Attributes:
        images: uint8, shape (N, 28, 28); 0 is paper, 255 is ink.
        labels: int64, shape (N,), from 0 to 9; 10 marks a picture of no digit.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Self) -> Self:
        """Both sets, one after the other."""
        images = torch.cat([self.images, other.images])
        return Digits(images, torch.cat([self.labels, other.labels]))

    def __getitem__(self, indices) -> Self:
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
    if any(not (raw / name).exists() for name in TRAIN + TEST):
        _fetch(raw)
    return _read(raw, *TRAIN), _read(raw, *TEST)


def split(train: Digits, valid_fraction: float, seed: int) -> tuple[Digits, Digits]:
    """Split into training and validation images: stratified by class, the same for one seed.

    Args:
        valid_fraction: the fraction that is held out, between 0 and 1.
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
    """Return a hash of images and labels; None stands for a set that does not exist."""
    arrays = [(p.images.numpy(), p.labels.numpy()) if p is not None else None for p in parts]
    return joblib.hash(arrays)[:12]


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 images (N, 28, 28) into what the networks take: float (N, 1, 28, 28) in [0, 1]."""
    # The channel is added last and then moved into place: this gives the strides of the
    # channels_last layout, in which convolutions are faster.
    return (images.float() / 255).unsqueeze(-1).permute(0, 3, 1, 2)


def _read(raw: Path, images: str, labels: str) -> Digits:
    pixels = torch.frombuffer(_unpacked(raw / images), dtype=torch.uint8, offset=IMAGES_HEADER)
    classes = torch.frombuffer(_unpacked(raw / labels), dtype=torch.uint8, offset=LABELS_HEADER)
    return Digits(pixels.reshape(-1, 28, 28), classes.long())


def _unpacked(archive: Path) -> bytearray:
    if not check_integrity(archive, ARCHIVE_MD5[archive.name]):
        raise DataError(
            f"{archive} is damaged (its MD5 is not {ARCHIVE_MD5[archive.name]}): restore it "
            f"with `git restore {archive}`, or delete it to have it downloaded again."
        )
    return bytearray(gzip.decompress(archive.read_bytes()))


def _fetch(raw: Path) -> None:
    """Have torchvision download what is missing; of several processes, one does it."""
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".lock"):
            MNIST(raw.parent.parent, download=True)
    except (RuntimeError, OSError) as error:
        missing = [name for name in TRAIN + TEST if not (raw / name).exists()]
        raise DataError(
            f"{raw / missing[0] if missing else raw} is missing and could not be downloaded: "
            f"restore it with `git restore {raw}`, or run again with a network connection."
        ) from error
