"""The data: complete, intact, loaded without a network, and mended where that is possible."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.datasets import MNIST

from conftest import ROOT
from study import data

RAW = ROOT / "data" / "MNIST" / "raw"


@pytest.fixture
def archives(tmp_path):
    """A folder with the four archives, nothing unpacked."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        shutil.copyfile(archive, raw / archive.name)
    return tmp_path


@pytest.mark.parametrize("name, md5", MNIST.resources)
def test_committed_archive_is_the_official_one(name, md5):
    assert hashlib.md5((RAW / name).read_bytes()).hexdigest() == md5 == data.MD5[name]


def test_load_needs_no_network(archives, no_network):
    train, test = data.load(archives)
    for digits, size in ((train, 60_000), (test, 10_000)):
        assert digits.images.shape == (size, 28, 28)
        assert digits.images.dtype == torch.uint8
        assert digits.labels.shape == (size,)
        assert digits.labels.dtype == torch.int64
        assert len(digits) == size
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_missing_archive_without_network(archives, no_network):
    (archives / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(data.DataError, match=r"t10k-labels-idx1-ubyte\.gz is missing.*restore"):
        data.load(archives)


def test_missing_archive_is_fetched(archives, monkeypatch):
    archive = archives / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    archive.unlink()
    fetched = []

    def fetch(url, root, filename, md5):
        fetched.append(filename)
        shutil.copyfile(RAW / filename, f"{root}/{filename}")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    _, test = data.load(archives)
    assert archive.name in fetched
    assert len(test) == 10_000


def test_damaged_archive_is_named(archives):
    archive = archives / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = bytearray(archive.read_bytes())
    content[1000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(data.DataError, match=r"train-images-idx3-ubyte\.gz is damaged.*restore"):
        data.load(archives)


REPORT_WRITES = """
import os, sys
def refuse(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError(f"read-only: {arguments[0]}")
    if event in ("os.mkdir", "os.rename", "os.remove"):
        raise PermissionError(f"read-only: {arguments[0]}")
from study import data
sys.addaudithook(refuse)
print(len(data.load(sys.argv[1])[0]))
"""


def test_a_read_only_clone_is_enough(archives):
    command = [sys.executable, "-c", REPORT_WRITES, archives]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "60000\n", run.stderr


def test_split_is_stratified_and_repeatable(digits):
    train, valid = data.split(digits[0], 0.2, seed=0)
    again, _ = data.split(digits[0], 0.2, seed=0)
    other, _ = data.split(digits[0], 0.2, seed=1)
    assert (len(train), len(valid)) == (48_000, 12_000)
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.labels, other.labels)
    share = digits[0].labels.bincount() / 60_000
    assert torch.allclose(valid.labels.bincount() / 12_000, share, atol=1e-4)


def test_split_loses_and_repeats_nothing(digits):
    whole = digits[0][:1000]
    parts = data.split(whole, 0.25, seed=0)
    rows = torch.cat([part.images for part in parts]).flatten(1)
    assert sorted(map(bytes, rows.numpy())) == sorted(map(bytes, whole.images.flatten(1).numpy()))


# --- Who wrote the digits ---


def test_writers_of_every_image(no_network):
    train, test = data.writers(ROOT / "data")
    for written, size, people in ((train, 60_000, 539), (test, 10_000, 297)):
        assert list(written.index) == list(range(size))
        assert written["writer"].nunique() == people
        assert (written.groupby("writer")["group"].nunique() == 1).all()
    assert train["group"].value_counts().to_dict() == {"employees": 30_950, "students": 29_050}
    assert test["group"].value_counts().to_dict() == {"students": 5_001, "employees": 4_999}
    assert not set(train["writer"]) & set(test["writer"])
    assert train["writer"][:4].tolist() == [2154, 0, 2232, 0]
    assert not pd.concat([train, test]).duplicated(["writer", "digit"]).any()


def missing(path):
    path.unlink()


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def changed(path):
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def of_other_images(path):
    path.write_bytes(gzip.compress(b"writer,group,digit\n2154,students,59\n"))


@pytest.mark.parametrize("damage", [missing, cut_short, changed, of_other_images])
def test_writers_that_cannot_be_read_are_said_in_one_sentence(tmp_path, no_network, damage):
    path = tmp_path / "writers.csv.gz"
    shutil.copyfile(ROOT / "data" / path.name, path)
    damage(path)
    with pytest.raises(data.DataError, match=r"writers\.csv\.gz .*git restore") as error:
        data.writers(tmp_path)
    assert str(error.value).count(". ") == 0 and "\n" not in str(error.value)


@pytest.mark.parametrize("as_groups", [list, np.array, torch.tensor])
def test_split_keeps_groups_apart(digits, as_groups):
    groups = (torch.arange(1000) % 30).tolist()
    rows = data.Digits(torch.arange(1000), digits[0].labels[:1000])  # to see which are drawn
    parts = data.split(rows, 0.2, seed=0, groups=as_groups(groups))
    train, valid = ({groups[row] for row in part.images} for part in parts)
    assert len(valid) == 6 and len(train) == 24
    assert not train & valid
    assert sorted(torch.cat([part.images for part in parts]).tolist()) == list(range(1000))
    again, _ = data.split(rows, 0.2, seed=0, groups=groups)
    other, _ = data.split(rows, 0.2, seed=1, groups=groups)
    assert torch.equal(parts[0].images, again.images)
    assert not torch.equal(parts[0].images, other.images)


def test_groups_need_one_number_an_image(digits):
    with pytest.raises(ValueError, match="inconsistent numbers"):
        data.split(digits[0][:100], 0.2, seed=0, groups=range(99))


def test_sets_are_put_one_after_the_other(digits):
    both = digits[0][:3] + digits[1][:2]
    assert torch.equal(both.images[3:], digits[1].images[:2])
    assert both.labels.tolist() == [*digits[0].labels[:3].tolist(), *digits[1].labels[:2].tolist()]


def test_to_float(digits):
    images = data.to_float(digits[1].images[:10])
    assert images.shape == (10, 1, 28, 28)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0, 1)
    assert torch.equal((255 * images[:, 0]).round().byte(), digits[1].images[:10])
