"""How fast is one epoch? This study's training against the usual DataLoader loop.

Both train the same CNN with batch 256 on all 60 000 images, using all threads and taking turns,
and evaluate the test images after the epoch. Then the grid of train.ipynb, one epoch a run: as the
search trains it (one thread a run, as many runs at once as there are cores), and one run after
another with all threads. Last, for each network trained on one thread: where its time goes, and how
near it comes to its arithmetic limit, the time that its multiplications alone would take at the
peak of that thread.

Those profiles suggested changes that were tried and left out, because a change that makes the
code harder to read has to save 15 %: torch.compile (a quarter to a third slower, compilation not
counted), flushing denormal numbers to zero (no gain), keeping rows before images in the memory of
the recurrent networks (no gain), casting recurrent weights to bfloat16 once a step (up to 8 %, for
the GRU), and pooling before batch normalisation (12 % for the CNN, but it is then another network).

    python -m benchmarks.training_speed [--repeats 3] [--images 60000] [--report PAGE]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler's own messages

import torch
from loky import get_reusable_executor
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import MNIST

from network import CNN, DeepCNN
from rnns import GRU, LSTM, RNN, BiLSTM
from study import evaluation, grid_search, mnist, report, run, training

LEARNING_RATES, BATCH_SIZES = (0.1, 0.03, 0.01, 0.003, 0.001), (256, 512)
EPOCH = {"lr": 0.001, "batch_size": 256, "num_epochs": 1, "progress": False}


def usual_epoch(num_images: int) -> float:
    """Seconds of one epoch as in most tutorials: DataLoader, ToTensor, one worker, float32."""
    device = training.default_device()
    sets = [MNIST("data", train=t, transform=transforms.ToTensor()) for t in (True, False)]
    sets[0] = torch.utils.data.Subset(sets[0], range(num_images))
    train_loader = DataLoader(sets[0], batch_size=256, shuffle=True, num_workers=1)
    test_loader = DataLoader(sets[1], batch_size=256, num_workers=1)
    model = CNN().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_function = nn.CrossEntropyLoss()
    start = time.perf_counter()
    model.train()
    for images, labels in train_loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in test_loader:
            correct += (model(images.to(device)).argmax(1).cpu() == labels).sum().item()
    return time.perf_counter() - start


def study_epoch(train: mnist.Digits, test: mnist.Digits) -> float:
    """Seconds of one epoch of ``training.fit``, with the test images in place of validation."""
    return training.fit(CNN(), train, test, **EPOCH)["seconds"].sum()


def matmul_peak(precision: torch.dtype, seconds: float = 2.0) -> float:
    """Highest rate of multiplying two square matrices, in operations a second."""
    size = 2048
    a, b = (torch.randn(size, size, device=training.default_device()).to(precision) for _ in "ab")
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        rates.append(2 * size**3 / (time.perf_counter() - start))
    return max(rates)


def grid_at_once(train: mnist.Digits) -> float:
    """Seconds of a search with one epoch a run, as the notebooks do it."""
    grid = {"lr": LEARNING_RATES, "batch_size": BATCH_SIZES}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        grid_search.search(grid, train, study="speed", runs_dir=folder, network=CNN, num_epochs=1)
        return time.perf_counter() - start


def grid_in_turn(train: mnist.Digits) -> float:
    """Seconds of the same runs one after another, each with all threads."""
    start = time.perf_counter()
    for lr in LEARNING_RATES:
        for batch_size in BATCH_SIZES:
            model = CNN()
            training.fit(model, train, **EPOCH | {"lr": lr, "batch_size": batch_size})
            precision = training.fast_precision(training.default_device())
            evaluation.predict(model, train.images, precision=precision)
    return time.perf_counter() - start


def peak_memory() -> float:
    """Peak memory of a training process, in bytes; call it after ``grid_at_once``."""
    get_reusable_executor().shutdown()  # the memory of a child can be read once it has ended
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)  # itself, on an accelerator
    )
    return peak * (1 if sys.platform == "darwin" else 1024)  # bytes on macOS, KiB on Linux


def logging_share(train: mnist.Digits) -> float:
    """How much longer a training takes with its TensorBoard log, relative to one without."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for log_dir in (folder, None, folder):  # the first imports TensorBoard and does not count
            start = time.perf_counter()
            training.fit(CNN(), train, **EPOCH, log_dir=log_dir)
            seconds[log_dir] = time.perf_counter() - start
    return seconds[folder] / seconds[None] - 1


def operations_per_image(network: type[nn.Module], *, backward: bool = True) -> float:
    """Multiplications and additions of a forward (and a backward) pass, for one image."""
    model, counter = network(), FlopCounterMode(display=False)
    # Without oneDNN a recurrent layer is made of matrix multiplications that can be counted.
    with torch.backends.mkldnn.flags(enabled=False), counter:
        total = model(torch.rand(8, 1, 28, 28)).sum()
        if backward:
            total.backward()
    return counter.get_total_flops() / 8


def where_time_goes(train: mnist.Digits) -> pd.DataFrame:
    """One row a network: seconds for 10 000 images, the share of the arithmetic limit that it
    reaches, and the five operators that take most of the time, each with its share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    peak = matmul_peak(training.fast_precision(training.default_device()))
    rows = []
    for network in (CNN, DeepCNN, RNN, GRU, LSTM, BiLSTM):
        model, settings = network(), EPOCH | {"batch_size": 128}
        training.fit(model, train[:512], **settings)  # warms up
        history = training.fit(model, train, **settings)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            training.fit(model, train, **settings)
        times = {e.key: e.self_cpu_time_total for e in profiled.key_averages()}
        longest = sorted(times, key=times.get, reverse=True)[:5]
        seconds = history["seconds"].sum() / len(train)
        row = {
            "network": network.__name__,
            "s for 10 000 images": f"{10_000 * seconds:.2f}",
            "of the limit": f"{operations_per_image(network) / peak / seconds:.0%}",
            "where the time goes": ", ".join(
                f"{name.removeprefix('aten::')} {times[name] / sum(times.values()):.0%}"
                for name in longest
            ),
        }
        rows.append(row)
    torch.set_num_threads(before)
    return pd.DataFrame(rows)


def measure(train: mnist.Digits, test: mnist.Digits, repeats: int) -> dict[str, str]:
    """One row of the table: the whole machine, all its threads."""
    at_once = grid_at_once(train)
    memory, in_turn = peak_memory(), grid_in_turn(train)
    logging = logging_share(train)
    peak = matmul_peak(training.fast_precision(training.default_device()))
    pairs = [(usual_epoch(len(train)), study_epoch(train, test)) for _ in range(repeats)]
    usual, ours = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    operations = operations_per_image(CNN) * len(train)
    operations += operations_per_image(CNN, backward=False) * len(test)
    return {
        "GFLOP/s": f"{peak / 1e9:.0f}",
        "s an epoch, usual loop": f"{usual:.1f}",
        "s an epoch, this study": f"{ours:.1f}",
        "median ratio": f"{statistics.median(u / s for u, s in pairs):.1f}",
        "of the peak": f"{operations / ours / peak:.0%}",
        "s for 10 runs, at once": f"{at_once:.1f}",
        "s for 10 runs, in turn": f"{in_turn:.1f}",
        "GB a process": f"{memory / 1e9:.2f}",
        "TensorBoard log": f"{logging:+.1%}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each kind")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--report", type=Path, help="Markdown page that gets this machine's rows")
    arguments = parser.parse_args()
    run.keep_freed_memory()
    MNIST("data", download=True)  # the usual loop reads the archives unpacked
    train, test = mnist.load()
    train = train[: arguments.images]
    device = training.default_device()
    precision = training.fast_precision(device)
    print(f"{device}, {precision}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    row = measure(train, test, arguments.repeats)
    print(pd.Series(row).to_string())
    table = where_time_goes(train[: len(train) // 10])
    print("\none thread:")
    print(table.to_string(index=False))
    if arguments.report:
        report.write_row(arguments.report, "training-speed", report.machine() | row)
        for network in table.to_dict("records"):
            key = ("processor", "cores", "network")
            report.write_row(arguments.report, "networks", report.machine() | network, key=key)


if __name__ == "__main__":
    main()
