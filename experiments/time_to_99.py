"""How many seconds of training until 99.0 % of the test images are read right, on this processor?

A small CNN starts from random weights and sees each training image once, on a schedule fixed in
advance; only then are the test images read. All settings were chosen on validation images. The
clock runs from the uint8 images in memory to the last step. Then the usual loop is sped up one
trick at a time; each row states after how many epochs it read 99.0 % of the validation images.

    python -m experiments.time_to_99 [--seeds 20] [--images 60000] [--figure PNG] [--report PAGE]
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ConstantLR, OneCycleLR
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from network import CNN, Normalize
from study import data, evaluation, plots, tables, training

CPU = torch.device("cpu")


def small_network() -> nn.Sequential:
    """Two convolutions and two linear layers, small enough for a CPU: 108 154 parameters."""
    return nn.Sequential(
        Normalize(),
        *_block(nn.Conv2d(1, 16, 5, bias=False)),  # (N, 16, 12, 12)
        *_block(nn.Conv2d(16, 32, 3, bias=False)),  # (N, 32, 5, 5)
        nn.Flatten(),  # (N, 800)
        nn.Linear(800, 128, bias=False),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def _block(convolution: nn.Conv2d) -> list[nn.Module]:
    # Pooling first: batch normalisation and ReLU have only a quarter of the values to process.
    return [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def late_pooling_cnn() -> CNN:
    """The study's CNN with ReLU before pooling, as most tutorials write it."""
    model = CNN()
    for block in (model.features[1], model.features[2]):
        block[2], block[3] = block[3], block[2]
    return model


def loaded(digits: data.Digits, batch_size: int, train: bool = True):
    """Batches as in most tutorials: DataLoader, ToTensor, one worker."""
    images = MNIST("data", train=train, transform=transforms.ToTensor())
    subset = Subset(images, range(len(digits)))
    return DataLoader(subset, batch_size=batch_size, shuffle=train, num_workers=1)


def in_memory(digits: data.Digits, batch_size: int):
    """Batches cut from one tensor, in a new random order."""
    for indices in torch.randperm(len(digits)).split(batch_size):
        yield data.to_float(digits.images[indices]), digits.labels[indices]


# One trick a row, each on top of those before, with the number of epochs after which the mean
# accuracy on validation images was 99.0 % or more, and what it changes in ``train``.
TRICKS = {
    "the usual loop": (3, {}),
    "images in memory": (3, {"batches": in_memory, "fused": True}),
    "channels last": (3, {"layout": torch.channels_last}),
    "pooling before ReLU": (3, {"network": CNN}),
    "bfloat16": (3, {"precision": training.fast_precision(CPU)}),
    "one cycle up to 0.01": (1, {"one_cycle": True, "lr": 0.01}),
    "small network": (1, {"network": small_network}),
    "batch of 128": (1, {"batch_size": 128}),
}
FASTEST = {name: value for _, changes in TRICKS.values() for name, value in changes.items()}


def train(
    digits: data.Digits,
    seed: int,
    *,
    network: Callable[[], nn.Module] = late_pooling_cnn,
    batches: Callable = loaded,
    batch_size: int = 64,
    lr: float = 0.001,
    one_cycle: bool = False,
    fused: bool | None = None,
    layout: torch.memory_format = torch.contiguous_format,
    precision: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> tuple[nn.Module, float]:
    """Return a network trained for one epoch, and the seconds it took."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    model = network().to(device, memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=fused)
    schedule = {"total_steps": math.ceil(len(digits) / batch_size), "pct_start": 0.2}
    if one_cycle:
        scheduler = OneCycleLR(optimizer, lr, anneal_strategy="linear", **schedule)
    else:
        scheduler = ConstantLR(optimizer, factor=1)
    for images, labels in batches(digits, batch_size):
        with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return model.eval(), time.perf_counter() - start


def ladder(digits: data.Digits) -> pd.DataFrame:
    """Seconds to the target as tricks are added: one epoch of each row is timed."""
    rows, settings = [], {}
    for trick, (epochs, changes) in TRICKS.items():
        settings |= changes
        _, seconds = train(digits, seed=0, **settings)
        rows.append((trick, seconds, epochs, seconds * epochs))
    return pd.DataFrame(rows, columns=["trick", "seconds an epoch", "epochs", "seconds"])


def measure(digits: data.Digits, test: data.Digits, num_seeds: int) -> dict[str, str]:
    """Train with all tricks and each seed; return one row of the table."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {__spec__.name}"], check=True)
    imports = time.perf_counter() - start
    train(digits[:12_800], seed=0, **FASTEST)  # the first steps of a process are slower
    runs = [train(digits, seed, **FASTEST) for seed in range(num_seeds)]
    seconds = pd.Series([seconds for _, seconds in runs])
    accuracy = pd.Series([evaluation.evaluate(model, test)[1] for model, _ in runs])
    return {
        "s to start and import": f"{imports:.1f}",
        "s of training": f"{seconds.mean():.2f} ± {seconds.std():.2f}",
        "test accuracy": f"{accuracy.mean():.3%} ± {accuracy.std():.3%}",
        "seeds at 99.0% or more": f"{(accuracy >= 0.99).sum()} of {num_seeds}",
    }


def load(num_images: int) -> tuple[data.Digits, data.Digits]:
    """Prepare this process; return the first training images and all test images."""
    run.keep_freed_memory()
    MNIST("data", download=True)  # the usual loop reads the archives unpacked
    print(f"{training.default_device()}, {torch.get_num_threads()} threads, {torch.__version__=}")
    digits, test = data.load()
    return digits[:num_images], test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="trainings of the fast recipe")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--figure", type=Path, help="where the waterfall figure goes, as a PNG")
    parser.add_argument("--report", help="Markdown page that gets this machine's row")
    arguments = parser.parse_args()
    digits, test = load(arguments.images)
    row, machine = measure(digits, test, arguments.seeds), tables.machine()
    print(pd.Series(row).to_string())
    steps = ladder(digits)
    print(steps.round(2).to_string(index=False))
    if arguments.figure:
        first, last = steps["seconds"].iloc[[0, -1]]
        where = "{processor}, {cores} cores, {day}".format(**machine)
        title = f"From {first:.0f} s to {last:.1f} s until 99 %\n{where}"
        plt.style.use("study.plots.paper")
        figure = plots.waterfall(steps.set_index("trick")["seconds"], title)
        plots.save(figure, arguments.figure.stem, arguments.figure.parent)
    if arguments.report:
        tables.write_row(arguments.report, "time-to-99", machine | row)


if __name__ == "__main__":
    main()
