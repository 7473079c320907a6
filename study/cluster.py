"""The grid on a cluster: what the workers of ``dask.distributed`` need before they train a run.

joblib hands the runs to the cluster, and Dask does a run again when its worker dies. What neither
of them does is here: refuse workers whose numbers would differ, bring the data to each worker
once, and use a cluster that has one worker only. ``grid_search`` imports this module when the
caller chose a cluster, and only then (requirements-cluster.txt).
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import pickle
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path

import cloudpickle
import numpy as np
import torch
from distributed import Client, get_client
from joblib import Parallel, delayed, parallel_config
from joblib._dask import DaskDistributedBackend

from study import mnist
from study.mnist import Digits

RAW = Path(mnist.__file__).parent.parent / "data" / "MNIST" / "raw"
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
DATA_KEY = "mnist-study-data"  # what the scheduler keeps the data under, by its hash
logger = logging.getLogger("distributed.study")  # shown in the log of a worker


class ClusterError(RuntimeError):
    """A cluster cannot go on with the grid; the message says where, why, and what to do."""


class _Backend(DaskDistributedBackend):
    """joblib's own, which would run the grid here when the cluster has one worker of one thread."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        return max(2, super().effective_n_jobs(n_jobs))

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Forget the runs that were not begun, for the cluster not to do them for nobody."""
        super().abort_everything(ensure_ready)
        self._results.clear()
        self._callbacks.clear()


def train_all(
    backend: DaskDistributedBackend,
    train_run: Callable,
    jobs: list[tuple],
    environments: dict[str, dict],
    train: Digits,
    valid: Digits | None,
    tensorboard: bool,
) -> Iterator:
    """Call ``train_run(*job, train, valid, tensorboard)`` on the workers; yield what comes back.

    Args:
        backend: the one that the caller chose: ``parallel_config(backend="dask")``.
        environments: what a worker must have, by network: see ``grid_search.environment``.

    Raises:
        ClusterError: a worker has other versions, code or arithmetic, or more than one thread
            (at once for those that are there, later for those that join); or the scheduler was
            lost.
    """
    client = backend.client
    find_problem_aside, train_there = _functions_for_workers()
    problems = client.run(find_problem_aside, environments)
    _raise([f"{address} {problem}" for address, problem in problems.items() if problem])
    data_hash = _publish(client, train, valid)
    chosen = _Backend(
        client=client,
        wait_for_workers_timeout=backend.wait_for_workers_timeout,
        **backend.submit_kwargs,
    )
    with parallel_config(backend=chosen):
        # So many are handed over at once that workers that join later find something to do.
        results = Parallel(return_as="generator_unordered", pre_dispatch="100 * n_jobs")(
            delayed(train_there)(
                environments, data_hash, cloudpickle.dumps((train_run, job, tensorboard))
            )
            for job in jobs
        )
    return _received(results, client.scheduler.address)


def _received(results: Iterator, scheduler: str) -> Iterator:
    try:
        for result, problem in results:
            _raise([problem] if problem else [])
            yield result
    except CancelledError as error:
        raise ClusterError(
            f"The connection to the scheduler at {scheduler} was lost. Finished runs are kept: "
            "start the cluster again, connect to it, and search again to go on."
        ) from error
    finally:
        with warnings.catch_warnings():  # joblib tells of runs that it drops: they come next time
            warnings.simplefilter("ignore")
            results.close()


def _raise(problems: list[str]) -> None:
    if problems:
        raise ClusterError(
            "This cluster cannot train the grid as this machine would. "
            + " ".join(f"Worker {problem}." for problem in problems)
            + " Stop what is refused, or start it again with the same commit of this repository "
            "and the same versions; finished runs are kept."
        )


def _functions_for_workers() -> tuple[Callable, Callable]:
    """Return two functions that a worker can call even if it has not this study.

    Being local, they are sent as code, not as a name to import. The run comes as bytes, and is
    opened when the versions are known to be the same.
    """

    def find_problem(environments: dict[str, dict], dask_worker) -> str | None:
        threads = dask_worker.state.nthreads
        if threads != 1:
            return (
                f"has {threads} threads, and trainings in one process would share one random "
                "generator: start it with --nthreads 1"
            )
        needed = {
            f"{name} of {network}" if name == "code" else name: value
            for network, environment in environments.items()
            for name, value in environment.items()
        }
        try:
            from study import grid_search

            found = {
                f"{name} of {network}" if name == "code" else name: value
                for network in environments
                for name, value in grid_search.environment(network).items()
            }
        except Exception as error:  # what is installed there is unknown
            versions = ", ".join(f"{name} {value}" for name, value in needed.items())
            return f"cannot import this version of the study ({error!r}); needed: {versions}"
        differences = [
            f"{name} {found.get(name)} (needed: {needed[name]})"
            for name in needed
            if found.get(name) != needed[name]
        ]
        return "has " + ", ".join(differences) if differences else None

    async def find_problem_aside(environments: dict[str, dict], dask_worker) -> str | None:
        # The first import takes seconds, in which the worker has to go on answering.
        return await asyncio.to_thread(find_problem, environments, dask_worker)

    def train_there(environments: dict[str, dict], data_hash: str, job: bytes) -> tuple:
        from distributed import get_worker

        worker = get_worker()
        problem = find_problem(environments, worker)
        if problem:
            return None, f"{worker.address} {problem}"
        from study import cluster

        return cluster.train_here(data_hash, job), None

    return find_problem_aside, train_there


def train_here(data_hash: str, job: bytes):
    """In a worker: open a run that ``train_all`` sent, and train it."""
    train_run, arguments, tensorboard = pickle.loads(job)
    return train_run(*arguments, *_data(data_hash), tensorboard)


@lru_cache(maxsize=4)
def _data(data_hash: str) -> tuple[Digits, Digits | None]:
    """In a worker: the data, from this machine's disk if it is there, else from the driver."""
    client = get_client()
    parts = _take(_unpack(client.get_metadata([DATA_KEY, data_hash, "rows"])))
    if parts is not None and mnist.fingerprint(*parts) == data_hash:
        logger.info("data %s: from the disk of this machine", data_hash)
        return parts
    packed = client.get_metadata([DATA_KEY, data_hash, "arrays"])
    logger.info("data %s: from the driver, %.1f MB", data_hash, len(packed) / 1e6)
    return tuple(
        Digits(*(torch.from_numpy(array) for array in arrays)) if arrays else None
        for arrays in _unpack(packed)
    )


def _publish(client: Client, train: Digits, valid: Digits | None) -> str:
    """Leave the data with the scheduler, for workers that have it not; return its hash.

    Kept there, and not by a worker (``client.scatter``), it outlives every worker, and a worker
    that waits for it needs no other worker. It is found by its hash, and stays for searches to
    come.
    """
    parts = (train, valid)
    data_hash = mnist.fingerprint(*parts)
    if client.get_metadata([DATA_KEY, data_hash, "rows"], None) is None:
        arrays = [(p.images.numpy(), p.labels.numpy()) if p is not None else None for p in parts]
        content = {"rows": _pack(_rows(parts)), "arrays": _pack(arrays)}
        client.set_metadata([DATA_KEY, data_hash], content)
    return data_hash


def _rows(parts: tuple[Digits, Digits | None]) -> list[np.ndarray | None] | None:
    """Where the images of each part lie in MNIST's training file; None if one is not of it."""
    try:
        with gzip.open(RAW / IMAGES) as file:
            file.read(16)  # the header
            # Hashes take a tenth of the memory; were two the same, the fingerprint would tell.
            images = iter(partial(file.read, 28 * 28), b"")
            row_of = {hash(image): row for row, image in enumerate(images)}
    except (OSError, EOFError, zlib.error):
        return None
    rows = [None if p is None else _look_up(row_of, p.images.numpy()) for p in parts]
    return None if any(part is not None and -1 in part for part in rows) else rows


def _look_up(row_of: dict[int, int], images: np.ndarray) -> np.ndarray:
    rows = (row_of.get(hash(image.tobytes()), -1) for image in images)
    return np.fromiter(rows, np.int32, len(images))


def _take(rows: list[np.ndarray | None] | None) -> tuple[Digits, Digits | None] | None:
    """The reverse of ``_rows``: the images of these rows, from the disk of this machine."""
    archive = _read_archive() if rows is not None else None
    if archive is None:
        return None
    return tuple(
        None if part is None else Digits(*(torch.from_numpy(array[part]) for array in archive))
        for part in rows
    )


def _read_archive() -> tuple[np.ndarray, np.ndarray] | None:
    """MNIST's 60 000 training images and labels, if the clone that this module is in has them.

    Not by ``mnist.load``: that would unpack, where several workers may share the folder, and
    download what is missing.
    """
    try:
        images, labels = (gzip.decompress((RAW / name).read_bytes()) for name in (IMAGES, LABELS))
    except (OSError, EOFError, zlib.error):
        return None
    # In an IDX file, headers of 16 and 8 bytes come first.
    images = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return images, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def _pack(content) -> bytes:
    packed = BytesIO()
    # Written as it is compressed, the images are never in memory a second time.
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        pickle.dump(content, file, protocol=5)
    return packed.getvalue()


def _unpack(packed: bytes):
    return pickle.loads(gzip.decompress(packed))
