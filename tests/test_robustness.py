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
from study.drawing import non_digits, strokes
from study.reading import prepare

TABLES = ROOT / "results"
PLAN = pd.read_csv(TABLES / "ablation.csv", index_col="row", dtype={"seeds": str})


def measured(name: str) -> pd.DataFrame:
    """A table of the notebook: a row for each network, columns with shares (0 to 1) of sets."""
    return pd.read_csv(TABLES / f"{name}.csv", index_col="model")


@pytest.fixture(scope="module")
def sets(digits) -> dict[str, Digits]:
    """Some of the notebook's sets."""
    _, test = digits
    pictures = datasets.load_digits()
    images = [prepare((255 * image / 16).astype(np.uint8)).image for image in pictures.images]
    people = Digits(torch.from_numpy(np.stack(images)), torch.tensor(pictures.target))
    damaged = corruptions.damaged(test.images.numpy(), corruptions.CORRUPTIONS["stripe"])
    return {"load_digits": people, "stripe": Digits(torch.from_numpy(damaged), test.labels)}


@pytest.mark.parametrize("file", ["robust", "robust_small"])
def test_saved_network_holds_as_published(file, sets):
    model = weights.load_model(ROOT / "models" / f"{file}.pt")
    errors = measured("ablation_test").loc[f"{tables.NAMES[file]}, seed 0"]
    assert errors["weights"] == weights.version(model)
    for name, digits in sets.items():
        logits = evaluation.predict_on_all_cores(model, digits.images)
        error = 1 - evaluation.num_correct(logits, digits.labels) / len(digits)
        assert error == pytest.approx(errors[name])


def test_finished_networks_agree_with_the_table_of_results():
    errors = measured("robustness")["no damage"]
    results = pd.read_csv(TABLES / "results.csv", index_col="model")["errors"] / 10_000
    plain = [name for name in errors.index if not name.endswith(", top-hat")]
    assert {f"{name}, top-hat" for name in plain} | set(plain) == set(errors.index)
    np.testing.assert_allclose(errors[plain], results[plain])


def test_every_row_of_the_plan_was_trained_and_measured():
    on_test, behind = measured("ablation_test"), measured("ablation_filter")
    for row, told in PLAN.iterrows():
        at_test_time = told["top-hat"] == "at test time"
        table, end = (behind, ", filtered") if at_test_time else (on_test, "")
        seeds = [f"{'mild' if at_test_time else row}, seed {s}{end}" for s in told["seeds"].split()]
        errors = table.loc[seeds]
        groups = corruptions.by_group(errors).mean()
        np.testing.assert_allclose(told[groups.index].astype(float), groups, rtol=1e-4)
        np.testing.assert_allclose(told["no damage"], errors["no damage"].mean(), rtol=1e-4)


def test_every_set_is_in_the_tables():
    columns = {"no damage", *corruptions.CORRUPTIONS}
    assert columns <= set(measured("robustness"))
    columns |= {"load_digits", "held-out digits", *strokes.STYLES, "printed digits"}
    columns |= {f"{kind}: rejected" for kind in non_digits.KINDS}
    for name in ("ablation_test", "ablation_filter"):
        assert measured(name)[list(columns)].notna().all(axis=None)


def test_networks_are_compared_at_one_point():
    """Each rejects the share of held-out digits that the notebook fixed."""
    for name in ("ablation_test", "ablation_filter", "ablation_choice"):
        table = measured(name)
        shares = table["held-out digits: rejected"]
        np.testing.assert_allclose(shares, table["digits_rejected"], atol=1e-4)
