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
from rnns import GRU, BiLSTM, RowsAndColumns, Transformer
from study import evaluation, statistics, tables, weights

RESULTS = pd.read_csv(ROOT / "results" / "results.csv").set_index("model", drop=False)


def settings_of(notebook: str) -> dict:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    settings = {}
    exec(next(c.source for c in cells if "parameters" in c.metadata.get("tags", [])), settings)
    return settings


SETTINGS = settings_of("results.ipynb")
FILES, CLASSIFIERS = SETTINGS["models"], SETTINGS["classifiers"]
# They take seconds for all test images, so these tests show them every fifth.
SLOW = {"bilstm", "ensemble", "gru", "lstm", "small_25k"}


def printed(notebook: str) -> str:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    return "\n".join(output.get("text", "") for output in outputs)


def test_every_saved_model_has_its_row():
    saved = {path.stem for path in (ROOT / "models").glob("*.pt")}
    assert sorted(FILES) == sorted(saved - {"finder"})  # which classifies nothing
    assert list(RESULTS["model"]) == list(tables.names(CLASSIFIERS + FILES))


@pytest.mark.parametrize("file", FILES)
def test_saved_model_is_as_good_as_published(file, digits):
    path, row = ROOT / "models" / f"{file}.pt", RESULTS.loc[tables.NAMES[file]]
    model, trained = weights.load_model(path), weights.read_model_file(path)["hyperparameters"]
    assert row["images"] == trained["num_images"]
    assert row["parameters"] == evaluation.num_parameters(model)
    assert row["test accuracy"] == pytest.approx(1 - row["mean errors"] / 10_000)
    assert row["test low"] < row["test accuracy"] < row["test high"]
    assert row["mean errors"] == row["errors"] or row["seeds"] > 1
    test = digits[1][::5] if file in SLOW else digits[1]
    logits = evaluation.predict_on_all_cores(model, test.images)
    errors = len(test) - evaluation.num_correct(logits, test.labels)
    if file in SLOW:  # within four standard deviations
        assert abs(errors - row["errors"] / 5) <= 4 * math.sqrt(row["errors"] / 5)
    else:  # but for an image whose two classes are as probable, to the last digits
        assert abs(errors - row["errors"]) <= 1


@pytest.mark.parametrize("file", CLASSIFIERS)
def test_classifier_without_a_network_is_that_of_its_tables(file, digits):
    table = pd.read_csv(ROOT / "results" / f"{file}.csv")
    [found] = table[table["judged_on"] == "test"].to_dict("records")
    chosen = table[table["judged_on"] == "held out"].sort_values("errors", kind="stable").iloc[0]
    assert (found["cost"], found["gamma"]) == (chosen["cost"], chosen["gamma"])
    answers = tables.read_answers(ROOT / "results" / f"{file}_errors.csv", digits[1].labels)
    row = RESULTS.loc[tables.NAMES[file]]
    assert int((answers != digits[1].labels).sum()) == found["errors"] == row["errors"]
    assert (row["parameters"], row["images"]) == (found["parameters"], found["num_images"])


def test_names_of_models():
    assert tables.names(["rnn", "mine"]) == {"RNN": "rnn", "mine": "mine"}
    assert tables.NAMES["mine"] == "mine"
    with pytest.raises(ValueError, match="same name: rnn, RNN"):
        tables.names(["rnn", "RNN"])


def test_family_of_a_network():
    networks = (CNN(), DeepCNN(width=4), Ensemble(2, width=4), GRU(8), BiLSTM(8), nn.Linear(1, 1))
    assert [tables.family(network) for network in networks] == [
        "convolutional", "convolutional", "ensemble", "recurrent", "recurrent", "fully connected"
    ]  # fmt: skip
    assert tables.family(RowsAndColumns(8, channels=(2,))) == "recurrent"
    assert tables.family(Transformer(8)) == "attention"


def test_answers_are_read_from_mistakes(tmp_path):
    (tmp_path / "wrong.csv").write_text("image,label,answer\n1,7,9\n3,2,0\n8,1,1\n")
    labels = torch.tensor([5, 7, 1, 2])
    assert tables.read_answers(tmp_path / "wrong.csv", labels).tolist() == [5, 9, 1, 0]
    assert labels.tolist() == [5, 7, 1, 2]


@pytest.fixture
def rows():
    """Of ten images by two writers, one model's seeds misclassify one and three, another's one."""
    labels = torch.arange(10)
    wrong = [torch.isin(labels, torch.tensor(found)) for found in ([4], [1, 2, 4], [9])]
    first, second, third = (torch.where(where, 0, labels) for where in wrong)
    facts = {
        "small": {"parameters": 1234, "images": None},
        "large": {"parameters": 5e6, "images": 6e4},
    }
    clusters = statistics.Clusters([0, 1] * 5, ["all"] * 10, num_draws=50)
    predictions = {"large": [first, second], "small": [third]}
    return tables.result_rows(predictions, labels, facts, clusters)


def test_rows_of_models(rows):
    large, small = rows.to_dict("records")
    assert large["model"] == "large" and large["seeds"] == 2 and large["errors"] == 1
    assert large["mean errors"] == 2 and large["deviation"] == pytest.approx(math.sqrt(2))
    assert large["test low"] < large["test accuracy"] == 0.8 < large["test high"]
    assert small["seeds"] == small["errors"] == small["mean errors"] == 1
    assert math.isnan(small["deviation"])


def test_published_table_tells_seeds_by_mean_and_deviation(rows):
    large, small = tables.result_table(rows).to_dict("records")
    assert [large[name] for name in ("parameters", "images", "seeds", "errors")] == [
        "5,000,000", "60,000", 2, "2.0 ± 1.4"
    ]  # fmt: skip
    assert [small[name] for name in ("parameters", "images", "seeds", "errors")] == [
        "1,234", "-", 1, "1"
    ]  # fmt: skip
    assert large["95% interval"] == statistics.interval_text(
        *rows.loc[0, ["test low", "test high"]]
    )
    assert len(tables.result_table(pd.concat([rows] * 9))) == tables.NUM_ROWS


@pytest.mark.parametrize(
    "name, notebook",
    [("CNN", "train.ipynb"), ("CNN, with validation", "train_with_validation.ipynb")],
)
def test_notebooks_and_table_agree(name, notebook):
    shown = re.search(r"(\d+) errors on 10,000 images", printed(notebook))
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
    shown = re.search(r"chosen, 5 seeds: ([\d.]+) ± ", printed("train_with_validation.ipynb"))
    assert float(shown[1]) <= 75  # of 10,000


def mean_accuracy(name: str, seeds: int) -> float:
    """What the notebook on augmentation printed of a model, in percent."""
    text = printed("train_with_augmentation.ipynb")
    return float(re.search(rf"^{name}, {seeds} seeds: ([\d.]+)%", text, re.M)[1])


def test_augmented_networks_reach_what_the_study_promises():
    assert mean_accuracy(tables.NAMES["with_augmentation"], 5) >= 99.65
    assert mean_accuracy(tables.NAMES["cnn_with_augmentation"], 3) >= 99.5


@pytest.mark.parametrize(
    ("file", "size", "least"),
    [("small_25k", 25_000, 99.5), ("small_5k", 5_000, 99.3), ("small_1k", 1_000, 98.5)],
)
def test_small_networks_reach_what_the_study_promises(file, size, least):
    model = weights.load_model(ROOT / "models" / f"{file}.pt")
    assert evaluation.num_parameters(model) <= size
    assert mean_accuracy(tables.NAMES[file], 3) >= least


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("deeper CNN", 99.4),
        ("RNN", 98.5),
        ("GRU", 99.1),
        ("LSTM", 99.1),
        ("BiLSTM", 99.1),
        ("transformer", 98.3),
        ("convolutions, then two GRUs", 99.3),
    ],
)
def test_networks_of_one_size_reach_what_the_study_promises(name, least):
    shown = re.search(rf"^{name}, 3 seeds: ([\d.]+)%", printed("sequences.ipynb"), re.M)
    assert float(shown[1]) >= least


def test_readers_of_sequences_take_little_space():
    names = ("rnn", "gru", "lstm", "bilstm")
    files = [f"{name}_augmented" for name in names] + ["attention"]
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
