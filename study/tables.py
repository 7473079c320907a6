"""Numbers -> the table of results."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from network import Ensemble
from rnns import RowReader
from study import data, evaluation, statistics


class _Names(dict):
    def __missing__(self, file: str) -> str:
        return file


# What the tables, the page and the API call the files in models/. One that is not listed, like that
# of your own network, goes by the file's name.
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
    attention="transformer",
    best_reader="best reader of sequences",
)
# How a number of the results is written.
FORMATS = (
    {"parameters": "{:,.0f}"}
    | dict.fromkeys(("epochs", "training seconds", "errors"), "{:.0f}")
    | dict.fromkeys(("train accuracy", "validation accuracy", "test accuracy"), "{:.2%}")
    | {"refused": "{:.2%}"}
)
Answers = tuple[torch.Tensor, torch.Tensor]  # logits and labels of a set of images
README_ROWS = 14  # the README's table shows the first models only


def names(files: Sequence[str]) -> dict[str, str]:
    """Return the files by the names of their models; ValueError where two have the same."""
    by_name = {NAMES[file]: file for file in files}
    if len(by_name) < len(files):
        raise ValueError(f"two of these models have the same name: {', '.join(files)}")
    return by_name


def family(model: nn.Module) -> str:
    """Return "ensemble", "recurrent", "convolutional" or "other", by the layers of a network."""
    recurrent = (nn.RNNBase, RowReader)
    kinds = {"ensemble": Ensemble, "recurrent": recurrent, "convolutional": nn.Conv2d}
    found = (name for name in kinds if any(isinstance(x, kinds[name]) for x in model.modules()))
    return next(found, "other")


def result_row(
    model: nn.Module, history: pd.DataFrame, *, train: Answers, test: Answers, valid: Answers | None
) -> dict[str, float | None]:
    """Return one row of the results, as numbers (see ``result_table``).

    Args:
        train, test, valid: on the images that the model was trained on, on the test images, and
            on those that chose it, None where there were none.
    """
    correct, total = evaluation.num_correct(*test), len(test[1])
    low, high = statistics.wilson_interval(correct, total)
    knows_no_digit = test[0].shape[1] > data.NUM_DIGITS
    return {
        "parameters": evaluation.num_parameters(model),
        "epochs": len(history),
        # Not 0, which a logarithmic scale cannot show.
        "training seconds": max(1, round(history["seconds"].sum())),
        "train accuracy": evaluation.loss_and_accuracy(*train)[1],
        "validation accuracy": evaluation.loss_and_accuracy(*valid)[1] if valid else None,
        "test accuracy": 1 - (total - correct) / total,
        "test low": low,
        "test high": high,
        "errors": total - correct,
        # Taken for no digit. They count as read or misread all the same, by the ten other logits.
        "refused": evaluation.num_refused(test[0]) / total if knows_no_digit else None,
    }


def result_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the results as they are published: one row a model, every number as text.

    Args:
        results: numbers, as in ``results/results.csv``: model, parameters, epochs,
            training seconds, errors, and accuracies and interval from 0 to 1.
    """
    table = results.drop(columns=["test low", "test high"])
    for column, text in FORMATS.items():
        table[column] = [text.format(v) if pd.notna(v) else "-" for v in table[column]]
    limits = zip(results["test low"], results["test high"], strict=True)
    intervals = [statistics.interval_text(*pair) for pair in limits]
    table.insert(table.columns.get_loc("errors"), "95 % interval", intervals)
    return table
