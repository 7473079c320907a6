"""MNIST: its images and labels, who wrote them, and how they are split.

MNIST lies in ``data/`` as the four archives of its authors, so nothing is downloaded. Should one
be missing, torchvision fetches it. They are read without being unpacked on the disk. Who wrote
each image stands in two more files, of QMNIST, which are fetched when they are asked for.
"""

import gzip
import hashlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from sklearn.model_selection import GroupShuffleSplit
from torchvision.datasets import MNIST, QMNIST
from torchvision.datasets.utils import check_integrity

from study import digits
from study.digits import Digits, fingerprint, to_float
from study.files import write_whole

__all__ = ["DataError", "Digits", "fingerprint", "load", "split", "to_float", "writers"]

ARCHIVE_MD5 = dict(MNIST.resources)
TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
IMAGES_HEADER, LABELS_HEADER = 16, 8  # bytes before the first pixel and the first label
# Of QMNIST, the address and the MD5 of the labels, without the images.
WRITERS = {part: QMNIST.resources[part][1] for part in ("train", "test")}
WRITERS_HEADER, WRITERS_COLUMNS = 12, 8  # bytes before the first row; its numbers of four bytes
NUM_TEST = 10_000  # QMNIST's test set goes on with 50 000 images that MNIST left out
STUDENTS = 4  # the series of NIST that high-school students wrote


class DataError(RuntimeError):
    """A file of MNIST or QMNIST is damaged, or missing and out of reach."""


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


def writers(root: str | Path = "data") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return who wrote each training and each test image, in the order of ``load``.

    NIST recorded it, and the extended labels of QMNIST kept it (Yadav and Bottou 2019,
    https://arxiv.org/abs/1905.10498). They are fetched once, 1 MB, into ``QMNIST/raw/``.

    Args:
        root: the folder that holds ``QMNIST/raw/``, or gets it.

    Returns:
        One row an image: ``writer``, NIST's number of the person; ``series``, the part of NIST's
        collection, 0, 1 or 4; ``group``, "students" of a high school (series 4) or "employees" of
        the Census Bureau (the others).

    Raises:
        DataError: a file is damaged, or missing and cannot be fetched; the message names the
            file and the cure.
    """
    raw = Path(root) / "QMNIST" / "raw"
    _fetch_writers(raw)
    train, test = (_read_writers(raw / Path(url).name, md5) for url, md5 in WRITERS.values())
    return train, test.head(NUM_TEST)


def split(
    train: Digits, valid_fraction: float, seed: int, groups: Sequence[int] | None = None
) -> tuple[Digits, Digits]:
    """Split into training and validation images, the same for one seed.

    Without groups, the split is stratified by class. With them, it can be so only roughly: a group
    goes to one side whole, with whatever digits it has. Writers of MNIST wrote all ten about
    equally often, so with them as groups the classes nearly keep their shares.

    Args:
        valid_fraction: the fraction that is held out, between 0 and 1: of the images, or of the
            groups, which need not be equally large.
        seed: any non-negative integer.
        groups: one number an image, for instance its writer: no group stands on both sides.

    Raises:
        ValueError: there are too few images of a class, or too few groups, for both sides.
    """
    if groups is None:
        return digits.split(train, valid_fraction, seed)
    shuffle = GroupShuffleSplit(1, test_size=valid_fraction, random_state=seed)
    train_indices, valid_indices = next(shuffle.split(train.labels, groups=np.asarray(groups)))
    return train[train_indices], train[valid_indices]


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


def _fetch_writers(raw: Path) -> None:
    """Download the two files without the images, 20 MB, that torchvision would fetch with them."""
    files = {raw / Path(url).name: (url, md5) for url, md5 in WRITERS.values()}
    missing = {path: files[path] for path in files if not path.exists()}
    try:
        for path, (url, md5) in missing.items():
            with urlopen(url, timeout=20) as answer:  # seconds
                content = answer.read()
            if hashlib.md5(content).hexdigest() != md5:
                raise OSError(f"what came from {url} is another file")
            write_whole(path, content)
    except (OSError, HTTPException) as error:
        names = " and ".join(path.name for path in missing if not path.exists())
        addresses = " and ".join(url for path, (url, _) in missing.items() if not path.exists())
        raise DataError(
            f"What tells who wrote each digit, {names}, is missing in {raw} and could not be "
            f"downloaded: put there {addresses}, or run again with a network connection."
        ) from error


def _read_writers(path: Path, md5: str) -> pd.DataFrame:
    if not check_integrity(path, md5):
        raise DataError(
            f"{path} is damaged (its MD5 is not {md5}): delete it to have it downloaded again."
        )
    content = gzip.decompress(path.read_bytes())
    rows = np.frombuffer(content, ">i4", offset=WRITERS_HEADER).reshape(-1, WRITERS_COLUMNS)
    _, series, writer, *_ = rows.T.astype(np.int64)
    group = np.where(series == STUDENTS, "students", "employees")
    return pd.DataFrame({"writer": writer, "series": series, "group": group})
