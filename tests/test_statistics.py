"""Counts and answers -> intervals, tests, clusters, calibration."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
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
    assert statistics.interval_text(low, high) == "99.26% to 99.56%"
    text = "99.43% (95% interval 99.26% to 99.56%, n = 10,000)"
    assert statistics.accuracy_text(9943, 10_000) == text


def test_mcnemar():
    a = torch.tensor([True] * 100)
    b = torch.tensor([False] * 8 + [True] * 92)
    assert statistics.mcnemar(a, a) == 1
    assert statistics.mcnemar(a, b) == pytest.approx(2 * 0.5**8)
    assert statistics.mcnemar(a, b) == statistics.mcnemar(b, a)


def alone(size: int, **options) -> statistics.Clusters:
    """Images that have nothing to do with each other."""
    return statistics.Clusters(range(size), [0] * size, **options)


def test_images_on_their_own_have_the_interval_of_independent_images():
    right = {"model": torch.arange(1000) % 10 > 0}
    row = statistics.mean_with_interval(right, alone(1000)).loc["model"]
    assert row["mean"] == 0.9
    wilson = statistics.wilson_interval(900, 1000)
    assert (row["low"], row["high"]) == pytest.approx(wilson, abs=3e-3)
    effect = statistics.design_effects(right, alone(1000, num_draws=9)).loc["model"]
    assert effect[["errors", "design effect"]].tolist() == [100, pytest.approx(1)]


def test_images_that_are_copies_of_each_other_count_once():
    """Ten times 100 images: the variance is that of 100, ten times as large."""
    one = torch.arange(100) % 4 > 0
    copies = [index for index in range(100) for _ in range(10)]
    clusters = statistics.Clusters(copies, ["all"] * 1000, num_draws=2000)
    right = {"model": one.repeat_interleave(10), "perfect": torch.ones(1000, dtype=torch.bool)}
    table = statistics.mean_with_interval(right, clusters)
    width, single = table["high"] - table["low"], statistics.wilson_interval(75, 100)
    assert width["model"] == pytest.approx(single[1] - single[0], rel=0.1)
    assert (table.loc["perfect", "low"], table.loc["perfect", "high"]) == (1, 1)
    again = statistics.mean_with_interval(right, clusters)
    other = statistics.mean_with_interval(right, dataclasses.replace(clusters, seed=1))
    assert table.equals(again) and not table.equals(other)
    effects = statistics.design_effects(right, clusters)
    assert effects.loc["model", "design effect"] == pytest.approx(10)
    low, high = effects.loc["model", ["chance low", "chance high"]]
    assert 0.6 < low < 1 < high < 1.5  # shuffled, they are no copies any more
    assert effects.loc["perfect"].isna().tolist() == [False, True, True, True]


def test_a_resample_has_as_many_clusters_of_each_stratum_as_the_set():
    """All the difference lies between the strata, so there is nothing that luck could change."""
    strata = torch.arange(200) % 2
    clusters = statistics.Clusters(torch.arange(200) // 20 * 2 + strata, strata, num_draws=100)
    row = statistics.mean_with_interval({"model": strata == 0}, clusters).loc["model"]
    assert row.tolist() == [0.5, 0.5, 0.5]
    effect = statistics.design_effects({"model": strata == 0}, clusters).loc["model"]
    assert effect[["design effect", "chance low", "chance high"]].tolist() == [0, 0, 0]


def test_clusters_are_shuffled_within_their_stratum():
    values = np.array([[1, 1], [0, 2], [0, 4], [5, 8], [7, 16]])
    clusters = statistics.Clusters([7, 3, 3, 9, 1], list("aaabb"), num_draws=50)
    observed, *shuffled = clusters.shuffled_sums(values)
    assert observed.tolist() == [[7, 16], [0, 6], [1, 1], [5, 8]]
    assert all(sums[1:3].sum(0).tolist() == [1, 7] for sums in shuffled)
    assert {tuple(sums[1:3, 0]) for sums in shuffled} == {(1, 0), (0, 1)}
    assert {tuple(sums[[0, 3], 0]) for sums in shuffled} == {(5, 7), (7, 5)}


def test_sign_flips_by_hand():
    """Three clusters of one sign: of the eight choices of signs, two are as far from 0."""
    values, clusters = [1, 0, 1, 2], statistics.Clusters([0, 0, 1, 2], [0] * 4, num_draws=40_000)
    assert statistics.sign_flip_test(values, clusters) == pytest.approx(2 / 8, abs=0.01)
    assert statistics.sign_flip_test([1, -1, 0, 0], clusters) == 1


def test_many_p_values_are_adjusted_by_hand():
    adjusted = statistics.holm([0.04, 0.001, 0.03, 0.02])
    assert adjusted == pytest.approx([0.06, 0.004, 0.06, 0.06])
    assert statistics.holm([0.7, 0.8]).tolist() == [1, 1]


def test_differences_to_a_reference():
    """Of two seeds, one misreads ten more images, each by another writer; the third model is one
    that errs where the reference does."""
    reference = torch.arange(400) >= 20
    worse = 1 - 0.5 * (torch.arange(400) < 40)
    right = {"worse": worse, "reference": reference, "twin": reference.clone()}
    clusters = alone(400, num_draws=2000)
    table = statistics.differences(right, "reference", clusters)
    assert list(table.index) == ["worse", "twin"]
    assert table["mean"].tolist() == [0, 0]  # half of forty, and twenty
    assert table.loc["worse", "low"] < 0 < table.loc["worse", "high"]
    assert table.loc["twin"].tolist() == [0, 0, 0, 1, 1]
    right["worse"] = 1 - 1.0 * (torch.arange(400) < 60)
    row = statistics.differences(right, "reference", clusters).loc["worse"]
    assert row["mean"] == pytest.approx(0.1) and row["low"] < 0.1 < row["high"]
    assert row["p"] == 1 / 2001 and row["adjusted p"] == 2 / 2001


def test_concentration_by_hand():
    """One writer holds all wrong answers; shuffled, they spread over more."""
    wrong = [3, 3, 3, 3] + [0] * 16
    clusters = statistics.Clusters([i // 4 for i in range(20)], ["all"] * 20, num_draws=500)
    table = statistics.concentration(wrong, clusters)
    assert table["writers"].tolist() == [1, 4]
    assert (table["low"] <= table["by chance"]).all() and (
        table["by chance"] <= table["high"]
    ).all()
    assert table.loc["hold half of the wrong answers", "by chance"] > 1
    assert table.loc["hold none", "by chance"] < 3


def test_calibration_by_hand():
    """Two images at confidence 0.9, one of them right; two at 0.6, both right."""
    probabilities = torch.full((4, 10), 0.0)
    probabilities[:, 0] = torch.tensor([0.9, 0.9, 0.6, 0.6])
    probabilities[:, 1] = 1 - probabilities[:, 0]
    logits = {"model": (probabilities + 1e-9).log()}
    row = statistics.calibration(logits, torch.tensor([0, 1, 0, 0]), alone(4)).loc["model"]
    assert row["mean"] == pytest.approx(0.75 - 0.75) and row["low"] < 0 < row["high"]
    likelihood = np.log([0.9, 0.1, 0.6, 0.6]).mean()
    assert row["log-likelihood"] == pytest.approx(likelihood, abs=1e-6)
    brier = np.mean([2 * 0.1**2, 2 * 0.9**2, 2 * 0.4**2, 2 * 0.4**2])
    assert row["Brier score"] == pytest.approx(brier, abs=1e-6)


def test_trials_are_compared_on_the_images_of_their_folds():
    sizes = {("a", 0): 4, ("a", 1): 4, ("b", 0): 4, ("b", 1): 4, ("c", 1): 4}
    wrong = {("a", 0): [0, 1, 2], ("a", 1): [5], ("b", 0): [0], ("b", 1): [5], ("c", 1): [5, 6, 7]}
    runs = [(*key, sizes[key], len(images)) for key, images in wrong.items()]
    runs = pd.DataFrame(runs, columns=["trial", "fold", "images", "errors"])
    misclassified = [(*key, image) for key, images in wrong.items() for image in images]
    misclassified = pd.DataFrame(misclassified, columns=["trial", "fold", "image"])
    table = statistics.compare_trials(runs, misclassified, "a", alone(8))
    assert list(table.index) == ["a", "b", "c"]
    assert table["folds"].tolist() == [2, 2, 1]
    assert table["error"].tolist() == [4 / 8, 2 / 8, 3 / 4]
    assert table["change"].tolist() == [0, -0.5, 2]  # c has three errors in fold 1, a has one
    assert table["p"].tolist() == [1, 0.5, 0.5]  # two images to none, either way
    assert table.loc["a", ["low", "high"]].tolist() == [0, 0]
    assert -1 <= table.loc["b", "low"] < -0.5 < table.loc["b", "high"]
    assert "low" not in statistics.compare_trials(runs, misclassified, "a")
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
