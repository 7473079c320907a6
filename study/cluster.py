"""Train the runs of a search on the workers of a Dask cluster (docs/cluster.md).

Dask hands out the runs, notices when a worker is lost, and trains its runs elsewhere. This module
adds a plugin for the workers: it brings the images, and gives a worker runs only if it has the code
and the versions of the process that searches.
"""

import gzip
import importlib
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from distributed import Client, Future, KilledWorker, WorkerPlugin, as_completed
from tqdm import tqdm

from study import runs
from study.code_hash import check_imported
from study.data import Digits
from study.device import fast_precision
from study.runs import Run

logger = logging.getLogger("distributed.study")  # appears in the log of a worker
LOST = "several workers were lost while training it, perhaps because they ran out of memory"


class ClusterError(RuntimeError):
    """A cluster cannot continue a search; the message says why, and what to do."""


def train_all(
    client: Client,
    jobs: dict[Path, tuple[Run, dict]],
    train: Digits,
    valid: Digits | None,
    tensorboard: bool,
) -> Iterator[tuple[Path, dict[str, bytes] | str]]:
    """Train on the workers of a cluster; yield each run's folder and files as it ends.

    Args:
        jobs: a run and its identity (``Run.identity``), by folder.

    Returns:
        For each folder, what ``runs.train`` returns.

    Raises:
        ClusterError: no worker computes as this process does, or the scheduler was lost.
    """
    needed = {(r.network.__module__, r.network.__name__): told for r, told in jobs.values()}
    name = f"study-{runs.digest([told for _, told in jobs.values()])}-{client.id}"
    futures: set[Future] = set()
    try:
        for left in client.run_on_scheduler(_find_left_behind()):
            client.unregister_worker_plugin(left)
        _look_around(client, needed)
        client.register_plugin(_gate(needed, (train, valid)), name=name)
        train_one, lost = _function_for_workers(name, tensorboard), []
        for folder, outcome in _train(client, train_one, jobs, futures):
            if isinstance(outcome, KilledWorker):
                lost.append(folder)
            else:
                yield folder, outcome
        for folder in lost:  # one after another: any of those that a worker held may have ended it
            for _, outcome in _train(client, train_one, {folder: jobs[folder]}, futures):
                yield folder, LOST if isinstance(outcome, KilledWorker) else outcome
    except OSError as error:
        raise ClusterError(
            f"The connection to the scheduler at {client.scheduler.address} was lost. Finished "
            "runs are kept: connect again and search again to go on. Start the cluster again only "
            "if the scheduler has ended."
        ) from error
    finally:
        if client.status == "running":
            client.cancel(list(futures))
            with suppress(ValueError):  # every worker was refused before it was registered
                client.unregister_worker_plugin(name)


def _function_for_workers(
    name: str, tensorboard: bool
) -> Callable[[bytes], dict[str, bytes] | str]:
    """Return what a worker does with a run. Being local, its code is sent to the worker."""

    def train_one(job: bytes) -> dict[str, bytes] | str:
        from distributed import Reschedule, get_worker

        gate = get_worker().plugins.get(name)
        if gate is None or gate.problem:  # a worker that has just joined, or is about to close
            time.sleep(1)
            raise Reschedule
        from study import runs

        return runs.train(*pickle.loads(job), *gate.digits, tensorboard)

    return train_one


def _check_for_workers() -> Callable:
    """Return a function that says why a worker would not train as this process does, or "".

    Being local, its code is sent to the worker, even to one without this study.
    """

    def check(needed: dict[tuple[str, str], dict], dask_worker) -> str:
        try:
            from study import cluster

            return cluster.problem(needed, dask_worker.state.nthreads)
        except Exception as error:  # whatever another version does
            return f"cannot import this version of the study ({error!r})"

    return check


def _gate(needed: dict[tuple[str, str], dict], digits: tuple) -> WorkerPlugin:
    """Return what each worker sets up before it gets a run, including those that join later."""
    check = _check_for_workers()
    # As arrays: a tensor that is part of another would be pickled with all of it.
    arrays = [part and (part.images.numpy(), part.labels.numpy()) for part in digits]
    packed = gzip.compress(pickle.dumps(arrays), compresslevel=1)

    class Gate(WorkerPlugin):
        """The images; a worker that would train differently closes, with a line in its log."""

        def setup(self, worker) -> None:
            self.problem = check(needed, worker)
            if self.problem:
                logger.error("This worker closes: it %s", self.problem)
                worker.loop.add_callback(worker.close)
            else:
                from study import cluster

                self.digits = cluster.unpacked(packed)

    return Gate()


def problem(needed: dict[tuple[str, str], dict], num_threads: int) -> str:
    """In a worker: return why it would not train as the process that searches, or ""."""
    if num_threads != 1:
        return f"has --nthreads {num_threads} (needed: 1)"
    for (module, network), identity in needed.items():
        network = getattr(importlib.import_module(module), network)
        check_imported(network)  # a worker may live for longer than its code stays on disk
        device, precision = identity["device"], identity["precision"]
        has = runs.environment(network, device, precision)
        if precision == "bfloat16":  # which it may compute slowly, and differently
            has["precision"] = str(fast_precision(torch.device(device))).removeprefix("torch.")
        if wrong := [f"{k} {has[k]} (needed: {identity[k]})" for k in has if has[k] != identity[k]]:
            return f"has {', '.join(wrong)}"
    return ""


def unpacked(packed: bytes) -> tuple[Digits, Digits | None]:
    """In a worker: return the training and validation images."""
    arrays = pickle.loads(gzip.decompress(packed))
    return tuple(part and Digits(*map(torch.from_numpy, part)) for part in arrays)


def _find_left_behind() -> Callable:
    """Return a function that finds, in the scheduler, the plugins of searches that have ended."""

    def find(dask_scheduler) -> list[str]:
        ours = [name for name in dask_scheduler.worker_plugins if name.startswith("study-")]
        return [name for name in ours if not name.endswith(tuple(dask_scheduler.clients))]

    return find


def _look_around(client: Client, needed: dict[tuple[str, str], dict]) -> None:
    """Tell which workers will be closed, and whether there is none yet.

    Raises:
        ClusterError: there are workers, and every one would train differently.
    """
    found = client.run(_check_for_workers(), needed)
    wrong = [f"{worker} {why}" for worker, why in found.items() if why]
    if found and len(wrong) == len(found):
        raise ClusterError(
            f"No worker would train as this machine does: {'; '.join(wrong)}. Start them again "
            "with the same commit of this repository and the same versions."
        )
    for one in wrong:
        tqdm.write(f"Worker {one}. It is closed.")
    if not found:
        tqdm.write("Waiting for a worker: there is none yet.")


def _train(
    client: Client, train_one: Callable, jobs: dict[Path, tuple], futures: set[Future]
) -> Iterator[tuple[Path, dict[str, bytes] | str | KilledWorker]]:
    """Hand out runs; ``futures`` holds those that are not yet back."""
    submit = partial(client.submit, train_one, pure=False)
    folders = {submit(pickle.dumps(job)): folder for folder, job in jobs.items()}
    futures.update(folders)
    for future, outcome in as_completed(list(folders), with_results=True, raise_errors=False):
        if future.status == "cancelled":
            raise ConnectionError
        if future.status == "error":
            _, error, _ = outcome
            outcome = error if isinstance(error, KilledWorker) else repr(error)
        yield folders[future], outcome
        futures.remove(future)
        future.release()  # its files are written; nobody needs to hold them
