"""The data: complete, intact, loaded without a network, and mended where that is possible."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import sys

import pytest
import torch

from conftest import ROOT
from study import mnist

RAW = ROOT / "data" / "MNIST" / "raw"


@pytest.fixture
def archives(tmp_path):
    """A folder with the four archives, nothing unpacked."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        shutil.copyfile(archive, raw / archive.name)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name, md5", mnist.ARCHIVE_MD5.items())
def test_committed_archive_is_the_official_one(name, md5):
    assert hashlib.md5((RAW / name).read_bytes()).hexdigest() == md5


def test_load_needs_no_network(archives, no_network):
    train, test = mnist.load(archives)
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
    with pytest.raises(mnist.DataError, match=r"t10k-labels-idx1-ubyte\.gz is missing.*restore"):
        mnist.load(archives)


def test_missing_archive_is_fetched(archives, monkeypatch):
    archive = archives / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    archive.unlink()
    fetched = []

    def fetch(url, root, filename, md5):
        fetched.append(filename)
        shutil.copyfile(RAW / filename, f"{root}/{filename}")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    _, test = mnist.load(archives)
    assert archive.name in fetched
    assert len(test) == 10_000


def test_damaged_archive_is_named(archives):
    archive = archives / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = bytearray(archive.read_bytes())
    content[1000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(mnist.DataError, match=r"train-images-idx3-ubyte\.gz is damaged.*restore"):
        mnist.load(archives)


REPORT_WRITES = """
import os, sys
def refuse(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError(f"read-only: {arguments[0]}")
    if event in ("os.mkdir", "os.rename", "os.remove"):
        raise PermissionError(f"read-only: {arguments[0]}")
from study import mnist
sys.addaudithook(refuse)
print(len(mnist.load(sys.argv[1])[0]))
"""


def test_a_read_only_clone_is_enough(archives):
    command = [sys.executable, "-c", REPORT_WRITES, archives]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "60000\n", run.stderr


def test_split_is_stratified_and_repeatable(digits):
    train, valid = mnist.split(digits[0], 0.2, seed=0)
    again, _ = mnist.split(digits[0], 0.2, seed=0)
    other, _ = mnist.split(digits[0], 0.2, seed=1)
    assert (len(train), len(valid)) == (48_000, 12_000)
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.labels, other.labels)
    share = digits[0].labels.bincount() / 60_000
    assert torch.allclose(valid.labels.bincount() / 12_000, share, atol=1e-4)


def test_split_loses_and_repeats_nothing(digits):
    whole = digits[0][:1000]
    parts = mnist.split(whole, 0.25, seed=0)
    rows = torch.cat([part.images for part in parts]).flatten(1)
    assert sorted(map(bytes, rows.numpy())) == sorted(map(bytes, whole.images.flatten(1).numpy()))


def test_sets_are_put_one_after_the_other(digits):
    both = digits[0][:3] + digits[1][:2]
    assert torch.equal(both.images[3:], digits[1].images[:2])
    assert both.labels.tolist() == [*digits[0].labels[:3].tolist(), *digits[1].labels[:2].tolist()]


def test_to_float(digits):
    images = mnist.to_float(digits[1].images[:10])
    assert images.shape == (10, 1, 28, 28)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0, 1)
    assert torch.equal((255 * images[:, 0]).round().byte(), digits[1].images[:10])
