"""Make the table of results from numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from network import Ensemble
from rnns import Transformer
from study import statistics


class _Names(dict):
    def __missing__(self, file: str) -> str:
        return file


# What the tables, the page and the API call the files in models/. A file that is not listed, like
# that of your own network, goes by its own name.
NAMES = _Names(
    without_validation="CNN",
    with_validation="CNN, with validation",
    mlp="MLP, augmented",
    cnn_with_augmentation="CNN, augmented",
    with_augmentation="deeper CNN, augmented",
    ensemble="ensemble of five",
    small_25k="small CNN, 25k",
    small_5k="small CNN, 5k",
    small_1k="small CNN, 1k",
    robust="robust CNN, extra data",
    robust_small="small robust CNN, extra data",
    rnn="RNN",
    gru="GRU",
    lstm="LSTM",
    bilstm="BiLSTM",
    rnn_augmented="RNN, augmented",
    gru_augmented="GRU, augmented",
    lstm_augmented="LSTM, augmented",
    bilstm_augmented="BiLSTM, augmented",
    attention="transformer, augmented",
    svm="support vector machine",
)
# How a number of the results is written.
FORMATS = dict.fromkeys(("parameters", "images"), "{:,.0f}") | {"test accuracy": "{:.2%}"}
NUM_ROWS = 14  # the published table shows the first models only


def names(files: Sequence[str]) -> dict[str, str]:
    """Return the files by the names of their models; ValueError if two have the same name."""
    by_name = {NAMES[file]: file for file in files}
    if len(by_name) < len(files):
        raise ValueError(f"two of these models have the same name: {', '.join(files)}")
    return by_name


def read_answers(path: str | Path, labels: torch.Tensor) -> torch.Tensor:
    """Return a classifier's answers, int64 (N,), to images with these labels, from its mistakes.

    Args:
        path: a table with a row for each misclassified image, ``image`` (its index) and ``answer``;
            rows beyond the N images do not count.
    """
    mistakes = pd.read_csv(path).query("image < @labels.shape[0]")
    answers = labels.clone()
    answers[torch.tensor(mistakes["image"].to_numpy())] = torch.tensor(
        mistakes["answer"].to_numpy()
    )
    return answers


def family(model: nn.Module) -> str:
    """Return "ensemble", "recurrent", "convolutional", "attention" or "fully connected"."""
    kinds = {"ensemble": Ensemble, "recurrent": nn.RNNBase, "convolutional": nn.Conv2d}
    kinds["attention"] = Transformer
    found = (name for name in kinds if any(isinstance(x, kinds[name]) for x in model.modules()))
    return next(found, "fully connected")


def result_rows(
    predictions: Mapping[str, Sequence[torch.Tensor]],
    labels: torch.Tensor,
    facts: Mapping[str, dict[str, float]],
    clusters: statistics.Clusters,
) -> pd.DataFrame:
    """Return the results as numbers, one row per model (see ``result_table``).

    Args:
        predictions: by model, the answers of each of its seeds, int64 (N,); the first are those of
            the saved network.
        labels: int64, shape (N,), of the test images.
        facts: by model, ``parameters``, and how many ``images`` it was trained on.
        clusters: of the test images, by writers.

    Returns:
        ``model``, ``parameters``, ``images``, ``seeds``; ``errors`` of the saved network;
        ``mean errors`` of the seeds and their standard ``deviation``, NaN for one seed; the mean
        ``test accuracy`` (0 to 1), and the ends of its interval, ``test low`` and ``test high``.
    """
    errors = {n: [int((a != labels).sum()) for a in answers] for n, answers in predictions.items()}
    table = pd.DataFrame.from_dict(facts, orient="index").loc[list(predictions)]
    table["seeds"] = [len(counts) for counts in errors.values()]
    table["errors"] = [counts[0] for counts in errors.values()]
    table["mean errors"] = [sum(counts) / len(counts) for counts in errors.values()]
    table["deviation"] = [pd.Series(counts).std() for counts in errors.values()]
    right = {n: statistics.right_share(answers, labels) for n, answers in predictions.items()}
    accuracy = statistics.mean_with_interval(right, clusters)
    names = {"mean": "test accuracy", "low": "test low", "high": "test high"}
    return table.join(accuracy.rename(columns=names)).rename_axis("model").reset_index()


def result_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the first results as they are published: one row per model, every number as text.

    Args:
        results: numbers, as ``result_rows`` returns them and ``results/results.csv`` has them.
    """
    results = results.head(NUM_ROWS)
    table = results[["model", "parameters", "images", "seeds"]].copy()
    several = results["seeds"] > 1
    with_deviation = results.agg("{0[mean errors]:.1f} ± {0[deviation]:.1f}".format, axis=1)
    table["errors"] = with_deviation.where(several, results["errors"].astype(str))
    table["test accuracy"] = results["test accuracy"]
    for column, text in FORMATS.items():
        table[column] = [text.format(v) if pd.notna(v) else "-" for v in table[column]]
    ends = results[["test low", "test high"]].to_numpy()
    table["95% interval"] = [statistics.interval_text(*pair) for pair in ends]
    return table
