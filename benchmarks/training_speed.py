"""How fast is one epoch? This study's training against the usual DataLoader loop.

Both train the same CNN, batch 256, on all 60 000 images with all threads, alternating, and
evaluate the test images after the epoch. Then the grid of train.ipynb in short: as the search
trains it (one thread a run, as many runs at once as there are cores) against one run after
another with all threads. At the end, for each kind of network, where the time of a training of
one thread goes, beside the arithmetic limit: the time that its multiplications would take at the
peak of that thread.

Tried on those profiles, and left out because a change that makes the code harder to read has to
earn 15 %: torch.compile (a quarter to a third slower, compilation not counted), denormal numbers
flushed to zero (nothing), rows before images in the memory of the recurrent networks (nothing),
recurrent weights cast to bfloat16 once a step (up to 8 %, for the GRU), and pooling before batch
normalisation (12 % for the CNN, which would be another network).

    python benchmarks/training_speed.py [--repeats 3] [--images 60000]
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

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own messages

import torch
from joblib.externals.loky import get_reusable_executor
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import MNIST

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from network import CNN, DeepCNN  # noqa: E402
from rnns import GRU, LSTM, RNN, BiLSTM  # noqa: E402
from study import (
    evaluation,
    grid_search,
    mnist,
    training,
)

# Forward and backward pass of the CNN for one image: each multiply-add counts as 2 operations,
# and is done once forward, once for the gradient of the weights, and, but for the first layer,
# once for that of the layer's input.
MULTIPLY_ADDS = {
    "convolution 1": 28 * 28 * 16 * 25,
    "convolution 2": 14 * 14 * 32 * 16 * 25,
    "linear 1": 1568 * 256,
    "linear 2": 256 * 10,
}
OPERATIONS = 2 * (3 * sum(MULTIPLY_ADDS.values()) - MULTIPLY_ADDS["convolution 1"])


def usual_epoch(num_images: int) -> float:
    """Seconds of one epoch as in most tutorials: DataLoader, ToTensor, one worker, float32."""
    device = training.default_device()
    sets = [MNIST(ROOT / "data", train=t, transform=transforms.ToTensor()) for t in (True, False)]
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
    """Seconds of one epoch of ``training.fit``, the test images taking the validation's place."""
    history = training.fit(
        CNN(), train, test, lr=0.001, batch_size=256, num_epochs=1, progress=False
    )
    return history["seconds"].sum()


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


def grid_at_once(train: mnist.Digits, learning_rates: list[float]) -> float:
    """Seconds of a search of one epoch a run, as the notebooks do it."""
    grid = {"lr": learning_rates, "batch_size": [256, 512]}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        grid_search.search(grid, train, study="speed", runs_dir=folder, network=CNN, num_epochs=1)
        return time.perf_counter() - start


def grid_in_turn(train: mnist.Digits, learning_rates: list[float]) -> float:
    """Seconds of the same runs one after another, each with all threads."""
    start = time.perf_counter()
    for lr in learning_rates:
        for batch_size in (256, 512):
            model = CNN()
            training.fit(model, train, lr=lr, batch_size=batch_size, num_epochs=1, progress=False)
            precision = training.fast_precision(training.default_device())
            evaluation.predict(model, train.images, precision=precision)
    return time.perf_counter() - start


def logging_share(train: mnist.Digits) -> float:
    """What the TensorBoard log adds to the time of a training, as a part of it."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for log_dir in (folder, None, folder):  # the first opens the library, and does not count
            start = time.perf_counter()
            training.fit(
                CNN(),
                train,
                lr=0.001,
                batch_size=256,
                num_epochs=1,
                log_dir=log_dir,
                progress=False,
            )
            seconds[log_dir] = time.perf_counter() - start
    return seconds[folder] / seconds[None] - 1


def operations_per_image(network: type[nn.Module]) -> float:
    """Multiplications and additions of a forward and backward pass, for one image."""
    model, counter = network(), FlopCounterMode(display=False)
    # Without oneDNN a recurrent layer is made of matrix multiplications that can be counted.
    with torch.backends.mkldnn.flags(enabled=False), counter:
        model(torch.rand(8, 1, 28, 28)).sum().backward()
    return counter.get_total_flops() / 8


def where_time_goes(train: mnist.Digits, batch_size: int = 128) -> pd.DataFrame:
    """One row for each network: seconds for 10 000 images, the share of the arithmetic limit, and
    the five operators that take most of the time, with their shares of it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    peak = matmul_peak(training.fast_precision(training.default_device()))
    rows = []
    for network in (CNN, DeepCNN, RNN, GRU, LSTM, BiLSTM):
        model, settings = network(), {"lr": 0.001, "batch_size": batch_size, "num_epochs": 1}
        training.fit(model, train[: 4 * batch_size], **settings, progress=False)  # warms up
        history = training.fit(model, train, **settings, progress=False)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            training.fit(model, train, **settings, progress=False)
        times = {e.key: e.self_cpu_time_total for e in profiled.key_averages()}
        longest = sorted(times, key=times.get, reverse=True)[:5]
        seconds = history["seconds"].sum() / len(train)
        rows.append(
            {
                "network": network.__name__,
                "s for 10 000": 10_000 * seconds,
                "of the limit": f"{operations_per_image(network) / peak / seconds:.0%}",
                "where the time goes": ", ".join(
                    f"{name.removeprefix('aten::')} {times[name] / sum(times.values()):.0%}"
                    for name in longest
                ),
            }
        )
    torch.set_num_threads(before)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each kind")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    arguments = parser.parse_args()
    train, test = mnist.load(ROOT / "data")
    train = train[: arguments.images]
    device = training.default_device()
    precision = training.fast_precision(device)
    print(f"{device}, {precision}, {torch.get_num_threads()} threads, torch {torch.__version__}")

    learning_rates = [0.1, 0.03, 0.01, 0.003, 0.001]
    at_once = grid_at_once(train, learning_rates)
    get_reusable_executor().shutdown()  # so that the workers' memory can be read
    memory = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)  # itself, on an accelerator
    )
    memory *= 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    in_turn = grid_in_turn(train, learning_rates)
    print(
        f"grid of {2 * len(learning_rates)} runs, one epoch each: {at_once:.0f} s at once, "
        f"{in_turn:.0f} s in turn with all threads; ratio {in_turn / at_once:.2f}"
    )
    print(f"peak memory of a training process: {memory / 1e9:.2f} GB")

    print(f"TensorBoard log: {logging_share(train):+.1%} of an epoch")

    peak = matmul_peak(precision)
    seconds = {"usual loop": [], "this study": []}
    for _ in range(arguments.repeats):
        seconds["usual loop"].append(usual_epoch(len(train)))
        seconds["this study"].append(study_epoch(train, test))
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"{name}: {', '.join(f'{s:.1f}' for s in values)} s an epoch; "
            f"{len(train) / median:.0f} images/s"
        )
    operations = OPERATIONS * len(train) + 2 * sum(MULTIPLY_ADDS.values()) * len(test)
    share = operations / statistics.median(seconds["this study"]) / peak
    print(f"this study reaches {share:.0%} of the matrix-multiply peak ({peak / 1e9:.0f} GFLOP/s)")
    ratios = [u / s for u, s in zip(*seconds.values(), strict=True)]
    print(f"median ratio: {statistics.median(ratios):.1f}")

    table = where_time_goes(train[: len(train) // 10])
    print("\none thread:")
    print(table.to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
