"""Numbers -> the tables of the README and of docs/."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path

import joblib
import pandas as pd
import torch
from torch import nn

from network import Ensemble
from study import evaluation
from study.files import write_between


class Names(dict):
    """File in models/ -> name; one that is not listed, like your own network's, is its own name."""

    def __missing__(self, file: str) -> str:
        return file


# What the tables, the page and the API call the saved models.
NAMES = Names(
    {
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
)

README_ROWS = 14  # the README's table shows the first models only


def names(files: Sequence[str]) -> dict[str, str]:
    """Return the files by the names of their models; ValueError where two have the same."""
    by_name = {NAMES[file]: file for file in files}
    if len(by_name) < len(files):
        raise ValueError(f"two of these models have the same name: {', '.join(files)}")
    return by_name


def family(model: nn.Module) -> str:
    """Return "ensemble", "recurrent", "convolutional" or "other", by the layers of a network."""
    if isinstance(model, Ensemble):
        return "ensemble"
    kinds = {"recurrent": nn.RNNBase, "convolutional": nn.Conv2d}
    layers = list(model.modules())
    found = [name for name, kind in kinds.items() if any(isinstance(x, kind) for x in layers)]
    return found[0] if found else "other"


def result_row(
    model: nn.Module,
    history: pd.DataFrame,
    *,
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    valid: tuple[torch.Tensor, torch.Tensor] | None,
) -> dict[str, float | None]:
    """Return one row of the results, as numbers (see ``result_table``).

    Args:
        train, test, valid: logits and labels of the images that the model was trained on, tested
            on, and chosen on.
    """
    errors = len(test[1]) - evaluation.num_correct(*test)
    low, high = evaluation.wilson_interval(len(test[1]) - errors, len(test[1]))
    return {
        "parameters": evaluation.num_parameters(model),
        "epochs": len(history),
        # Not 0, which a logarithmic scale cannot show.
        "training seconds": max(1, round(history["seconds"].sum())),
        "train accuracy": evaluation.loss_and_accuracy(*train)[1],
        "validation accuracy": evaluation.loss_and_accuracy(*valid)[1] if valid else None,
        "test accuracy": 1 - errors / len(test[1]),
        "test low": low,
        "test high": high,
        "errors": errors,
    }


def result_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the results as they are published: one row a model, every number as text.

    Args:
        results: numbers, as in ``visualizations/results.csv``: model, parameters, epochs,
            training seconds, errors, and accuracies and interval from 0 to 1.
    """

    def percent(column: str) -> pd.Series:
        return results[column].map(lambda x: "-" if pd.isna(x) else f"{x:.2%}")

    limits = zip(results["test low"], results["test high"], strict=True)
    return pd.DataFrame(
        {
            "model": results["model"],
            "parameters": results["parameters"].map("{:,.0f}".format),
            "epochs": results["epochs"].map("{:.0f}".format),
            "training seconds": results["training seconds"].map("{:.0f}".format),
            "train accuracy": percent("train accuracy"),
            "validation accuracy": percent("validation accuracy"),
            "test accuracy": percent("test accuracy"),
            "95 % interval": [evaluation.interval_text(*pair) for pair in limits],
            "errors": results["errors"].map("{:.0f}".format),
        }
    )


def machine() -> dict[str, str]:
    """Return what a measured time depends on: processor, cores (of this process), and day."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux; each core has a paragraph, and one is enough
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines() if cpuinfo.exists() else []
    known = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    name = known.get("model name") or platform.processor() or platform.machine()
    if {"cpu family", "model"} <= known.keys() and not any(
        character.isdigit() for character in name
    ):
        name += f" (family {known['cpu family']}, model {known['model']})"  # a cloud hides the rest
    day = datetime.date.today().isoformat()
    return {"processor": name, "cores": str(joblib.cpu_count()), "day": day}


def write_row(
    path: str | Path,
    marker: str,
    row: dict[str, str],
    key: Sequence[str] = ("processor", "cores"),
) -> None:
    """Add ``row`` to the Markdown table between two markers, or replace the row with its key.

    Args:
        path: a text file with ``<!-- marker -->`` and ``<!-- /marker -->``, a table or nothing
            between them.
        row: column name -> text; begin with ``machine()``. Columns that are new come last.
        key: the columns that tell one row from another: by default, one row for each machine.

    Raises:
        ValueError: the file does not have each of the two markers once.
    """
    _, _, rest = Path(path).read_text(encoding="utf-8").partition(f"<!-- {marker} -->")
    lines = rest.partition(f"<!-- /{marker} -->")[0].strip().splitlines()
    header, _, *cells = [[c.strip() for c in line[1:-1].split("|")] for line in lines] or [[], []]
    rows = [dict(zip(header, values, strict=True)) for values in cells]
    same = [index for index, old in enumerate(rows) if all(old.get(k) == row[k] for k in key)]
    place = same[0] if same else len(rows)
    rows[place : place + 1] = [row]
    columns = list(dict.fromkeys([*header, *row]))
    table = pd.DataFrame(rows, columns=columns).fillna("")
    write_between(path, marker, table.to_markdown(index=False, disable_numparse=True))
