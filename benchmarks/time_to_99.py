"""How many seconds of training until 99.0 % of the test images are read right, on this processor?

A small CNN starts from random weights and sees each of the 60 000 training images once, on a
schedule fixed in advance; only then are the test images read. Network, batch size, learning rate
and schedule were chosen on validation images. The clock starts with the uint8 images in memory,
after the imports, and stops after the last step. Then the usual loop is sped up one trick at a
time; each row states after how many epochs it read 99.0 % of the validation images right.

    python -m benchmarks.time_to_99 [--seeds 20] [--images 60000] [--figure PNG] [--report PAGE]

benchmarks/README.md has the results. For comparison, on a GPU (GTX 1660 Ti),
https://github.com/tuomaso/train_mnist_fast reports 0.76 s and a mean accuracy of
99.041 +- 0.066 % over 30 seeds.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from network import CNN, Normalize
from study import mnist, plots, report, run, training
from study.evaluation import evaluate

TARGET = 0.99


class FastCNN(nn.Module):
    """Two convolutions and two linear layers, small enough for a CPU: 108 154 parameters.

    Pooling follows each convolution directly, so that batch normalisation and ReLU have only a
    quarter of the values to process.
    """

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            Normalize(),
            *self.block(nn.Conv2d(1, 16, 5, bias=False)),  # (N, 16, 12, 12)
            *self.block(nn.Conv2d(16, 32, 3, bias=False)),  # (N, 32, 5, 5)
            nn.Flatten(),  # (N, 800)
            nn.Linear(800, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    @staticmethod
    def block(convolution: nn.Conv2d) -> list[nn.Module]:
        return [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 10) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.layers(images)


class LatePoolingCNN(CNN):
    """The study's CNN with ReLU before pooling, as most tutorials write it."""

    def __init__(self):
        super().__init__()
        for block in (self.features[1], self.features[2]):
            block[2], block[3] = block[3], block[2]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained in one row of the table."""

    network: type[nn.Module] = LatePoolingCNN
    batch_size: int = 64
    lr: float = 0.001
    schedule: str = "constant"
    num_epochs: int = 0  # until the mean accuracy on validation images was 99.0 % or more
    in_memory: bool = False
    layout: torch.memory_format = torch.contiguous_format
    precision: torch.dtype = torch.float32


# One trick a row, each on top of those before; the last row is the fast one.
TRICKS = {
    "the usual loop": {"num_epochs": 3},
    "images in memory": {"in_memory": True},
    "channels last": {"layout": torch.channels_last},
    "pooling before ReLU": {"network": CNN},
    "bfloat16": {"precision": training.fast_precision(torch.device("cpu"))},
    "one cycle up to 0.01": {"schedule": "one_cycle", "lr": 0.01, "num_epochs": 1},
    "small network": {"network": FastCNN},
    "batch of 128": {"batch_size": 128},
}


def recipes() -> dict[str, Recipe]:
    """The rows of the table, in order."""
    rows, recipe = {}, Recipe()
    for name, changes in TRICKS.items():
        rows[name] = recipe = replace(recipe, **changes)
    return rows


def train(recipe: Recipe, digits: mnist.Digits, seed: int) -> tuple[nn.Module, float]:
    """Return a network trained on ``digits`` by a recipe, and the seconds it took."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    model = recipe.network().to(memory_format=recipe.layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=recipe.in_memory)
    steps = recipe.num_epochs * math.ceil(len(digits) / recipe.batch_size)
    schedule = {"total_steps": steps, "pct_start": 0.2, "anneal_strategy": "linear"}
    if recipe.schedule == "one_cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, **schedule)
    else:
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    batches = in_memory if recipe.in_memory else loaded
    for _ in range(recipe.num_epochs):
        for images, labels in batches(digits, recipe.batch_size):
            low = recipe.precision != torch.float32
            with torch.autocast("cpu", dtype=recipe.precision, enabled=low):
                loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return model.eval(), time.perf_counter() - start


def in_memory(digits: mnist.Digits, batch_size: int):
    """Batches cut from one tensor, in a new random order."""
    for indices in torch.randperm(len(digits)).split(batch_size):
        yield mnist.to_float(digits.images[indices]), digits.labels[indices]


def loaded(digits: mnist.Digits, batch_size: int):
    """Batches as in most tutorials: DataLoader, ToTensor, one worker."""
    images = MNIST("data", transform=transforms.ToTensor())
    subset = Subset(images, range(len(digits)))
    return DataLoader(subset, batch_size=batch_size, shuffle=True, num_workers=1)


def ladder(digits: mnist.Digits) -> pd.DataFrame:
    """Seconds to the target as tricks are added: one epoch of each row is timed."""
    rows = []
    for name, recipe in recipes().items():
        _, seconds = train(replace(recipe, num_epochs=1), digits, seed=0)
        rows.append((name, seconds, recipe.num_epochs, seconds * recipe.num_epochs))
    return pd.DataFrame(rows, columns=["trick", "seconds an epoch", "epochs", "seconds"])


def measure(digits: mnist.Digits, test: mnist.Digits, num_seeds: int) -> dict[str, str]:
    """Train the last recipe with each seed; return one row of the table."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {__spec__.name}"], check=True)
    imports = time.perf_counter() - start
    recipe = list(recipes().values())[-1]
    train(recipe, digits[:12_800], seed=0)  # the first steps of a process are slower
    runs = []
    for seed in range(num_seeds):
        model, seconds = train(recipe, digits, seed)
        runs.append({"seconds": seconds, "accuracy": evaluate(model, test)[1]})
    runs = pd.DataFrame(runs)
    seconds, accuracy = runs["seconds"], runs["accuracy"]
    return {
        "s to start and import": f"{imports:.1f}",
        "s of training": f"{seconds.mean():.2f} ± {seconds.std():.2f}",
        "test accuracy": f"{accuracy.mean():.3%} ± {accuracy.std():.3%}",
        f"seeds at {TARGET:.1%} or more": f"{(accuracy >= TARGET).sum()} of {num_seeds}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="trainings of the fast recipe")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--figure", type=Path, help="where the waterfall figure goes, as a PNG")
    parser.add_argument("--report", type=Path, help="Markdown page that gets this machine's row")
    arguments = parser.parse_args()
    run.keep_freed_memory()
    MNIST("data", download=True)  # the usual loop reads the archives unpacked
    digits, test = mnist.load()
    digits = digits[: arguments.images]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    row, machine = measure(digits, test, arguments.seeds), report.machine()
    print(pd.Series(row).to_string())
    steps = ladder(digits)
    print(steps.round(2).to_string(index=False))
    if arguments.figure:
        first, last = steps["seconds"].iloc[[0, -1]]
        title = f"From {first:.0f} s to {last:.1f} s until 99 %"
        title += "\n{processor}, {cores} cores, {day}".format(**machine)
        plt.style.use("study.plots.paper")
        figure = plots.waterfall(steps.set_index("trick")["seconds"], title)
        plots.save(figure, arguments.figure.stem, arguments.figure.parent)
    if arguments.report:
        report.write_row(arguments.report, "time-to-99", machine | row)


if __name__ == "__main__":
    main()
