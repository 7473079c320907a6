"""Train the runs of a search on a Dask cluster (docs/cluster.md).

Dask moves code and results, and notices when a worker is lost. This module decides which workers
may train, and what each of them gets. One that does not answer, is refused or is lost never holds
up the others.
"""

import gzip
import logging
import math
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import torch
from distributed import Client, Future, as_completed, get_client
from tqdm import tqdm

from study.data import Digits
from study.runs import Run, RunError, train_run

RUNS_A_WORKER = 2  # one in training, and one that can begin while the first result is moved
MAX_LOSSES = 4  # give up when so many workers were lost in the training of one run
PATIENCE = 30  # tell the user when the search has had no worker for so many seconds
DATA_KEY = "mnist-study-data"  # the scheduler keeps the images under this name and their hash
logger = logging.getLogger("distributed.study")  # appears in the log of a worker


class ClusterError(RuntimeError):
    """A cluster cannot go on with a search; the message says why, and what to do."""


def train_all(
    client: Client,
    jobs: dict[Path, tuple[Run, dict]],
    train: Digits,
    valid: Digits | None,
    tensorboard: bool,
) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """Train on the workers of a cluster; yield the folder and the files of each run as it ends.

    Args:
        jobs: a run and its identity (``Run.identity``), by folder.

    Raises:
        ClusterError: the connection to the scheduler was lost, all workers are refused, or
            several were lost while they trained the same run.
        run.RunError: a training failed.
    """
    search = _Search(client, jobs, tensorboard)
    try:
        search.take_census()
        _publish(client, search.identity["data"], train, valid)
        while search.waiting or any(folder for _, folder in search.given.values()):
            search.take_census()
            search.hand_out()
            ended = search.ended.next_batch(block=False)
            for task, result in ended:
                yield from search.receive(task, result)
            time.sleep(0 if ended else 0.01)
    except OSError as error:
        raise ClusterError(
            f"The connection to the scheduler at {client.scheduler.address} was lost. Finished "
            "runs are kept: connect again and search again to go on. Start the cluster again only "
            "if the scheduler has ended."
        ) from error
    finally:
        search.take_back(list(search.given))


class _Search:
    """The state of one search: runs that wait, tasks that workers hold, workers that may train."""

    def __init__(self, client: Client, jobs: dict[Path, tuple[Run, dict]], tensorboard: bool):
        self.client, self.jobs, self.tensorboard = client, jobs, tensorboard
        self.identity = next(iter(jobs.values()))[1]
        self.function = _function_for_workers()
        self.waiting = deque(jobs)
        # Task -> its worker and its run (None if it only checks the worker), oldest first.
        self.given: dict[Future, tuple[str, Path | None]] = {}
        self.ended = as_completed(loop=client.loop, with_results=True, raise_errors=False)
        # Worker -> why it is refused, "" if it is accepted, None until it answers.
        self.problems: dict[str, str | None] = {}
        self.ever_accepted = False
        self.losses: Counter[Path] = Counter()
        self.next_census, self.patient_until = 0.0, time.monotonic() + PATIENCE

    def take_census(self) -> None:
        """Once a second, check the workers that are new and forget those that are gone."""
        if self.client.status != "running" or any(task.cancelled() for task in self.given):
            raise ConnectionError
        if time.monotonic() < self.next_census:
            return
        self.next_census = time.monotonic() + 1
        workers = self.client.nthreads().keys()
        for address in self.problems.keys() - workers:
            del self.problems[address]
            self.take_back(self.held_by(address), lost=True)
        for address in workers - self.problems.keys():
            self.problems[address] = None
            self.submit(address, None)
        states = [f"{a} {why or 'has not answered'}" for a, why in self.problems.items()]
        if "" in self.problems.values():
            self.patient_until = time.monotonic() + PATIENCE
        elif states and all(self.problems.values()) and not self.ever_accepted:
            raise ClusterError(
                f"No worker would train as this machine does: {'; '.join(states)}. Start them "
                "again with the same commit of this repository and the same versions."
            )
        elif time.monotonic() > self.patient_until:
            self.patient_until = math.inf  # say it once
            tqdm.write(f"Waiting for a worker. There is: {'; '.join(states) or 'none'}.")

    def held_by(self, address: str) -> list[Future]:
        return [task for task, (worker, _) in self.given.items() if worker == address]

    def hand_out(self) -> None:
        """Give every accepted worker its next runs: only a few, because results take memory."""
        held = {a: self.held_by(a) for a, why in self.problems.items() if why == ""}
        if not self.waiting:  # an idle worker gets a run that another has not begun
            queues = [q for q in held.values() if len(q) > 1 and q[0].status == "pending"]
            self.take_back([q[-1] for q in queues][: list(held.values()).count([])])
        for address, tasks in held.items():
            for _ in range(min(RUNS_A_WORKER - len(tasks), len(self.waiting))):
                self.submit(address, self.waiting.popleft())

    def submit(self, address: str, folder: Path | None) -> None:
        run, identity = self.jobs.get(folder, (None, self.identity))
        job = pickle.dumps((run, identity, self.tensorboard)) if run else None
        task = self.client.submit(self.function, identity, job, workers=[address], pure=False)
        self.given[task] = address, folder
        self.ended.add(task)

    def receive(self, task: Future, result) -> Iterator[tuple[Path, dict[str, bytes]]]:
        """Take in the result of a task; yield the files of its run, if it trained one."""
        if task not in self.given or task.cancelled():
            return  # taken back, or lost with the connection
        address, folder = self.given[task]
        if task.status == "error" and folder:
            raise RunError(f"{folder.name} failed on {address}: {result[1]}") from result[1]
        problem, files = (f"fails: {result[1]!r}", None) if task.status == "error" else result
        if problem:
            self.take_back([task])
            if not self.problems[address]:
                tqdm.write(f"Worker {address} {problem}. It gets no runs.")
            self.problems[address] = problem
            return
        del self.given[task]
        self.problems[address] = self.problems[address] or ""  # once refused, refused for good
        self.ever_accepted = True
        self.hand_out()
        if files:
            yield folder, files

    def take_back(self, tasks: list[Future], lost: bool = False) -> None:
        """Cancel tasks, and let their runs wait again; what is in training is discarded."""
        folders = [folder for _, folder in map(self.given.pop, tasks) if folder]
        self.waiting.extendleft(reversed(folders))
        if tasks and self.client.status == "running":
            self.client.cancel(tasks)
        self.losses.update(folders[:1] if lost else [])  # the next one had not begun
        if folders and self.losses[folders[0]] == MAX_LOSSES:
            raise ClusterError(
                f"{MAX_LOSSES} workers were lost while they trained {folders[0].name}: it may need "
                "more memory or time than they have. Finished runs are kept."
            )


def _function_for_workers() -> Callable:
    """Return what a worker does: check itself, then train the run that it was given, if any.

    The function is local, so Dask sends its code, and a worker without this study can run it too.
    It returns the reason to refuse the worker, or "", and the files of the run.
    """

    def check_and_train(identity: dict, job: bytes | None) -> tuple[str, dict | None]:
        from distributed import get_worker

        try:

            has = run.environment(identity["network"])
        except Exception as error:  # whatever another version does
            needed = f"needed: code {identity['code']}, torch {identity['torch']}"
            return f"cannot import this version of the study ({error!r}; {needed})", None
        has |= {"--nthreads": get_worker().state.nthreads}
        needed = identity | {"--nthreads": 1}
        wrong = [f"{k} {has[k]} (needed: {needed.get(k)})" for k in has if has[k] != needed.get(k)]
        if wrong or job is None:
            return "has " + ", ".join(wrong) if wrong else "", None
        from study import cluster

        return "", cluster.train_here(job)

    return check_and_train


def train_here(job: bytes) -> dict[str, bytes]:
    """In a worker: train the run that ``train_all`` sent; return its files."""
    run, identity, tensorboard = pickle.loads(job)
    return train_run(run, identity, *_data(identity["data"]), tensorboard)


def _publish(client: Client, data_hash: str, train: Digits, valid: Digits | None) -> None:
    """Leave the images with the scheduler, which outlives every worker, unless it has them."""
    if client.get_metadata([DATA_KEY, data_hash, "size"], None) is None:
        # As arrays: a tensor that is a part of another would be pickled with all of it.
        arrays = [p and (p.images.numpy(), p.labels.numpy()) for p in (train, valid)]
        packed = gzip.compress(pickle.dumps(arrays), compresslevel=1)
        client.set_metadata([DATA_KEY, data_hash], {"size": len(packed), "packed": packed})


@lru_cache(maxsize=4)
def _data(data_hash: str) -> tuple[Digits, Digits | None]:
    """In a worker: the training and validation images, fetched once."""
    packed = _connected().get_metadata([DATA_KEY, data_hash, "packed"])
    logger.info("images %s: %.1f MB from the scheduler", data_hash, len(packed) / 1e6)
    arrays = pickle.loads(gzip.decompress(packed))
    return tuple(part and Digits(*map(torch.from_numpy, part)) for part in arrays)


def _connected() -> Client:
    """In a worker: a client, asked for once more where the first connection failed.

    Now and then the scheduler's greeting arrives together with other news, and distributed gives
    up (https://github.com/dask/distributed/issues/980).
    """
    try:
        return get_client()
    except AssertionError:
        return get_client()
