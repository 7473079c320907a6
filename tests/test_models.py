"""Every saved model, tested again against the numbers that are published with it."""

from __future__ import annotations

import math
import re

import nbformat
import pandas as pd
import pytest
import torch
from torch import nn

from conftest import ROOT
from network import CNN, DeepCNN, Ensemble
from rnns import GRU, BiLSTM, RowsAndColumns
from study import evaluation, statistics, tables, weights

RESULTS = pd.read_csv(ROOT / "results" / "results.csv").set_index("model", drop=False)


def settings_of(notebook: str) -> dict:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    settings = {}
    exec(next(c.source for c in cells if "parameters" in c.metadata.get("tags", [])), settings)
    return settings


FILES = settings_of("results.ipynb")["models"]
# They take seconds for all test images, so these tests show them every fifth.
SLOW = {"bilstm", "ensemble", "best_reader", "gru", "lstm", "small_25k"}


def printed(notebook: str) -> str:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    return "\n".join(output.get("text", "") for output in outputs)


def test_every_saved_model_has_its_row():
    assert sorted(FILES) == sorted(path.stem for path in (ROOT / "models").glob("*.pt"))
    assert list(RESULTS["model"]) == list(tables.names(FILES))


@pytest.mark.parametrize("file", FILES)
def test_saved_model_is_as_good_as_published(file, digits):
    path, row = ROOT / "models" / f"{file}.pt", RESULTS.loc[tables.NAMES[file]]
    model, history = weights.load_model(path), weights.read_model_file(path)["history"]
    assert row["epochs"] == len(history)
    assert row["training seconds"] == max(1, round(history["seconds"].sum()))
    assert row["parameters"] == evaluation.num_parameters(model)
    assert row["test accuracy"] == pytest.approx(1 - row["errors"] / 10_000)
    interval = statistics.wilson_interval(10_000 - int(row["errors"]), 10_000)
    assert (row["test low"], row["test high"]) == pytest.approx(interval)
    test = digits[1][::5] if file in SLOW else digits[1]
    logits = evaluation.predict_on_all_cores(model, test.images)
    errors = len(test) - evaluation.num_correct(logits, test.labels)
    if file in SLOW:  # within four standard deviations
        assert abs(errors - row["errors"] / 5) <= 4 * math.sqrt(row["errors"] / 5)
    else:  # but for an image whose two classes are as probable, to the last digits
        assert abs(errors - row["errors"]) <= 1
    if logits.shape[1] > 10:
        assert row["refused"] == pytest.approx(evaluation.num_refused(logits) / 10_000, abs=1.5e-4)
    else:
        assert pd.isna(row["refused"])


def test_names_of_models():
    assert tables.names(["rnn", "mine"]) == {"RNN": "rnn", "mine": "mine"}
    assert tables.NAMES["mine"] == "mine"
    with pytest.raises(ValueError, match="same name: rnn, RNN"):
        tables.names(["rnn", "RNN"])


def test_family_of_a_network():
    networks = (CNN(), DeepCNN(width=4), Ensemble(2, width=4), GRU(8), BiLSTM(8), nn.Linear(1, 1))
    assert [tables.family(network) for network in networks] == [
        "convolutional", "convolutional", "ensemble", "recurrent", "recurrent", "other"
    ]  # fmt: skip
    assert tables.family(RowsAndColumns(8, channels=(2,))) == "recurrent"


def test_row_of_a_model():
    """Of four answers one is wrong; of two training images, both are read."""
    logits = torch.eye(10)[[0, 1, 2, 3]]
    row = tables.result_row(
        nn.Linear(2, 3),
        pd.DataFrame({"epoch": [1, 2], "seconds": [0.1, 0.1]}),
        train=(logits[:2], torch.tensor([0, 1])),
        test=(logits, torch.tensor([0, 1, 2, 9])),
        valid=None,
    )
    assert row.pop("test low") < row["test accuracy"] < row.pop("test high")
    assert row == {
        "parameters": 9,
        "epochs": 2,
        "training seconds": 1,
        "train accuracy": 1.0,
        "validation accuracy": None,
        "test accuracy": 0.75,
        "errors": 1,
        "refused": None,
    }


def test_row_of_a_model_that_knows_no_digit():
    """The third image is refused, and yet read; the fourth is refused and misread."""
    logits = torch.eye(11)[[0, 1, 10, 10]] + 0.5 * torch.eye(11)[[5, 5, 2, 3]]
    answers = logits, torch.tensor([0, 1, 2, 9])
    history = pd.DataFrame({"seconds": [5.0]})
    row = tables.result_row(nn.Linear(2, 3), history, train=answers, test=answers, valid=answers)
    assert row["errors"] == 1
    assert row["refused"] == 0.5
    assert row["train accuracy"] == row["validation accuracy"] == 0.75


@pytest.mark.parametrize(
    "name, notebook",
    [("CNN", "train.ipynb"), ("CNN, with validation", "train_with_validation.ipynb")],
)
def test_notebooks_and_table_agree(name, notebook):
    shown = re.search(r"(\d+) errors in 10000 images", printed(notebook))
    assert int(shown[1]) == RESULTS.loc[name, "errors"]


@pytest.mark.parametrize(
    "name, least",
    [
        ("CNN", 0.993),
        ("CNN, with validation", 0.992),
        ("CNN, augmented", 0.995),
        ("deeper CNN, augmented", 0.996),
        ("ensemble of five", 0.997),
        ("RNN", 0.975),
        ("GRU", 0.990),
        ("LSTM", 0.990),
        ("BiLSTM", 0.991),
    ],
)
def test_models_are_as_good_as_the_study_promises(name, least):
    assert RESULTS.loc[name, "test accuracy"] >= least


def test_five_seeds_reach_what_the_study_promises():
    shown = re.search(
        r"chosen settings, 5 seeds: ([\d.]+)%", printed("train_with_validation.ipynb")
    )
    assert float(shown[1]) >= 99.25


def test_augmented_networks_reach_what_the_study_promises():
    text = printed("train_with_augmentation.ipynb")
    assert float(re.search(r"one network, 5 seeds: ([\d.]+)%", text)[1]) >= 99.65
    small = re.search(r"small network: ([\d,]+) parameters, validation accuracy ([\d.]+)%", text)
    assert int(small[1].replace(",", "")) <= 25_000
    assert float(small[2]) >= 99.40
    assert float(re.search(r"longest training of one network: ([\d.]+) minutes", text)[1]) <= 15


@pytest.mark.parametrize(
    ("file", "size", "least"),
    [("small_25k", 25_000, 99.5), ("small_5k", 5_000, 99.3), ("small_1k", 1_000, 98.5)],
)
def test_small_networks_reach_what_the_study_promises(file, size, least):
    model = weights.load_model(ROOT / "models" / f"{file}.pt")
    assert evaluation.num_parameters(model) <= size
    shown = re.search(
        rf"^at most {size:,}: ([\d.]+)%", printed("train_with_augmentation.ipynb"), re.M
    )
    assert float(shown[1]) >= least


def test_small_networks_are_trained_in_minutes():
    shown = re.search(
        r"longest training of a small network: ([\d.]+) minutes",
        printed("train_with_augmentation.ipynb"),
    )
    assert float(shown[1]) <= 8


@pytest.mark.parametrize(
    ("name", "least"),
    [("RNN", 99.0), ("GRU", 99.45), ("LSTM", 99.4), ("BiLSTM", 99.4), ("best reader", 99.55)],
)
def test_readers_of_sequences_reach_what_the_study_promises(name, least):
    shown = re.search(rf"^{name}, 3 seeds: ([\d.]+)%", printed("sequences.ipynb"), re.M)
    assert float(shown[1]) >= least


def test_readers_of_sequences_take_little_space():
    names = ("rnn", "gru", "lstm", "bilstm")
    files = [f"{name}_augmented" for name in names] + ["best_reader"]
    assert sum((ROOT / "models" / f"{file}.pt").stat().st_size for file in files) <= 4_000_000


def test_augmented_models_take_little_space():
    names = ("cnn_with_augmentation", "with_augmentation", "ensemble")
    names += ("small_25k", "small_5k", "small_1k")
    assert sum((ROOT / "models" / f"{name}.pt").stat().st_size for name in names) < 15_000_000


def test_ensemble_holds_the_saved_network():
    """The first of its members is the network saved by itself, seed 0."""
    ensemble = weights.load_model(ROOT / "models" / "ensemble.pt")
    single = weights.load_model(ROOT / "models" / "with_augmentation.pt")
    pairs = zip(
        ensemble.members[0].state_dict().values(), single.state_dict().values(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)
