"""MNIST: its images and labels, who wrote them, and how they are split.

The four archives of MNIST's authors, and a table of the writers, are part of the repository, so
nothing is downloaded. Images stay in memory as one uint8 tensor: 47 MB for all of MNIST, and faster
to index than any loader of single files.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import joblib
import numpy as np
import pandas as pd
import torch
from filelock import FileLock

NUM_DIGITS = 10
NO_DIGIT = 10  # the class of a picture that shows no digit, for networks that know one
TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
IMAGES_HEADER, LABELS_HEADER = 16, 8  # bytes before the first pixel and the first label
NUM_TRAIN, NUM_TEST = 60_000, 10_000


class DataError(RuntimeError):
    """A data file is damaged or missing; the message names the file and the cure."""


@dataclass(frozen=True)
class Digits:
    """Images with their labels.

    Attributes:
        images: uint8, shape (N, 28, 28); 0 is paper, 255 is ink.
        labels: int64, shape (N,), from 0 to 9, or ``NO_DIGIT``. For training they may be soft:
            float32, shape (N, classes), where each row holds the class probabilities.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Self) -> Self:
        """Concatenate two sets."""
        images = torch.cat([self.images, other.images])
        return Digits(images, torch.cat([self.labels, other.labels]))

    def __getitem__(self, indices) -> Self:
        """Select the images and labels at ``indices`` (a slice, a mask or a list of indices)."""
        return Digits(self.images[indices], self.labels[indices])


def load(root: str | Path = "data") -> tuple[Digits, Digits]:
    """Return the 60 000 training and the 10 000 test images, in the official order.

    The archives are read without being unpacked on the disk. If one is missing, torchvision
    downloads it.

    Args:
        root: the folder that holds ``MNIST/raw/``.

    Raises:
        DataError: a file is damaged, or is missing and cannot be downloaded.
    """
    raw = Path(root) / "MNIST" / "raw"
    if any(not (raw / name).exists() for name in TRAIN + TEST):
        _download(raw)
    return _read(raw, *TRAIN), _read(raw, *TEST)


def writers(root: str | Path = "data") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return who wrote each training and each test image, in the order of ``load``.

    NIST recorded the writers, and QMNIST traced every image of MNIST back to them (Yadav and Bottou
    2019, https://arxiv.org/abs/1905.10498).

    Args:
        root: the folder that holds ``writers.csv.gz``.

    Returns:
        For each set, one row an image: ``writer``, NIST's number of the person, and ``group``:
        "students" of a high school or "employees" of the Census Bureau.

    Raises:
        DataError: the file is damaged or missing.
    """
    path = Path(root) / "writers.csv.gz"
    try:
        table = pd.read_csv(path)
        if len(table) != NUM_TRAIN + NUM_TEST:
            raise ValueError(f"it has {len(table)} rows")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or missing: restore it with `git restore {path}`."
        ) from error
    return table[:NUM_TRAIN], table[NUM_TRAIN:].reset_index(drop=True)


def split(
    train: Digits, valid_fraction: float, seed: int, groups: Sequence[int] | None = None
) -> tuple[Digits, Digits]:
    """Split into training and validation images; the same seed gives the same split.

    Without groups, the split is stratified by class. With groups, each group goes to one side as a
    whole, so classes keep their shares only roughly. With MNIST's writers as groups they nearly do,
    because every writer wrote all ten digits about equally often.

    Args:
        valid_fraction: the fraction that is held out, between 0 and 1: of the images, or of the
            groups, which need not be equally large.
        seed: any non-negative integer.
        groups: one number per image, for instance its writer.

    Raises:
        ValueError: there are too few images of a class, or too few groups, for both sides.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split  # takes a second

    if groups is None:
        indices = train_test_split(
            np.arange(len(train)),
            test_size=valid_fraction,
            stratify=train.labels.numpy(),
            random_state=seed,
        )
    else:
        shuffle = GroupShuffleSplit(1, test_size=valid_fraction, random_state=seed)
        indices = next(shuffle.split(train.labels, groups=np.asarray(groups)))
    return train[indices[0]], train[indices[1]]


def hard_labels(labels: torch.Tensor) -> torch.Tensor:
    """Return the class of each image, int64 (N,); for soft labels, the most probable class."""
    return labels.argmax(1) if labels.ndim == 2 else labels


def fingerprint(*parts: Digits | None) -> str:
    """Return a hash of images and labels; None stands for a set that is not given."""
    arrays = [(p.images.numpy(), p.labels.numpy()) if p is not None else None for p in parts]
    return joblib.hash(arrays)[:12]


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 images (N, 28, 28) to the networks' input: float (N, 1, 28, 28) in [0, 1]."""
    # The channel is added last and then moved into place: this gives the strides of the
    # channels_last layout, in which convolutions are faster.
    return (images.float() / 255).unsqueeze(-1).permute(0, 3, 1, 2)


def _read(raw: Path, images: str, labels: str) -> Digits:
    pixels = torch.frombuffer(_unpacked(raw / images), dtype=torch.uint8, offset=IMAGES_HEADER)
    classes = torch.frombuffer(_unpacked(raw / labels), dtype=torch.uint8, offset=LABELS_HEADER)
    return Digits(pixels.reshape(-1, 28, 28), classes.long())


def _unpacked(archive: Path) -> bytearray:
    content = archive.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5[archive.name]:
        raise DataError(
            f"{archive} is damaged (its MD5 is not {MD5[archive.name]}): restore it with "
            f"`git restore {archive}`, or delete it to have it downloaded again."
        )
    return bytearray(gzip.decompress(content))


def _download(raw: Path) -> None:
    """Have torchvision download what is missing; of several processes, one does it."""
    from torchvision.datasets import MNIST  # takes a second or two

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
