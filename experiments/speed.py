"""How fast is training: an epoch, each network, and the way to 99%?

1. An epoch of the CNN with batch 256, as most tutorials train it (DataLoader, float32) and as this
   study does, on all threads and in turns; the test images are evaluated after the epoch.
2. Where the time of each network goes on one thread, and how near it comes to the time that its
   multiplications alone would take at the peak of that thread.
3. The shortest training that classifies 99.0% of the test images correctly. A small CNN sees each
   training image once, on a schedule fixed in advance; only then are the test images evaluated. All
   settings were chosen on validation images. The clock runs from the uint8 images in memory to the
   last step.
4. What each trick contributes to that: the usual loop is sped up one trick at a time.

    python -m experiments.speed [--repeats 3] [--seeds 20] [--images 60000] [--figure PNG]
"""

import argparse
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler's own messages

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ConstantLR, OneCycleLR
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import MNIST

from experiments.machine import markdown
from network import CNN, DeepCNN, Normalize
from rnns import GRU, LSTM, RNN, BiLSTM
from study import data, evaluation, plots, training
from study.device import default_device, fast_precision
from study.machine import machine
from study.runs import keep_freed_memory

CPU = torch.device("cpu")
EPOCH = {"lr": 0.001, "num_epochs": 1, "progress": False}


def loaded(digits: data.Digits, batch_size: int, train: bool = True):
    """Yield batches as in most tutorials: DataLoader, ToTensor, one worker."""
    images = MNIST("data", train=train, transform=transforms.ToTensor())
    subset = Subset(images, range(len(digits)))
    return DataLoader(subset, batch_size=batch_size, shuffle=train, num_workers=1)


def in_memory(digits: data.Digits, batch_size: int):
    """Yield batches cut from one tensor, in a new random order."""
    for indices in torch.randperm(len(digits)).split(batch_size):
        yield data.to_float(digits.images[indices]), digits.labels[indices]


def late_pooling_cnn() -> CNN:
    """Make the study's CNN with ReLU before pooling, as most tutorials write it."""
    model = CNN()
    for block in (model.features[1], model.features[2]):
        block[2], block[3] = block[3], block[2]
    return model


def small_network() -> nn.Sequential:
    """Make two convolutions and two linear layers, small enough for a CPU: 108,154 parameters."""
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


# One trick per row, each on top of those before, with the number of epochs after which the mean
# accuracy on validation images was 99.0% or more, and what it changes in ``train``.
TRICKS = {
    "the usual loop": (3, {}),
    "images in memory": (3, {"batches": in_memory, "fused": True}),
    "channels last": (3, {"layout": torch.channels_last}),
    "pooling before ReLU": (3, {"network": CNN}),
    "bfloat16": (3, {"precision": fast_precision(CPU)}),
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


def matmul_peak() -> float:
    """Return the highest rate of multiplying two square matrices, in operations per second."""
    device, size = default_device(), 2048
    a = torch.randn(size, size, device=device).to(fast_precision(device))
    timer = Timer("a @ a", globals={"a": a}, num_threads=torch.get_num_threads())
    return 2 * size**3 / min(timer.blocked_autorange(min_run_time=2).times)


def operations_per_image(network: type[nn.Module], *, backward: bool = True) -> float:
    """Count multiplications and additions of a forward (and a backward) pass, for one image."""
    model, counter = network(), FlopCounterMode(display=False)
    # Without oneDNN a recurrent layer is made of matrix multiplications that can be counted.
    with torch.backends.mkldnn.flags(enabled=False), counter:
        total = model(torch.rand(8, 1, 28, 28)).sum()
        if backward:
            total.backward()
    return counter.get_total_flops() / 8


def _usual_epoch(digits: data.Digits, test: data.Digits) -> float:
    device = default_device()
    model, seconds = train(digits, 0, network=CNN, batch_size=256, device=device)
    start = time.perf_counter()
    correct = 0
    with torch.no_grad():
        for images, labels in loaded(test, 256, train=False):
            correct += (model(images.to(device)).argmax(1).cpu() == labels).sum().item()
    return seconds + time.perf_counter() - start


def an_epoch(digits: data.Digits, test: data.Digits, repeats: int) -> dict[str, str]:
    """Measure an epoch of either kind on all threads; return the row of the first table."""
    peak, settings = matmul_peak(), EPOCH | {"batch_size": 256}
    pairs = [
        (_usual_epoch(digits, test), training.fit(CNN(), digits, test, **settings)["seconds"].sum())
        for _ in range(repeats)
    ]
    pairs = pd.DataFrame(pairs, columns=["usual", "ours"])
    operations = operations_per_image(CNN) * len(digits)
    operations += operations_per_image(CNN, backward=False) * len(test)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit  # the peak
    return {
        "GFLOP/s": f"{peak / 1e9:.0f}",
        "s an epoch, usual loop": f"{pairs['usual'].median():.1f}",
        "s an epoch, this study": f"{pairs['ours'].median():.1f}",
        "median ratio": f"{(pairs['usual'] / pairs['ours']).median():.1f}",
        "of the peak": f"{operations / pairs['ours'].median() / peak:.0%}",
        "GB a process": f"{memory / 1e9:.2f}",
    }


def where_time_goes(network: type[nn.Module], digits: data.Digits, peak: float) -> dict[str, str]:
    """Profile a network on one thread; return its row of the second table.

    It has the network's speed, the share that it reaches of ``peak`` (operations per second), and
    the five operators that take most of the time.
    """
    model, settings = network(), EPOCH | {"batch_size": 128}
    training.fit(model, digits[:512], **settings)  # warms up
    seconds = training.fit(model, digits, **settings)["seconds"].sum() / len(digits)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        training.fit(model, digits, **settings)
    times = pd.Series({e.key: e.self_cpu_time_total for e in profiled.key_averages()})
    longest = (times / times.sum()).nlargest(5).rename(lambda name: name.removeprefix("aten::"))
    return {
        "network": network.__name__,
        "s for 10,000 images": f"{10_000 * seconds:.2f}",
        "of the limit": f"{operations_per_image(network) / peak / seconds:.0%}",
        "where the time goes": ", ".join(f"{name} {share:.0%}" for name, share in longest.items()),
    }


def to_99(digits: data.Digits, test: data.Digits, num_seeds: int) -> dict[str, str]:
    """Train with all tricks and each seed; return the row of the third table."""
    train(digits[:12_800], seed=0, **FASTEST)  # the first steps of a process are slower
    runs = [train(digits, seed, **FASTEST) for seed in range(num_seeds)]
    seconds = pd.Series([seconds for _, seconds in runs])
    accuracy = pd.Series([evaluation.evaluate(model, test)[1] for model, _ in runs])
    return {
        "s of training": f"{seconds.mean():.2f} ± {seconds.std():.2f}",
        "test accuracy": f"{accuracy.mean():.3%} ± {accuracy.std():.3%}",
        "seeds at 99.0% or more": f"{(accuracy >= 0.99).sum()} of {num_seeds}",
    }


def ladder(digits: data.Digits) -> pd.DataFrame:
    """Measure the seconds to 99% as tricks are added: one epoch of each row is timed."""
    rows, settings = [], {}
    for trick, (epochs, changes) in TRICKS.items():
        settings |= changes
        _, seconds = train(digits, seed=0, **settings)
        rows.append((trick, seconds, epochs, seconds * epochs))
    return pd.DataFrame(rows, columns=["trick", "seconds an epoch", "epochs", "seconds"])


def save_figure(steps: pd.DataFrame, path: Path) -> None:
    """Draw the ladder as a waterfall, with machine and day in its title."""
    first, last = steps["seconds"].iloc[[0, -1]]
    where = "{processor}, {cores} cores, {day}".format(**machine())
    plt.style.use("study.plots.paper")
    title = f"From {first:.0f} s to {last:.1f} s until 99%\n{where}"
    figure = plots.waterfall(steps.set_index("trick")["seconds"], title)
    plots.save(figure, path.stem, path.parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each kind")
    parser.add_argument("--seeds", type=int, default=20, help="runs of the fast recipe")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--figure", type=Path, help="where the waterfall figure goes, as a PNG")
    arguments = parser.parse_args()
    keep_freed_memory()
    MNIST("data", download=True)  # the usual loop reads the archives unpacked
    print(f"{default_device()}, {torch.get_num_threads()} threads, {torch.__version__=}\n")
    digits, test = data.load()
    digits = digits[: arguments.images]
    print(markdown([an_epoch(digits, test, arguments.repeats)]))
    print(markdown([to_99(digits, test, arguments.seeds)]))
    steps = ladder(digits)
    print(steps.round(2).to_string(index=False), "\n")
    if arguments.figure:
        save_figure(steps, arguments.figure)
    torch.set_num_threads(1)
    part, peak = digits[: len(digits) // 10], matmul_peak()
    print("One thread.", end=" ")
    print(
        markdown([where_time_goes(n, part, peak) for n in (CNN, DeepCNN, RNN, GRU, LSTM, BiLSTM)])
    )


if __name__ == "__main__":
    main()
