"""Statistics of predictions: intervals, paired tests, clusters, calibration.

Nothing here runs a network: every function takes counts, answers or logits that already exist.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch.nn import functional as F


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95% interval (1927) of the accuracy of ``correct`` out of ``total``.

    It holds its level near 100%, where the usual normal interval does not. NaN without images.
    """
    if not total:
        return np.nan, np.nan
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def interval_text(low: float, high: float) -> str:
    """Return an interval of accuracies (0 to 1) as it is written everywhere."""
    return f"{low:.2%} to {high:.2%}"


def accuracy_text(correct: int, total: int) -> str:
    """Return an accuracy with its 95% interval and its number of images, for a printed line."""
    interval = interval_text(*wilson_interval(correct, total))
    return f"{correct / total:.2%} (95% interval {interval}, n = {total:,})"


def right_share(predictions: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return, for each image, the share of several answers that are right, float64 (N,), 0 to 1.

    Args:
        predictions: the answers of each seed of a model, int64 (N,).
        labels: int64, shape (N,).
    """
    return torch.stack([answers == labels for answers in predictions]).double().mean(0)


@dataclass(frozen=True)
class Clusters:
    """Groups of images that resemble each other: whoever writes one odd 7 writes another like it.

    Attributes:
        ids: shape (N,), the cluster of each image, for instance its writer.
        strata: shape (N,), the stratum of each image, for instance its writer's group; the same for
            all images of a cluster.
        num_draws: how often clusters are drawn, signs flipped, or images shuffled.
        seed: of these draws.
    """

    ids: Sequence[int]
    strata: Sequence[object]
    num_draws: int = 10_000
    seed: int = 0

    def resampled_sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of values (N, K) over images drawn anew by clusters, (num_draws, K).

        This is the bootstrap: clusters are drawn with replacement, each with all its images, and as
        many from each stratum as it has (Davison and Hinkley 1997, "Bootstrap Methods and their
        Application", section 3.8).
        """
        by_cluster = pd.DataFrame(np.asarray(values, dtype=float))
        by_cluster = by_cluster.groupby([np.asarray(self.strata), np.asarray(self.ids)]).sum()
        random, resampled = np.random.default_rng(self.seed), 0
        for _, stratum in by_cluster.groupby(level=0):
            size = len(stratum)
            times_drawn = random.multinomial(size, np.full(size, 1 / size), self.num_draws)
            resampled = resampled + times_drawn @ stratum.to_numpy()
        return resampled

    def shuffled_sums(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the sums of values (N, K) by cluster, in the order of the ids: first as they are,
        then ``num_draws`` times with the images shuffled among the clusters of their stratum.
        """
        strata = np.asarray(self.strata)
        names, ids = np.unique(np.asarray(self.ids), return_inverse=True)
        random = np.random.default_rng(self.seed)
        for _ in range(self.num_draws + 1):
            yield np.stack([np.bincount(ids, column, len(names)) for column in values.T], axis=1)
            for stratum in np.unique(strata):
                members = np.flatnonzero(strata == stratum)
                ids[members] = ids[random.permutation(members)]


def mean_with_interval(by_model: Mapping[str, torch.Tensor], clusters: Clusters) -> pd.DataFrame:
    """Return the mean over images that come in clusters, with its 95% percentile interval.

    Args:
        by_model: shape (N,), a number for each image by model: whether the model is right, or what
            share of several seeds is (0 to 1), or by how much it errs more than another.

    Returns:
        One row per model: ``mean``, and the ends of its interval, ``low`` and ``high``, which are
        equal where all numbers are equal.
    """
    columns = np.column_stack([np.asarray(v, dtype=float) for v in by_model.values()])
    sums = clusters.resampled_sums(np.column_stack([columns, np.ones(len(columns))]))
    ends = np.quantile(sums[:, :-1] / sums[:, -1:], [0.025, 0.975], axis=0)
    values = {"mean": columns.mean(0), "low": ends[0], "high": ends[1]}
    return pd.DataFrame(values, index=pd.Index(by_model, name="model"))


def sign_flip_test(values: Sequence[float], clusters: Clusters) -> float:
    """Return the p-value of the sum of paired differences (N,), by flipping signs of clusters.

    If two models were equally good, the sum over each cluster could equally have the other sign
    (Fisher 1935, "The Design of Experiments", section 21): of ``num_draws`` random choices of
    signs, this is the share whose total is as large.
    """
    by_cluster = pd.Series(np.asarray(values, dtype=float)).groupby(np.asarray(clusters.ids)).sum()
    random = np.random.default_rng(clusters.seed)
    signs = random.choice([-1.0, 1.0], (clusters.num_draws, len(by_cluster)))
    as_large = np.abs(signs @ by_cluster.to_numpy()) >= abs(by_cluster.sum()) - 1e-9  # rounding
    return (as_large.sum() + 1) / (clusters.num_draws + 1)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for their number (Holm 1979).

    If the differences whose values are below some level are called real, the chance that even one
    of them is not is at most that level.
    """
    p_values = np.asarray(p_values, dtype=float)
    order = p_values.argsort()
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def differences(
    right: Mapping[str, torch.Tensor], reference: str, clusters: Clusters
) -> pd.DataFrame:
    """Compare the errors of every other model with those of a reference, on the same images.

    Interval and test hold for these trained networks: they take account of the images and their
    writers, and of the variation between seeds only as far as ``right`` is a mean over many.

    Args:
        right: by model, bool or share of seeds, shape (N,), the reference among them.

    Returns:
        One row per model: ``mean`` difference of its error and the reference's (above 0 where the
        model errs more), ``low`` and ``high``, ``p`` by ``sign_flip_test``, and ``adjusted p`` by
        ``holm``.
    """
    wrong = {name: 1 - np.asarray(values, dtype=float) for name, values in right.items()}
    more = {name: wrong[name] - wrong[reference] for name in wrong if name != reference}
    table = mean_with_interval(more, clusters)
    table["p"] = [sign_flip_test(values, clusters) for values in more.values()]
    return table.assign(**{"adjusted p": holm(table["p"])})


def design_effects(right: Mapping[str, torch.Tensor], clusters: Clusters) -> pd.DataFrame:
    """Return how much clusters widen the interval of each model, and what chance alone would do.

    The design effect is the variance of the accuracy when clusters are drawn, over the variance
    for as many independent images (Kish 1965, "Survey Sampling"). It is computed by linearisation,
    as for the ratio of errors to images.

    Args:
        right: by model, bool, shape (N,): whether it is right on each image.

    Returns:
        One row per model: ``errors``, ``design effect`` (NaN without errors), and the range of 95%
        of the effects where images are shuffled among clusters, ``chance low`` and ``chance high``.
    """
    wrong = np.column_stack([~np.asarray(values) for values in right.values()]).astype(float)
    share, total = wrong.mean(0), len(wrong)
    independent = np.where(share > 0, total * share * (1 - share), np.nan)
    of_cluster = pd.Series(np.asarray(clusters.strata)).groupby(np.asarray(clusters.ids)).first()
    strata = [np.flatnonzero(of_cluster == stratum) for stratum in of_cluster.unique()]
    effects = []
    for sums in clusters.shuffled_sums(np.column_stack([wrong, np.ones(total)])):
        surplus = sums[:, :-1] - share * sums[:, -1:]  # of errors in each cluster
        variance = sum(len(members) * surplus[members].var(0) for members in strata)
        effects.append(variance / independent)
    low, high = np.quantile(effects[1:], [0.025, 0.975], axis=0)
    table = {"errors": wrong.sum(0).astype(int), "design effect": effects[0]}
    table |= {"chance low": low, "chance high": high}
    return pd.DataFrame(table, index=pd.Index(right, name="model"))


def concentration(wrong: Sequence[float], clusters: Clusters) -> pd.DataFrame:
    """Count the clusters that hold half of all wrong answers, and those that hold none.

    A few images that many models misclassify concentrate errors even where writers do not matter;
    shuffling images among clusters shows how far.

    Args:
        wrong: shape (N,), how many wrong answers each image got.

    Returns:
        A row for each of the two; ``writers`` (that many clusters), ``by chance`` (the mean of the
        shuffles), ``low`` and ``high`` (the range of 95% of them).
    """
    counts = []
    for sums in clusters.shuffled_sums(np.asarray(wrong, dtype=float)[:, None]):
        largest = np.sort(sums[:, 0])[::-1].cumsum()
        counts.append([(largest < largest[-1] / 2).sum() + 1, (sums == 0).sum()])
    observed, chance = counts[0], np.array(counts[1:])
    low, high = np.quantile(chance, [0.025, 0.975], axis=0)
    table = {"writers": observed, "by chance": chance.mean(0), "low": low, "high": high}
    return pd.DataFrame(table, index=["hold half of the wrong answers", "hold none"])


def calibration(
    logits: Mapping[str, torch.Tensor], labels: torch.Tensor, clusters: Clusters
) -> pd.DataFrame:
    """Return how far each model's confidence can be trusted.

    The confidence of an answer is the largest of its probabilities. A calibrated model's mean
    confidence is its accuracy (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    Args:
        logits: by model, float, shape (N, classes).
        labels: int64, shape (N,).

    Returns:
        One row per model: ``mean`` confidence minus accuracy (above 0: overconfident), ``low`` and
        ``high``; ``log-likelihood``, the mean of the label's (nats, at most 0); ``Brier score``
        (1950), the squared distance of the probabilities from those of the truth, summed over
        classes and averaged over images (0 to 2, lower is better).
    """
    table, scores = {}, []
    for name, values in logits.items():
        probabilities = values.softmax(1)
        confidence, answers = probabilities.max(1)
        table[name] = confidence - (answers == labels).float()
        distance = (probabilities - F.one_hot(labels, values.shape[1])).square().sum(1)
        scores.append((-F.cross_entropy(values, labels).item(), distance.mean().item()))
    scores = pd.DataFrame(scores, pd.Index(table, name="model"), ["log-likelihood", "Brier score"])
    return mean_with_interval(table, clusters).join(scores)


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


def compare_trials(
    runs: pd.DataFrame,
    misclassified: pd.DataFrame,
    reference: str,
    clusters: Clusters | None = None,
) -> pd.DataFrame:
    """Return the errors of each trial of a cross-validation, beside those of a reference.

    Args:
        runs: of one split, one row per run: ``trial``, ``fold``, ``images`` and ``errors``.
        misclassified: one row for each image that a run got wrong: ``trial``, ``fold`` and
            ``image``.
        reference: the trial to compare with, on the images of the folds that a trial was run on.
        clusters: of all images, those of every fold; without them, there are no intervals.

    Returns:
        One row per trial, in the order of ``runs``: ``folds``, ``images``, ``errors``, ``error``
        (0 to 1), ``change`` (of the errors, relative to the reference's; NaN if it has none), the
        ends of its 95% interval, ``low`` and ``high``, and ``p``, by ``mcnemar``'s test. They
        compare these networks, one seed each: the variation between seeds is in neither
        (Dietterich 1998, https://doi.org/10.1162/089976698300017197).

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
        if clusters and theirs:
            wrong = np.zeros((len(clusters.ids), 2))
            wrong[list(ours), 0] = wrong[list(theirs), 1] = 1
            ours_drawn, theirs_drawn = clusters.resampled_sums(wrong).T
            with np.errstate(divide="ignore", invalid="ignore"):  # where none of theirs is drawn
                change = ours_drawn / theirs_drawn - 1
            table.loc[trial, ["low", "high"]] = np.nanquantile(
                change, [0.025, 0.975], method="nearest"
            )
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
