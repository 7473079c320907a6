"""Train the runs of a search on the workers of a Dask cluster (docs/cluster.md).

Dask hands out the runs, notices when a worker is lost, and trains its runs elsewhere. Added here is
a plugin for the workers: it brings the images, and a worker gets runs only if it has the code and
the versions of the process that searches.
"""

import gzip
import importlib
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from distributed import Client, Future, KilledWorker, WorkerPlugin, as_completed
from tqdm import tqdm

from study import runs
from study.data import Digits
from study.device import fast_precision
from study.runs import Run

LOST = "several workers were lost while they trained it, perhaps for want of memory or time"


class ClusterError(RuntimeError):
    """A cluster cannot go on with a search; the message says why, and what to do."""


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
        By folder, what ``runs.train`` returns.

    Raises:
        ClusterError: no worker computes as this process does, or the scheduler was lost.
    """
    name = f"study-{runs.digest([identity for _, identity in jobs.values()])}"
    futures: set[Future] = set()
    try:
        client.register_plugin(_gate(name, list(jobs.values()), (train, valid)), name=name)
        _look_around(client, name)
        train_one, lost = _function_for_workers(name, tensorboard), []
        for folder, outcome in _train(client, train_one, jobs, name, futures):
            if isinstance(outcome, KilledWorker):
                lost.append(folder)
            else:
                yield folder, outcome
        for folder in lost:  # one after another: any of those that a worker held may have ended it
            for _, outcome in _train(client, train_one, {folder: jobs[folder]}, name, futures):
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
            client.unregister_worker_plugin(name)


def _function_for_workers(
    name: str, tensorboard: bool
) -> Callable[[bytes], dict[str, bytes] | str]:
    """Return what a worker does with a run. Being local, its code is sent to the worker."""

    def train_one(job: bytes) -> dict[str, bytes] | str:
        from distributed import get_worker

        from study import runs

        return runs.train(*pickle.loads(job), *get_worker().plugins[name].digits, tensorboard)

    return train_one


def _gate(name: str, jobs: list[tuple[Run, dict]], digits: tuple) -> WorkerPlugin:
    """Return what each worker, one that joins later too, sets up before it gets a run.

    The class is local, so Dask sends its code, and a worker without this study can run it too.
    """
    needed = {(run.network.__module__, run.network.__name__): identity for run, identity in jobs}
    # As arrays: a tensor that is a part of another would be pickled with all of it.
    arrays = [part and (part.images.numpy(), part.labels.numpy()) for part in digits]
    packed = gzip.compress(pickle.dumps(arrays), compresslevel=1)

    class Gate(WorkerPlugin):
        """The images; and ``problem``, why this worker gets no runs, or "" where it does."""

        async def setup(self, worker) -> None:
            try:
                from study import cluster

                self.problem = cluster.problem(needed)
                self.digits = cluster.unpacked(packed)
            except Exception as error:  # whatever another version does
                self.problem = f"cannot import this version of the study ({error!r})"
            if self.problem:
                print(f"This worker gets no runs: it {self.problem}.")
            else:
                await worker.set_resources(**{name: 1})

    return Gate()


def problem(needed: dict[tuple[str, str], dict]) -> str:
    """In a worker: return why it would not train as the process that searches, or ""."""
    for (module, network), identity in needed.items():
        network = getattr(importlib.import_module(module), network)
        device, precision = identity["device"], identity["precision"]
        has = runs.environment(network, device, precision)
        if precision == "bfloat16":  # which it may compute slowly, and otherwise
            has["precision"] = str(fast_precision(torch.device(device))).removeprefix("torch.")
        if wrong := [f"{k} {has[k]} (needed: {identity[k]})" for k in has if has[k] != identity[k]]:
            return f"has {', '.join(wrong)}"
    return ""


def unpacked(packed: bytes) -> tuple[Digits, Digits | None]:
    """In a worker: return the training and validation images."""
    arrays = pickle.loads(gzip.decompress(packed))
    return tuple(part and Digits(*map(torch.from_numpy, part)) for part in arrays)


def _look_around(client: Client, name: str) -> None:
    """Tell which workers are left out, and whether there is none yet.

    Raises:
        ClusterError: there are workers, and every one is left out.
    """
    found = client.run(lambda dask_worker: dask_worker.plugins[name].problem)
    left_out = [f"{worker} {why}" for worker, why in found.items() if why]
    if found and len(left_out) == len(found):
        raise ClusterError(
            f"No worker would train as this machine does: {'; '.join(left_out)}. Start them again "
            "with the same commit of this repository and the same versions."
        )
    for one in left_out:
        tqdm.write(f"Worker {one}. It gets no runs.")
    if not found:
        tqdm.write("Waiting for a worker: there is none yet.")


def _train(
    client: Client, train_one: Callable, jobs: dict[Path, tuple], name: str, futures: set[Future]
) -> Iterator[tuple[Path, dict[str, bytes] | str | KilledWorker]]:
    """Hand out runs, each worker one at a time; ``futures`` holds those that are not yet back."""
    submit = partial(client.submit, train_one, resources={name: 1}, pure=False)
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
