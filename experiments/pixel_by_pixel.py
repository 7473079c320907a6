"""The classical test of memory: an image as a sequence of 784 pixels, a pixel a step.

A GRU and a minimal GRU of at most 100 000 parameters read the pixels row by row ("plain") or in a
fixed random order ("permuted", Le et al. 2015, https://arxiv.org/abs/1504.00941). Each is trained
once, by one thread, for a fixed amount of processor time; two are trained at once. Learning rates
and batch sizes were set beforehand, since there was no time to search. The test images are read
once, after the last step. Runs already in the table are not repeated.

    python -m experiments.pixel_by_pixel [--minutes 28] [--report results/pixel_by_pixel.csv]
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from network import Normalize
from rnns import MinimalGRU
from study import data, evaluation
from study.device import fast_precision
from study.files import write_whole
from study.machine import machine
from study.runs import keep_freed_memory

ROOT = Path(__file__).parent.parent
STEPS = 28 * 28
ORDERS = {
    "plain": torch.arange(STEPS),
    "permuted": torch.randperm(STEPS, generator=torch.Generator().manual_seed(0)),
}
# On one thread, smaller batches are no slower for the minimal GRU: they fit into the cache.
SETTINGS = {
    "GRU": {"hidden_size": 128, "num_layers": 1, "batch_size": 64, "lr": 0.002},
    "minGRU": {"hidden_size": 96, "num_layers": 3, "batch_size": 32, "lr": 0.004},
}
HELD_OUT = 0.05  # of the training images: enough to follow a run, and soon read


class PixelReader(nn.Module):
    """Reads pixels one by one in an order and classifies from the last state.

    Input and output are those of ``network.CNN``. Gates start with memories of about 2 to 784 steps
    (Tallec and Ollivier 2018, https://arxiv.org/abs/1804.11188).
    """

    def __init__(self, network: str, hidden_size: int, num_layers: int, order: str):
        super().__init__()
        self.normalize, self.order = Normalize(), ORDERS[order]
        if network == "GRU":
            self.recurrent = nn.GRU(1, hidden_size, num_layers, batch_first=True)
            for layer in range(num_layers):
                _remember_long(self.recurrent, layer)
        else:
            self.recurrent = MinimalGRU(1, hidden_size, num_layers, dropout=0.0, longest=STEPS)
        self.norm = nn.LayerNorm(hidden_size)
        self.classifier = nn.Linear(hidden_size, data.NUM_DIGITS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 10) for float images (N, 1, 28, 28) in [0, 1]."""
        pixels = self.normalize(images).flatten(1)[:, self.order]
        states, _ = self.recurrent(pixels.unsqueeze(2))  # (N, 784, hidden_size)
        return self.classifier(self.norm(states[:, -1]))


def _remember_long(gru: nn.GRU, layer: int) -> None:
    """Start a layer with orthogonal recurrent weights and with memories of all lengths."""
    for gate in getattr(gru, f"weight_hh_l{layer}").data.split(gru.hidden_size):
        nn.init.orthogonal_(gate)
    for name in ("bias_ih", "bias_hh"):
        nn.init.zeros_(getattr(gru, f"{name}_l{layer}"))
    _, update, _ = getattr(gru, f"bias_ih_l{layer}").data.split(gru.hidden_size)
    update.uniform_(1, STEPS - 1).log_()


class Training:
    """A network that learns until its seconds are over, at a rate that follows the time."""

    def __init__(self, model: nn.Module, batch_size: int, lr: float, seconds: float):
        self.model, self.batch_size, self.lr, self.limit = model, batch_size, lr, seconds
        self.optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
        self.precision = fast_precision(torch.device("cpu"))
        self.start, self.steps = time.process_time(), 0

    @property
    def seconds(self) -> float:
        """How long it has been learning: processor time, which other programs do not shorten."""
        return time.process_time() - self.start

    def step(self, batch: data.Digits) -> float:
        """Learn from a batch; return its loss (nats)."""
        done = min(1.0, self.seconds / self.limit)
        for group in self.optimizer.param_groups:  # up within a twentieth of the time, then down
            group["lr"] = self.lr * min(20 * done, (1 - done) / 0.95) + 1e-6
        low = self.precision != torch.float32
        with torch.autocast("cpu", dtype=self.precision, enabled=low):
            loss = F.cross_entropy(self.model(data.to_float(batch.images)), batch.labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    def epoch(self, digits: data.Digits) -> float:
        """Learn from every image once, or until the time is over; return the mean loss (nats)."""
        losses = []
        self.model.train()
        for indices in torch.randperm(len(digits)).split(self.batch_size):
            losses.append(self.step(digits[indices]))
            if self.seconds >= self.limit:
                break
        return sum(losses) / len(losses)


def train(network: str, order: str, minutes: float, num_images: int) -> pd.DataFrame:
    """Train one network; return a row for each epoch, the last with the test accuracy."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    digits, test = data.load(ROOT / "data")
    digits, valid = data.split(digits[:num_images], HELD_OUT, 0)
    batch_size, lr = (SETTINGS[network][name] for name in ("batch_size", "lr"))
    shape = {name: SETTINGS[network][name] for name in ("hidden_size", "num_layers")}
    model = PixelReader(network, order=order, **shape)
    about = {"network": network, "order": order, **SETTINGS[network]}
    about["parameters"] = evaluation.num_parameters(model)
    learning, rows = Training(model, batch_size, lr, 60 * minutes), []
    while learning.seconds < learning.limit:
        row = about | {"epoch": len(rows) + 1, "train_loss": learning.epoch(digits)}
        row["valid_accuracy"] = evaluation.evaluate(model, valid)[1]
        rows.append(row | {"steps": learning.steps, "minutes": learning.seconds / 60})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    rows[-1]["test_accuracy"] = evaluation.evaluate(model, test[:num_images])[1]
    return pd.DataFrame(rows).assign(**machine())


def is_done(runs: pd.DataFrame, network: str, minutes: float) -> bool:
    """Whether these rows are of a whole run with today's settings, trained for as long."""
    last = runs.iloc[-1]
    same = all(last[name] == value for name, value in SETTINGS[network].items())
    return same and last["minutes"] >= minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=28, help="of processor time, for each run")
    parser.add_argument("--images", type=int, default=60_000, help="use only the first N images")
    parser.add_argument(
        "--report", type=Path, help="CSV file for the runs; those already in it are skipped"
    )
    arguments = parser.parse_args()
    tables = {}
    if arguments.report is not None and arguments.report.exists():
        for pair, runs in pd.read_csv(arguments.report).groupby(["network", "order"]):
            if is_done(runs, pair[0], arguments.minutes):
                tables[pair] = runs
    waiting = [pair for pair in product(SETTINGS, ORDERS) if pair not in tables]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        limits = arguments.minutes, arguments.images
        futures = {pool.submit(train, *pair, *limits): pair for pair in waiting}
        try:
            for future in as_completed(futures):
                tables[futures[future]] = future.result()
                if arguments.report:
                    table = pd.concat(tables.values()).to_csv(index=False)
                    write_whole(arguments.report, table.encode())
        finally:  # interrupted: nobody will collect the results of those that wait
            pool.shutdown(cancel_futures=True)
    last = pd.concat(tables.values()).dropna(subset="test_accuracy")
    print(last[["network", "order", "epoch", "minutes", "test_accuracy"]].to_string(index=False))


if __name__ == "__main__":
    main()
