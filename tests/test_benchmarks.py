"""The benchmarks run and print what they promise, with few images."""

from __future__ import annotations

import re
import subprocess
import sys

from conftest import ROOT


def test_training_speed():
    command = [sys.executable, ROOT / "benchmarks" / "training_speed.py"]
    run = subprocess.run(
        [*command, "--repeats", "1", "--images", "2560"], capture_output=True, text=True, check=True
    )
    for pattern in (
        r"median ratio: [\d.]+",
        r"peak memory of a training process: [\d.]+ GB",
        r"\d+% of the matrix-multiply peak",
        r"BiLSTM +[\d.]+ +\d+% +\w+ \d+%, ",
        r"s at once, \d+ s in turn",
        r"\d+ images/s",
    ):
        assert re.search(pattern, run.stdout), pattern


def test_app_load():
    command = [sys.executable, ROOT / "benchmarks" / "app_load.py", "--seconds", "3"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"\d+ predictions a second, 0 failed", run.stdout), run.stdout
    assert re.search(r"median \d+, 95 % \d+, 99 % \d+, most \d+", run.stdout), run.stdout


def test_grid_scaling():
    command = [sys.executable, ROOT / "benchmarks" / "grid_scaling.py"]
    tiny = ["--nothing", "20", "--runs", "2", "--images", "512", "--epochs", "1"]
    run = subprocess.run([*command, *tiny], capture_output=True, text=True, check=True)
    for pattern in (
        r"[\d.]+ ms a run, [\d.]+ KB moved",
        r"peak memory of the driver: [\d.]+ GB",
        r"seconds to resume when all are done: [\d.]+",
        r"data, once .*: [\d.]+ MB",
        r"overhead of the cluster: -?[\d.]+%",
        r"efficiency from one worker to two: \d+%",
    ):
        assert re.search(pattern, run.stdout), pattern


def test_time_to_99(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "time_to_99.py"]
    tiny = ["--seeds", "2", "--images", "2560", "--figure", tmp_path / "figure.png"]
    run = subprocess.run([*command, *tiny], capture_output=True, text=True, check=True)
    for pattern in (
        r"before the training: imports [\d.]+ s, images [\d.]+ s",
        r"training: [\d.]+ \+- [\d.]+ s",
        r"test accuracy, 2 seeds: [\d.]+% \+- [\d.]+%",
        r"\d of 2 reached 99.0%",
        r"batch of 128 +[\d.]+ +1 +[\d.]+",
    ):
        assert re.search(pattern, run.stdout), pattern
    assert (tmp_path / "figure.png").exists()
