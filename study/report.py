"""Numbers -> the README's table."""

from __future__ import annotations

import pandas as pd

# The saved models: file in models/ -> the name that the tables, the page and the API give it.
NAMES = {
    "without_validation": "CNN",
    "with_validation": "CNN, with validation",
    "cnn_with_augmentation": "CNN, augmented",
    "with_augmentation": "deeper CNN, augmented",
    "ensemble": "ensemble of five",
    "smallest": "small CNN, augmented",
    "rnn": "RNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "bilstm": "BiLSTM",
}


def result_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the results as they are published: one row a model, every number as text.

    Args:
        results: numbers, as in ``visualizations/results.csv``: model, parameters, epochs,
            training seconds, errors, and accuracies and interval from 0 to 1.
    """

    def percent(column: str) -> pd.Series:
        return results[column].map(lambda x: "-" if pd.isna(x) else f"{x:.2%}")

    interval = percent("test low") + " to " + percent("test high")
    return pd.DataFrame(
        {
            "model": results["model"],
            "parameters": results["parameters"].map("{:,.0f}".format),
            "epochs": results["epochs"].map("{:.0f}".format),
            "training seconds": results["training seconds"].map("{:.0f}".format),
            "train accuracy": percent("train accuracy"),
            "validation accuracy": percent("validation accuracy"),
            "test accuracy": percent("test accuracy"),
            "95 % interval": interval,
            "errors": results["errors"].map("{:.0f}".format),
        }
    )
