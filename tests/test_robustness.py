"""What robustness.ipynb found, tested again with the saved models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets

from conftest import ROOT
from study import corruptions, evaluation, tables, weights
from study.data import Digits
from study.reading import prepare

TABLES = ROOT / "results"


@pytest.fixture(scope="module")
def errors() -> pd.DataFrame:
    """The notebook's errors (0 to 1): a row for each set of digits, a column for each network."""
    return pd.read_csv(TABLES / "robustness.csv", index_col=0)


@pytest.fixture(scope="module")
def sets(digits) -> dict[str, Digits]:
    """Some of the notebook's sets."""
    _, test = digits
    pictures = datasets.load_digits()
    images = [prepare((255 * image / 16).astype(np.uint8)).image for image in pictures.images]
    writers = Digits(torch.from_numpy(np.stack(images)), torch.tensor(pictures.target))
    damaged = {
        kind: Digits(
            torch.from_numpy(
                corruptions.damaged(test.images.numpy(), corruptions.CORRUPTIONS[kind])
            ),
            test.labels,
        )
        for kind in ("rotate", "stripe")
    }
    return {"digits of other writers": writers} | damaged


@pytest.mark.parametrize("file", ["robust", "robust_small"])
def test_saved_network_holds_as_published(file, sets, errors):
    model = weights.load_model(ROOT / "models" / f"{file}.pt")
    for name, digits in sets.items():
        logits = evaluation.predict_on_all_cores(model, digits.images)
        error = 1 - evaluation.num_correct(logits, digits.labels) / len(digits)
        assert error == pytest.approx(errors.loc[name, tables.NAMES[file]])


def test_agrees_with_the_table_of_results(errors):
    results = pd.read_csv(TABLES / "results.csv").set_index("model")
    both = errors.columns.intersection(results.index)
    missing = set(results.index) - set(both)
    # No image of these is damaged.
    assert missing == {"support vector machine", "MLP, augmented", "transformer"}
    np.testing.assert_allclose(errors.loc["no damage", both], results["errors"][both] / 10_000)


def test_every_kind_of_damage_is_in_it(errors):
    kinds = ["no damage", *corruptions.CORRUPTIONS, "digits of other writers"]
    assert list(errors.index) == kinds
    assert errors.notna().all(axis=None)
