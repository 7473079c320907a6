"""Counts and answers -> intervals, tests, clusters, calibration."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from study import statistics


def test_wilson_interval_by_its_formula():
    correct, total, z = 9930, 10_000, 1.959963984540054
    p = correct / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    assert statistics.wilson_interval(correct, total) == pytest.approx(
        (centre - half, centre + half)
    )
    assert statistics.wilson_interval(total, total)[1] == 1
    assert all(map(math.isnan, statistics.wilson_interval(0, 0)))


def test_accuracy_is_said_with_its_interval():
    low, high = statistics.wilson_interval(9943, 10_000)
    interval = f"{low:.2%} to {high:.2%}"
    assert interval == statistics.interval_text(low, high) == "99.26% to 99.56%"
    text = "99.43% (95 % interval 99.26% to 99.56%, n = 10000)"
    assert statistics.accuracy_text(9943, 10_000) == text
    columns = {"accuracy": "99.43%", "95 % interval": interval, "errors": 57}
    assert statistics.accuracy_columns(9943, 10_000) == columns


def test_mcnemar():
    a = torch.tensor([True] * 100)
    b = torch.tensor([False] * 8 + [True] * 92)
    assert statistics.mcnemar(a, a) == 1
    assert statistics.mcnemar(a, b) == pytest.approx(2 * 0.5**8)
    assert statistics.mcnemar(a, b) == statistics.mcnemar(b, a)


def test_images_on_their_own_have_a_design_effect_of_one():
    right = {"model": torch.arange(1000) % 10 > 0}
    row = statistics.accuracy_by_clusters(right, range(1000), [0] * 1000).loc["model"]
    assert (row["errors"], row["accuracy"]) == (100, 0.9)
    assert row["design effect"] == pytest.approx(1, abs=0.05)
    assert (row["low"], row["high"]) == pytest.approx(
        statistics.wilson_interval(900, 1000), abs=3e-3
    )


def test_images_that_are_copies_of_each_other_count_once():
    """Ten times 100 images: the variance is that of 100, ten times as large."""
    one = torch.arange(100) % 4 > 0
    clusters = [index for index in range(100) for _ in range(10)]
    right = {"model": one.repeat_interleave(10), "perfect": torch.ones(1000, dtype=torch.bool)}
    table = statistics.accuracy_by_clusters(right, clusters, ["all"] * 1000)
    assert table.loc["model", "design effect"] == pytest.approx(10, rel=0.05)
    assert (table.loc["perfect", "low"], table.loc["perfect", "high"]) == (1, 1)
    assert math.isnan(table.loc["perfect", "design effect"])
    again = statistics.accuracy_by_clusters(right, clusters, ["all"] * 1000)
    other = statistics.accuracy_by_clusters(right, clusters, ["all"] * 1000, seed=1)
    assert table.equals(again) and not table.equals(other)


def test_a_resample_has_as_many_clusters_of_each_stratum_as_the_set():
    """All the difference lies between the strata, so there is nothing that luck could change."""
    strata = torch.arange(200) % 2
    clusters = torch.arange(200) // 20 * 2 + strata
    right = {"model": strata == 0}
    row = statistics.accuracy_by_clusters(right, clusters, strata, num_resamples=100).loc["model"]
    assert (row["accuracy"], row["low"], row["high"], row["design effect"]) == (0.5, 0.5, 0.5, 0)


def test_calibration():
    """Two images at confidence 0.9, one of them right; two at 0.6, both right."""
    probabilities = torch.full((4, 10), 0.0)
    probabilities[:, 0] = torch.tensor([0.9, 0.9, 0.6, 0.6])
    probabilities[:, 1] = 1 - probabilities[:, 0]
    logits = (probabilities + 1e-9).log()
    bins = statistics.calibration(logits, torch.tensor([0, 1, 0, 0]), num_bins=10)
    assert bins["count"].tolist() == [2, 2]
    assert bins["confidence"].tolist() == pytest.approx([0.6, 0.9])
    assert bins["accuracy"].tolist() == [1.0, 0.5]
    assert statistics.expected_calibration_error(bins) == pytest.approx(0.4)


def test_trials_are_compared_on_the_images_of_their_folds():
    sizes = {("a", 0): 4, ("a", 1): 4, ("b", 0): 4, ("b", 1): 4, ("c", 1): 4}
    wrong = {("a", 0): [0, 1, 2], ("a", 1): [5], ("b", 0): [0], ("b", 1): [5], ("c", 1): [5, 6, 7]}
    runs = [(*key, sizes[key], len(images)) for key, images in wrong.items()]
    runs = pd.DataFrame(runs, columns=["trial", "fold", "images", "errors"])
    misclassified = [(*key, image) for key, images in wrong.items() for image in images]
    misclassified = pd.DataFrame(misclassified, columns=["trial", "fold", "image"])
    table = statistics.compare_trials(runs, misclassified, "a")
    assert list(table.index) == ["a", "b", "c"]
    assert table["folds"].tolist() == [2, 2, 1]
    assert table["error"].tolist() == [4 / 8, 2 / 8, 3 / 4]
    assert table["change"].tolist() == [0, -0.5, 2]  # c has three errors in fold 1, a has one
    assert table["p"].tolist() == [1, 0.5, 0.5]  # two images to none, either way
    with pytest.raises(ValueError, match="'c' was not run on every fold of 'a'"):
        statistics.compare_trials(runs, misclassified, "c")


def test_a_label_is_suspected_where_all_networks_give_the_same_other_answer():
    rows = [
        ("a", 5, 1, 7, 0.99),
        ("b", 5, 1, 7, 0.95),  # both say 7
        ("a", 6, 1, 7, 0.99),
        ("b", 6, 1, 2, 0.99),  # another answer
        ("a", 8, 1, 7, 0.99),  # only one of the two misclassifies it
        ("a", 9, 3, 5, 0.90),
        ("b", 9, 3, 5, 0.60),  # not sure enough
        ("a", 2, 4, 9, 1.00),
        ("b", 2, 4, 9, 0.99),
    ]
    misclassified = pd.DataFrame(rows, columns=["trial", "image", "label", "answer", "confidence"])
    suspected = statistics.suspected_labels(misclassified)
    assert suspected["image"].tolist() == [2, 5]
    assert suspected["answer"].tolist() == [9, 7]
    assert suspected["confidence"].tolist() == pytest.approx([0.995, 0.97])
