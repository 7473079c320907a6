"""How fast is one epoch? This study's training against the usual DataLoader loop.

Both train the same CNN with batch 256, using all threads and taking turns, and evaluate the test
images after the epoch. Then, for each network on one thread: where its time goes, and how near it
comes to the time that its multiplications alone would take at the peak of that thread.

    python -m experiments.training_speed [--repeats 3] [--images 60000] [--report PAGE]
"""

import argparse
import os
import resource
import sys
import time

import pandas as pd

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler's own messages

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from experiments import time_to_99
from network import CNN, DeepCNN
from rnns import GRU, LSTM, RNN, BiLSTM
from study import data, tables, training

EPOCH = {"lr": 0.001, "batch_size": 256, "num_epochs": 1, "progress": False}


def usual_epoch(train: data.Digits, test: data.Digits) -> float:
    """Seconds of one epoch as in most tutorials: DataLoader, ToTensor, one worker, float32."""
    device = training.default_device()
    model, seconds = time_to_99.train(train, 0, network=CNN, batch_size=256, device=device)
    start = time.perf_counter()
    correct = 0
    with torch.no_grad():
        for images, labels in time_to_99.loaded(test, 256, train=False):
            correct += (model(images.to(device)).argmax(1).cpu() == labels).sum().item()
    return seconds + time.perf_counter() - start


def matmul_peak() -> float:
    """Highest rate of multiplying two square matrices, in operations a second."""
    device, size = training.default_device(), 2048
    a = torch.randn(size, size, device=device).to(training.fast_precision(device))
    timer = Timer("a @ a", globals={"a": a}, num_threads=torch.get_num_threads())
    return 2 * size**3 / min(timer.blocked_autorange(min_run_time=2).times)


def peak_memory() -> float:
    """Peak memory of this process so far, in GB: call it once it has trained."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def operations_per_image(network: type[nn.Module], *, backward: bool = True) -> float:
    """Multiplications and additions of a forward (and a backward) pass, for one image."""
    model, counter = network(), FlopCounterMode(display=False)
    # Without oneDNN a recurrent layer is made of matrix multiplications that can be counted.
    with torch.backends.mkldnn.flags(enabled=False), counter:
        total = model(torch.rand(8, 1, 28, 28)).sum()
        if backward:
            total.backward()
    return counter.get_total_flops() / 8


def measure(train: data.Digits, test: data.Digits, repeats: int) -> dict[str, str]:
    """One row of the first table: the whole machine, all its threads."""
    peak = matmul_peak()
    pairs = pd.DataFrame(
        [
            (usual_epoch(train, test), training.fit(CNN(), train, test, **EPOCH)["seconds"].sum())
            for _ in range(repeats)
        ]
    )
    usual, ours = pairs.median()
    operations = operations_per_image(CNN) * len(train)
    operations += operations_per_image(CNN, backward=False) * len(test)
    return {
        "GFLOP/s": f"{peak / 1e9:.0f}",
        "s an epoch, usual loop": f"{usual:.1f}",
        "s an epoch, this study": f"{ours:.1f}",
        "median ratio": f"{(pairs[0] / pairs[1]).median():.1f}",
        "of the peak": f"{operations / ours / peak:.0%}",
        "GB a process": f"{peak_memory():.2f}",
    }


def where_time_goes(network: type[nn.Module], train: data.Digits, peak: float) -> dict[str, str]:
    """One row of the second table: the speed of a network, the share that it reaches of ``peak``
    (operations a second), and the five operators that take most of the time."""
    model, settings = network(), EPOCH | {"batch_size": 128}
    training.fit(model, train[:512], **settings)  # warms up
    seconds = training.fit(model, train, **settings)["seconds"].sum() / len(train)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        training.fit(model, train, **settings)
    times = pd.Series({e.key: e.self_cpu_time_total for e in profiled.key_averages()})
    longest = (times / times.sum()).nlargest(5).rename(lambda name: name.removeprefix("aten::"))
    return {
        "network": network.__name__,
        "s for 10 000 images": f"{10_000 * seconds:.2f}",
        "of the limit": f"{operations_per_image(network) / peak / seconds:.0%}",
        "where the time goes": ", ".join(f"{name} {share:.0%}" for name, share in longest.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each kind")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--report", help="Markdown page that gets this machine's rows")
    arguments = parser.parse_args()
    train, test = time_to_99.load(arguments.images)
    row = measure(train, test, arguments.repeats)
    print(pd.Series(row).to_string())
    torch.set_num_threads(1)
    part, peak = train[: len(train) // 10], matmul_peak()
    networks = [where_time_goes(n, part, peak) for n in (CNN, DeepCNN, RNN, GRU, LSTM, BiLSTM)]
    print("\none thread:", pd.DataFrame(networks).to_string(index=False), sep="\n")
    if arguments.report:
        tables.write_row(arguments.report, "training-speed", tables.machine() | row)
        key = ("processor", "cores", "network")
        for row in networks:
            tables.write_row(arguments.report, "networks", tables.machine() | row, key=key)


if __name__ == "__main__":
    main()
