"""The benchmarks run with few images, print what they promise, and write this machine's row."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import asdict

import pandas as pd
import pytest
import torch

from conftest import ROOT
from study.drawing.scenes import KINDS
from study.tables import machine


def run(tmp_path, name, markers, *arguments):
    """Run a benchmark; return what it printed, and the rows that it wrote by marker."""
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {marker} -->\n<!-- /{marker} -->\n" for marker in markers))
    command = [sys.executable, "-m", f"experiments.{name}", "--report", page, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {}
    for marker, table in re.findall(r"<!-- (\S+) -->\n(.*)\n<!-- /\1 -->", page.read_text(), re.S):
        header, _, *lines = [[c.strip() for c in line.split("|")] for line in table.splitlines()]
        rows[marker] = [dict(zip(header, line, strict=True)) for line in lines]
        for row in rows[marker]:
            assert {name: row[name] for name in machine()} == machine()
    assert list(rows) == markers
    return done.stdout, rows


def test_training_speed(tmp_path):
    markers = ["training-speed", "networks"]
    tiny = ["--repeats", "1", "--images", "2560"]
    printed, rows = run(tmp_path, "training_speed", markers, *tiny)
    [row] = rows["training-speed"]
    for column in ("GFLOP/s", "s an epoch, usual loop", "s an epoch, this study", "GB a process"):
        assert float(row[column]) > 0, column
        assert re.search(rf"{re.escape(column)} +{row[column]}\n", printed)
    assert re.fullmatch(r"\d+%", row["of the peak"])
    networks = {row["network"]: row for row in rows["networks"]}
    assert list(networks) == ["CNN", "DeepCNN", "RNN", "GRU", "LSTM", "BiLSTM"]
    assert re.fullmatch(r"([\w:.#]+ \d+%(, |$)){5}", networks["BiLSTM"]["where the time goes"])


def test_operations_are_those_counted_by_hand():
    """Each multiply-add of the CNN counts as 2 operations, and is done forward, for the gradient
    of the weights, and for that of the input, which the first layer does not need."""
    from experiments.training_speed import operations_per_image
    from network import CNN

    first = 28 * 28 * 16 * 25
    all_layers = first + 14 * 14 * 32 * 16 * 25 + 1568 * 256 + 256 * 10
    assert operations_per_image(CNN, backward=False) == 2 * all_layers
    assert operations_per_image(CNN) == 2 * (3 * all_layers - first)


def test_app_load(tmp_path):
    printed, _ = run(tmp_path, "app_load", ["app-load"], "--seconds", "3")
    assert re.search(r"\d+ predictions a second, 0 failed", printed), printed
    assert re.search(r"median \d+, 95 % \d+, 99 % \d+, most \d+", printed), printed


def test_grid_scaling(tmp_path):
    tiny = ["--nothing", "20", "--runs", "2", "--images", "512", "--epochs", "1"]
    printed, rows = run(tmp_path, "grid_scaling", ["grid-scaling"], *tiny)
    [row] = rows["grid-scaling"]
    for column in ("ms a run", "kB a run", "GB in use", "MB of images", "MB a training"):
        assert float(row[column]) > 0, column
    assert float(row["kB a run"]) < 100  # nothing but what stands for a training's files
    assert float(row["MB a training"]) > 2  # the weights, twice: to the scheduler and from there
    for column in ("overhead", "one worker against none", "efficiency of two"):
        assert re.fullmatch(r"[+-]?[\d.]+%", row[column]), column
    assert re.search(rf"MB a training +{row['MB a training']}\n", printed)


def test_time_to_99(tmp_path):
    figure = tmp_path / "figure.png"
    tiny = ["--seeds", "2", "--images", "2560", "--figure", figure]
    printed, rows = run(tmp_path, "time_to_99", ["time-to-99"], *tiny)
    [row] = rows["time-to-99"]
    assert float(row["s to start and import"]) > 0
    assert re.fullmatch(r"[\d.]+ ± [\d.]+", row["s of training"])
    assert re.fullmatch(r"[\d.]+% ± [\d.]+%", row["test accuracy"])
    assert re.fullmatch(r"\d of 2", row["seeds at 99.0% or more"])
    assert re.search(r"batch of 128 +[\d.]+ +1 +[\d.]+", printed)
    assert figure.exists()


def test_pixel_by_pixel(tmp_path):
    """Every run is trained until its time is over, and none that the table has again."""
    from experiments.pixel_by_pixel import SETTINGS, PixelReader
    from study.evaluation import num_parameters

    table = tmp_path / "pixels.csv"
    command = [sys.executable, "-m", "experiments.pixel_by_pixel", "--report", table]
    command += ["--minutes", "0.01", "--images", "200"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    runs = pd.read_csv(table)
    last = runs.dropna(subset="test_accuracy").set_index(["network", "order"])
    assert set(last.index) == {(n, o) for n in SETTINGS for o in ("plain", "permuted")}
    assert (last["minutes"] >= 0.01).all() and (runs["valid_accuracy"] <= 1).all()
    for name, settings in SETTINGS.items():
        shape = {key: settings[key] for key in ("hidden_size", "num_layers")}
        count = num_parameters(PixelReader(name, order="plain", **shape))
        assert (last.loc[name, "parameters"] == count).all() and count <= 100_000
    runs[runs["network"] == "GRU"].assign(steps=7).to_csv(table, index=False)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    again = pd.read_csv(table)
    assert (again.loc[again["network"] == "GRU", "steps"] == 7).all()
    assert set(again["network"]) == set(SETTINGS)


def test_pixels_are_read_one_by_one_in_their_order():
    from experiments.pixel_by_pixel import ORDERS, PixelReader

    assert sorted(ORDERS["permuted"].tolist()) == ORDERS["plain"].tolist() == list(range(784))
    images = torch.rand(2, 1, 28, 28)
    shuffled = images.flatten(2)[:, :, ORDERS["permuted"]].reshape(2, 1, 28, 28)
    for network in ("GRU", "minGRU"):
        plain = PixelReader(network, 8, 1, "plain").eval()
        permuted = PixelReader(network, 8, 1, "permuted").eval()
        permuted.load_state_dict(plain.state_dict())
        assert torch.allclose(permuted(images), plain(shuffled), atol=1e-6)


def test_run_time(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- run-time -->\n<!-- /run-time -->\n")
    for command in ("make run", "make long", "make run"):
        arguments = [command, "data_exploration=42", "train=78", "--report", page]
        subprocess.run(
            [sys.executable, "-m", "experiments.run_time", *arguments], cwd=ROOT, check=True
        )
    rows = page.read_text().splitlines()[3:-1]
    assert [row.split("|")[1].strip() for row in rows] == ["make run", "make long"]
    assert all("| 2.0 " in row and "data_exploration 42, train 78 |" in row for row in rows)


def test_scenes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("kinds", "numbers"))
    )
    command = [sys.executable, "-m", "experiments.scenes", "--count", "1", "--report", page]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = re.findall(
        r"^\| (\S.*?) +\| +(\d+) \| +(\d+) \| +(\d+) \| +(\d+) \|$", page.read_text(), re.M
    )
    committed = (ROOT / "docs" / "scenes.md").read_text(encoding="utf-8")
    kinds = [kind for kind, *_ in written]
    assert kinds[: len(KINDS)] == list(KINDS) and len(kinds) > len(KINDS)
    assert kinds == re.findall(r"^\| (\S.*?) +\| +\d", committed, re.M)  # the page is of this code
    for kind, *counts in written:
        pictures, *results = map(int, counts)
        assert pictures == sum(results) == 1
        assert re.search(rf"^ *{re.escape(kind)} +{' +'.join(counts)}$", done.stdout, re.M)
    assert sum(int(read) for _, _, read, *_ in written) > len(written) / 2


def test_cross_validation(tmp_path):
    """Every image is read once by each trial, and never by a network that was trained on it."""
    from experiments.cross_validation import NUM_FOLDS, folds

    command = [sys.executable, "-m", "experiments.cross_validation", "first study", "mild"]
    command += ["--runs-dir", tmp_path, "--report", tmp_path, "--images", "300", "--epochs", "1"]
    trained = []
    for _ in range(2):  # the second time, everything is there
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        files = tmp_path.glob("cross_validation/*/model.pt")
        trained.append({file: file.stat().st_mtime_ns for file in files})
    assert trained[0] == trained[1] and len(trained[0]) == 2 * NUM_FOLDS
    runs = pd.read_csv(tmp_path / "cross_validation.csv")
    wrong = pd.read_csv(tmp_path / "cross_validation_errors.csv")
    assert (runs.groupby("trial")["images"].sum() == 300).all()
    assert [json.loads(text)["settings"]["num_epochs"] for text in runs["settings"]] == [1] * 10
    errors = runs.groupby("trial")["errors"].sum()
    assert errors.to_dict() == wrong["trial"].value_counts().to_dict()
    assert re.search(rf"^mild +5 +300 +{errors['mild']} ", done.stdout, re.M)
    digits, all_folds = folds("random", 300)
    assert (digits.labels[wrong["image"]].numpy() == wrong["label"]).all()
    for train, unseen in all_folds:
        assert sorted([*train, *unseen]) == list(range(300))
    assert all(row.image in all_folds[row.fold][1] for row in wrong.itertuples())


def test_cross_validation_with_teachers_or_without_suspected_labels(tmp_path, monkeypatch):
    from experiments import cross_validation
    from experiments.cross_validation import NUM_FOLDS, TRIALS, Job, Trial, folds
    from study import search

    trained, search = [], search.search

    def remembered(grid, part, **keep):
        trained.append(part)
        return search(grid, part, **keep)

    monkeypatch.setattr(grid_search, "search", remembered)
    first = TRIALS["first study"].settings
    monkeypatch.setitem(TRIALS, "taught", Trial(first, teachers=("first study",)))
    digits, all_folds = folds("random", 300)
    how = {"num_images": 300, "epochs": 1, "runs_dir": tmp_path}
    Job("random", "taught", 0, **how).train()
    teacher, pupil = trained
    assert teacher.labels.ndim == 1 and pupil.labels.shape == (len(teacher), 10)
    assert torch.equal(teacher.images, pupil.images)
    suspect = int(all_folds[0][0][0])
    Job("random", "first study", 0, left_out=(suspect,), **how).train()
    kept = [i for i in all_folds[0][0] if i != suspect]
    assert torch.equal(trained[-1].images, digits.images[kept])

    runs = pd.DataFrame({"split": "random", "trial": "first study", "fold": range(NUM_FOLDS)})
    told = {"image": suspect, "label": 3, "answer": 5, "confidence": 0.99}
    runs[:1].assign(**told).to_csv(tmp_path / "cross_validation_errors.csv", index=False)
    runs[1:].to_csv(tmp_path / "cross_validation.csv", index=False)
    with pytest.raises(ValueError, match="run all 5 folds of first study first"):
        cross_validation._suspected(tmp_path, "random", ("first study",))
    runs.to_csv(tmp_path / "cross_validation.csv", index=False)
    assert cross_validation._suspected(tmp_path, "random", ("first study",)) == (suspect,)
    assert cross_validation._suspected(tmp_path, "random", ()) == ()


def test_make_gives_benchmarks_arguments_that_they_understand():
    targets = ["benchmark", "benchmark-pixels", "benchmark-folds", "benchmark-cluster"]
    make = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True)
    lines = make.stdout.replace("\\\n", " ").splitlines()
    commands = [line.partition(" -m ")[2] for line in lines if " -m experiments." in line]
    assert len(commands) > len(targets)
    for command in commands:  # --help comes last, so the arguments before it are read first
        words = [sys.executable, "-m", *shlex.split(command), "--help"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_committed_tables_of_the_cross_validation():
    """The notebook shows trials of the list, and errors on images that were held out."""
    from experiments.cross_validation import KEY, TRIALS, folds

    runs, wrong = (
        pd.read_csv(ROOT / "visualizations" / name)
        for name in ("cross_validation.csv", "cross_validation_errors.csv")
    )
    errors = runs.set_index(KEY)["errors"]
    assert errors.to_dict() == wrong.groupby(KEY).size().to_dict()
    for trial, settings in runs[["trial", "settings"]].itertuples(index=False):
        assert json.loads(settings) == json.loads(json.dumps(asdict(TRIALS[trial])))
    digits, all_folds = folds("random", 60_000)
    assert (digits.labels[wrong["image"]].numpy() == wrong["label"]).all()
    assert (wrong["answer"] != wrong["label"]).all()
    for fold, part in wrong[wrong["split"] == "random"].groupby("fold"):
        assert part["image"].isin(all_folds[fold][1]).all()


def test_first_study_of_the_cross_validation_has_the_distortions_of_its_models():
    from experiments.cross_validation import TRIALS
    from study.weights import read_model_file

    for file in ("cnn_with_augmentation", "with_augmentation"):
        content = read_model_file(ROOT / "models" / f"{file}.pt")
        told = content["hyperparameters"]["augmentation"]
        assert TRIALS["first study"].settings["augmentation"] == told


def test_folds_by_writer_keep_writers_apart(qmnist, tmp_path, monkeypatch):
    from experiments import cross_validation

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "MNIST").symlink_to(ROOT / "data" / "MNIST")
    monkeypatch.setattr(cross_validation, "ROOT", tmp_path)
    _, all_folds = cross_validation.folds.__wrapped__("by writer", 5000)
    assert len(all_folds) == cross_validation.NUM_FOLDS
    for train, unseen in all_folds:
        assert not {i // 100 for i in train} & {i // 100 for i in unseen}
