"""Measurements of networks, kept in a table by a digest of their weights.

Measuring many networks on many sets of images takes minutes, and for a run on record, whose weights
are not here, a training. So the table with the numbers is their record.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from study import evaluation, record, runs, search, weights
from study.data import Digits, fingerprint
from study.files import write_whole


def measured(
    models: dict[str, nn.Module | pd.Series],
    sets: dict[str, Digits],
    measure: Callable[[nn.Module, dict[str, Digits]], dict[str, float]],
    path: str | Path,
) -> pd.DataFrame:
    """Return what ``measure`` finds for each model (a row), from a table where it is there.

    A row of the table counts for the same weights and the same images. Where the record is renewed
    (see ``record``), everything is measured, and the table is written.

    Args:
        models: by name; networks in eval mode, or rows of a search's table, whose networks are
            loaded only to be measured.
        sets: all images that ``measure`` uses, by name.
        measure: takes a network and ``sets``; returns numbers by name.
        path: of the table, CSV.
    """
    path = Path(path)
    known = _read(path)
    data = fingerprint(*sets.values())
    rows = {}
    for name, model in models.items():
        is_run = isinstance(model, pd.Series)
        told = {"weights": _digest(model), "data": data}
        same = known[(known[list(told)] == pd.Series(told)).all(axis=1)]
        if len(same) and not record.is_renewed():
            rows[name] = same.iloc[0].to_dict()
        else:
            network = search.load_model(model) if is_run else model
            rows[name] = told | measure(network, sets)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    if record.is_renewed():
        others = known.drop(index=table.index, errors="ignore")
        write_whole(path, pd.concat([others, table]).to_csv().encode())
    return table.drop(columns=["weights", "data"])


def _read(path: Path) -> pd.DataFrame:
    """Return the table so far; what is no such table counts as empty."""
    keys = ["model", "weights", "data"]
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=keys)
    return (table if set(keys) <= set(table) else pd.DataFrame(columns=keys)).set_index("model")


def _digest(model: nn.Module | pd.Series) -> str:
    if isinstance(model, pd.Series):
        return runs.read_settings(Path(model["folder"]))["weights"]
    return weights.version(model)


def after_each_row(model: nn.Module, sets: dict[str, Digits]) -> dict[str, float]:
    """Return how accurate a recurrent network's answers are after each row.

    This is a ``measure`` of a single set.

    Returns:
        ``accuracy 1``, ``accuracy 2``, ... by the number of rows read, and ``confidence 1``, ...,
        the mean probability of the answer (0 to 1); ``settled``, the number of rows after which
        half of the answers do not change any more.
    """
    (digits,) = sets.values()
    logits = evaluation.predict(model, digits.images, method="logits_by_row")  # (N, rows, classes)
    answers, confidence = logits.argmax(2), logits.softmax(2).amax(2)
    columns = {"accuracy": (answers == digits.labels[:, None]).float(), "confidence": confidence}
    table = {
        f"{name} {row}": float(mean)
        for name, values in columns.items()
        for row, mean in enumerate(values.mean(0), start=1)
    }
    before = (answers != answers[:, -1:]) * torch.arange(1, answers.shape[1] + 1)
    return table | {"settled": float(before.amax(1).median() + 1)}
