"""Statistics of predictions: intervals, paired tests, clusters, calibration.

Nothing here runs a network: every function takes counts, answers or logits that exist already.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval (1927) of the accuracy of ``correct`` out of ``total``.

    It holds its level near 100 %, where the usual normal interval does not. NaN of no images.
    """
    if not total:
        return np.nan, np.nan
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def interval_text(low: float, high: float) -> str:
    """Return an interval of accuracies (0 to 1) as it is written everywhere."""
    return f"{low:.2%} to {high:.2%}"


def accuracy_text(correct: int, total: int) -> str:
    """Return an accuracy with its 95 % interval and its number of images, for a printed line."""
    interval = interval_text(*wilson_interval(correct, total))
    return f"{correct / total:.2%} (95 % interval {interval}, n = {total})"


def accuracy_columns(correct: int, total: int) -> dict[str, object]:
    """Return an accuracy with its 95 % interval as the cells of a table."""
    return {
        "accuracy": f"{correct / total:.2%}",
        "95 % interval": interval_text(*wilson_interval(correct, total)),
        "errors": total - correct,
    }


def accuracy_by_clusters(
    right: Mapping[str, torch.Tensor],
    clusters: Sequence[int],
    strata: Sequence[object],
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the accuracy of each model, with an interval for images that come in clusters.

    The images of one writer resemble each other, so a model's mistakes on them come together. The
    bootstrap therefore draws writers with replacement, each with all their images, as many as
    each stratum has (Davison and Hinkley 1997, "Bootstrap Methods and their Application",
    section 3.8).

    Args:
        right: by model, bool, shape (N,): whether it is right on each image.
        clusters: shape (N,), which images belong together, for instance by their writers.
        strata: shape (N,), the stratum of each image; a resample draws as many clusters from each
            stratum as it has.

    Returns:
        One row a model: ``errors``; ``accuracy``, ``low`` and ``high``, the ends of the 95 %
        percentile interval (0 to 1), of no width where there are no errors to draw; ``design
        effect``, the variance of the accuracy over what it would be for N independent images
        (Kish 1965, "Survey Sampling"), NaN without errors.
    """
    counts = pd.DataFrame({name: ~values.numpy() for name, values in right.items()})
    counts = counts.assign(images=1).groupby([np.asarray(strata), np.asarray(clusters)]).sum()
    random, resampled = np.random.default_rng(seed), 0
    for _, stratum in counts.groupby(level=0):
        size = len(stratum)
        times_drawn = random.multinomial(size, np.full(size, 1 / size), num_resamples)
        resampled += times_drawn @ stratum.to_numpy()  # (num_resamples, models and images)
    accuracies = 1 - resampled[:, :-1] / resampled[:, -1:]
    *errors, total = counts.sum()
    table = pd.DataFrame({"errors": errors}, index=pd.Index(right, name="model"))
    table["accuracy"] = 1 - table["errors"] / total
    table["low"], table["high"] = np.quantile(accuracies, [0.025, 0.975], axis=0)
    independent = table["accuracy"] * (1 - table["accuracy"]) / total
    table["design effect"] = accuracies.var(axis=0) / independent.where(table["errors"] > 0)
    return table


def mcnemar(correct_a: torch.Tensor, correct_b: torch.Tensor) -> float:
    """Return the p-value of the exact McNemar test between two models on the same images.

    Only the images that exactly one of the two gets right tell them apart. If the models were
    equally good, each of these would go to either with probability one half (McNemar 1947).

    Args:
        correct_a, correct_b: bool, shape (N,): whether each model is right on each image.
    """
    return _exact_p(int((correct_a & ~correct_b).sum()), int((~correct_a & correct_b).sum()))


def _exact_p(only_a: int, only_b: int) -> float:
    return binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0


def compare_trials(runs: pd.DataFrame, misclassified: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return the errors of each trial of a cross-validation, beside those of a reference.

    Args:
        runs: of one split, one row a training: ``trial``, ``fold``, ``images`` and ``errors``.
        misclassified: one row for each image that a training got wrong: ``trial``, ``fold`` and
            ``image``.
        reference: the trial to compare with, on the images of the folds that a trial was run on.

    Returns:
        One row a trial, in the order of ``runs``: ``folds``, ``images``, ``errors``, ``error``
        (0 to 1), ``change`` (of the errors, relative to the reference's; NaN if it has none), and
        ``p``, by ``mcnemar``'s test. It compares these networks, one seed each: the variation
        between seeds is not in it (Dietterich 1998, https://doi.org/10.1162/089976698300017197).

    Raises:
        ValueError: the reference was not run on all folds of a trial.
    """
    groups = runs.groupby("trial", sort=False)
    table = groups.agg(folds=("fold", "count"), images=("images", "sum"), errors=("errors", "sum"))
    table["error"] = table["errors"] / table["images"]
    for trial, folds in groups["fold"]:
        if not folds.isin(runs.loc[runs["trial"] == reference, "fold"]).all():
            raise ValueError(f"{reference!r} was not run on every fold of {trial!r}")
        same = misclassified[misclassified["fold"].isin(folds)]
        ours, theirs = (set(same["image"][same["trial"] == name]) for name in (trial, reference))
        table.loc[trial, "change"] = len(ours) / len(theirs) - 1 if theirs else np.nan
        table.loc[trial, "p"] = _exact_p(len(ours - theirs), len(theirs - ours))
    return table


SUSPECT_CONFIDENCE = 0.9  # mean confidence from which a unanimous answer makes a label suspect


def suspected_labels(misclassified: pd.DataFrame) -> pd.DataFrame:
    """Return the images that every network confidently assigns to the same other class.

    This is the consensus filter of Brodley and Friedl (1999, https://arxiv.org/abs/1106.0219), with
    a threshold on the confidence.

    Args:
        misclassified: one row for each image that a network got wrong without having been trained
            on it: ``trial`` (which network), ``image``, ``label``, ``answer`` and ``confidence``.

    Returns:
        ``image``, ``label``, ``answer`` and ``confidence`` (the mean), the most confident first.
    """
    groups = misclassified.groupby(["image", "label", "answer"], as_index=False)
    table = groups.agg(networks=("trial", "count"), confidence=("confidence", "mean"))
    unanimous = table["networks"] == misclassified["trial"].nunique()
    table = table[unanimous & (table["confidence"] >= SUSPECT_CONFIDENCE)]
    order = {"by": "confidence", "ascending": False, "ignore_index": True}
    return table.drop(columns="networks").sort_values(**order)


def calibration(logits: torch.Tensor, labels: torch.Tensor, num_bins: int = 15) -> pd.DataFrame:
    """Return how often a model is right at each level of confidence (Guo et al. 2017).

    The confidence of an answer is the largest of its ten probabilities. Bins have equal width,
    from 0 to 1; those without an image are left out.

    Returns:
        One row a bin: ``confidence`` and ``accuracy`` (means, 0 to 1) and ``count`` (images).
    """
    confidence, prediction = logits.softmax(1).max(1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": (prediction == labels).float()})
    bins = pd.cut(table["confidence"], np.linspace(0, 1, num_bins + 1))
    groups = table.groupby(bins, observed=True)
    return groups.mean().assign(count=groups.size()).reset_index(drop=True)


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Return the mean distance (0 to 1) of confidence and accuracy, from ``calibration``'s bins."""
    distance = (bins["confidence"] - bins["accuracy"]).abs()
    return float(np.average(distance, weights=bins["count"]))
