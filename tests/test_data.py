"""The data: complete, intact, loaded without a network, and mended where that is possible."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from conftest import ROOT
from study import data

RAW = ROOT / "data" / "MNIST" / "raw"
QMNIST = ROOT / "data" / "QMNIST" / "raw"


@pytest.fixture
def archives(tmp_path):
    """A folder with the four archives, nothing unpacked."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        shutil.copyfile(archive, raw / archive.name)
    return tmp_path


@pytest.mark.parametrize("name, md5", mnist.ARCHIVE_MD5.items())
def test_committed_archive_is_the_official_one(name, md5):
    assert hashlib.md5((RAW / name).read_bytes()).hexdigest() == md5


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


def test_writers_are_fetched_once_and_read(qmnist, tmp_path):
    train, test = data.writers(tmp_path / "data")
    assert train["writer"].tolist() == [row // 100 for row in range(60_000)]
    assert train["series"][::100].tolist() == [0, 1, 4] * 200
    assert train["group"][:400:100].tolist() == ["employees", "employees", "students", "employees"]
    assert len(test) == 10_000  # the others are none of MNIST's
    assert test["writer"].tolist() == [2100 + row // 100 for row in range(10_000)]
    shutil.rmtree(qmnist)
    assert data.writers(tmp_path / "data")[0].equals(train)


def test_missing_writers_are_said_in_one_sentence(tmp_path, no_network):
    with pytest.raises(data.DataError) as error:
        data.writers(tmp_path)
    assert not (tmp_path / "QMNIST").exists()
    for part in ("train", "test"):
        assert f"qmnist-{part}-labels-idx2-int.gz" in str(error.value)
        assert data.WRITERS[part][0] in str(error.value)
    assert str(error.value).count(". ") == 0


def test_only_the_missing_one_of_the_two_is_named(qmnist, tmp_path):
    data.writers(tmp_path / "data")
    (tmp_path / "data" / "QMNIST" / "raw" / "qmnist-test-labels-idx2-int.gz").unlink()
    shutil.rmtree(qmnist)
    with pytest.raises(data.DataError, match="qmnist-test-labels") as error:
        data.writers(tmp_path / "data")
    assert "qmnist-train" not in str(error.value)


def test_another_file_at_the_address_is_not_kept(qmnist, tmp_path):
    (qmnist / "qmnist-train-labels-idx2-int.gz").write_text("<html>Log in to this network")
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.writers(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_damaged_writers_are_named(qmnist, tmp_path):
    data.writers(tmp_path / "data")
    file = tmp_path / "data" / "QMNIST" / "raw" / "qmnist-test-labels-idx2-int.gz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(data.DataError, match=r"qmnist-test-labels.* is damaged.*delete"):
        data.writers(tmp_path / "data")


@pytest.mark.skipif(not QMNIST.exists(), reason="data/QMNIST was not fetched")
def test_each_row_of_qmnist_is_the_same_image_of_mnist(digits):
    for part, written, size in zip(digits, data.writers(ROOT / "data"), (539, 297), strict=True):
        name = "train" if len(part) == 60_000 else "test"
        content = gzip.decompress((QMNIST / f"qmnist-{name}-labels-idx2-int.gz").read_bytes())
        labels = np.frombuffer(content, ">i4", offset=12).reshape(-1, 8)[: len(part), 0]
        assert (labels == part.labels.numpy()).all()
        assert written["writer"].nunique() == size
        assert set(written["series"]) == {0, 4}


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
