"""Fixtures: the real data, a small part of it, and a copy of the repository to work on."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import app
from app.service import Service
from browser import chromium, visiting
from serving import ROOT, serve
from study import data, runs, workers

# On every processor alike; a test of bfloat16 asks for it.
os.environ["STUDY_PRECISION"] = "float32"
# One process a search and one thread a process, unless a test asks for more: tests of two processes
# share the cores. The processes that pytest-xdist starts have this environment from the beginning.
os.environ["LOKY_MAX_CPU_COUNT"] = os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def digits() -> tuple[data.Digits, data.Digits]:
    """All of MNIST: (train, test)."""
    return data.load(ROOT / "data")


@pytest.fixture(scope="session")
def few(digits) -> tuple[data.Digits, data.Digits]:
    """600 training and 200 validation images: enough to learn a little in a second."""
    train, _ = digits
    return train[:600], train[600:800]


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """Names of the runs that were really trained: in the process of the test, which is quicker."""
    names = []

    def here(jobs, train, valid, tensorboard, num_workers):
        for folder, job in jobs.items():
            names.append(folder.name)
            yield folder, runs.train(*job, train, valid, tensorboard)

    monkeypatch.setattr(workers, "train_all", here)
    return names


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def service() -> Service:
    """The page's, with fewer images to search for similar ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.service.NUM_GALLERY", 1000)
        return Service()


@pytest.fixture(scope="session")
def client(service):
    return app.create_app(service).test_client()


@pytest.fixture(scope="session")
def seven(digits) -> Image.Image:
    """The first test digit, a 7: dark ink on white."""
    return Image.fromarray(255 - digits[1].images[0].numpy()).resize((140, 140))


def copy_of_the_repository(folder: Path) -> Path:
    """A copy to work on, so that no test changes a committed file."""
    ignore = shutil.ignore_patterns(".git", ".venv", "*cache*", "tests", "*-ubyte")

    def ignored(place: str, names: list[str]) -> set[str]:
        return ignore(place, names) | ({"runs"} & set(names) if Path(place) == ROOT else set())

    return Path(shutil.copytree(ROOT, folder / "repository", ignore=ignored))


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository, which several tests work on."""
    return copy_of_the_repository(tmp_path_factory.mktemp("copy"))


def committed() -> dict[str, int]:
    """A checksum of every committed file (none where there is no git)."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True) if shutil.which("git") else None
    names = listed.stdout.decode().split("\0") if listed else []
    return {
        name: zlib.crc32((ROOT / name).read_bytes()) for name in names if (ROOT / name).is_file()
    }


@pytest.fixture(scope="session", autouse=True)
def no_committed_file_changes():
    """What `make test` promises: tests that write do so in a copy."""
    before = committed()
    yield
    after = committed()
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    assert not changed, f"changed while the tests ran: {', '.join(changed)}"


@pytest.fixture(autouse=True)
def one_thread():
    """Results depend on the number of threads, and tests of several processes share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser():
    """Chromium. Without it, tests are skipped; with CI_BROWSER_REQUIRED=1, they fail instead."""
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(chromium())
        except (ImportError, FileNotFoundError) as error:
            required = os.environ.get("CI_BROWSER_REQUIRED") == "1"
            (pytest.fail if required else pytest.skip)(str(error))
        yield started


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the app, served as `make app` serves it."""
    with serve() as address:
        yield address


@pytest.fixture
def visit(browser, server):
    """Opens the page with options of the browser."""
    with visiting(browser, server) as open_page:
        yield open_page


@pytest.fixture
def page(visit):
    """The page, in a window of a usual size."""
    return visit(viewport={"width": 1280, "height": 900})
