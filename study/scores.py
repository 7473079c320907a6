"""Measurements of networks, kept in a table by a digest of their weights.

Measuring many networks on many sets of images takes minutes, and a run on record, whose weights are
not here, would first have to be trained. So the table with the numbers is their record.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from study import evaluation, record, runs, search, weights
from study.data import NUM_DIGITS, Digits, fingerprint
from study.files import write_whole


def measured(
    models: dict[str, nn.Module | pd.Series],
    sets: dict[str, Digits],
    measure: Callable[[nn.Module, dict[str, Digits]], dict[str, float]],
    path: str | Path,
    **settings: float,
) -> pd.DataFrame:
    """Return what ``measure`` finds for each model (one row), from a table if it is there.

    A row of the table counts for the same weights, images and settings. Where the record is renewed
    (see ``record``), everything is measured, and the table is written.

    Args:
        models: by name; networks in eval mode, or rows of a search's table, whose networks are
            loaded only to be measured.
        sets: all images that ``measure`` uses, by name.
        measure: takes a network and ``sets``; returns numbers by name.
        path: of the table, CSV.
        settings: numbers that the measurement also depends on: columns of the table.
    """
    path = Path(path)
    known = _read(path)
    data = fingerprint(*sets.values())
    rows = {}
    for name, model in models.items():
        is_run = isinstance(model, pd.Series)
        told = {"weights": _digest(model), "data": data} | settings
        same = known[(known.reindex(columns=list(told)) == pd.Series(told)).all(axis=1)]
        if len(same) and not record.is_renewed():
            rows[name] = same.iloc[0].to_dict()
        else:
            network = search.load_model(model) if is_run else model
            rows[name] = told | measure(network, sets)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    if record.is_renewed():
        others = known.drop(index=table.index, errors="ignore")
        write_whole(path, pd.concat([others, table]).to_csv().encode())
    return table.drop(columns=["weights", "data", *settings])


def _read(path: Path) -> pd.DataFrame:
    """Return the table so far; a file that is not such a table counts as empty."""
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
        half of the answers no longer change.
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


def misclassified(model: nn.Module, sets: dict[str, Digits]) -> dict[str, float]:
    """Return the share of each set (0 to 1) that the ten outputs for digits misclassify.

    This is a ``measure``.
    """
    return {
        name: float((record.answer(model, digits.images) != digits.labels).double().mean())
        for name, digits in sets.items()
    }


def at_one_point(model: nn.Module, sets: dict[str, Digits], share: float) -> dict[str, float]:
    """Return what a network misclassifies and rejects if it rejects ``share`` of the first set.

    This is a ``measure`` once ``share`` is fixed. A network with an eleventh class rejects by the
    probability of that class; any other by its energy.

    Returns:
        Shares (0 to 1) of each set: by its name, for a set of digits, the share that the ten
        outputs for digits misclassify; and ``NAME: rejected``.
    """
    images = torch.cat([digits.images for digits in sets.values()])
    parts = evaluation.predict_on_all_cores(model, images).split([len(d) for d in sets.values()])
    logits, first = dict(zip(sets, parts, strict=True)), parts[0]
    is_taught = first.shape[1] > NUM_DIGITS
    doubt = evaluation.no_digit_probability if is_taught else evaluation.energy
    limit = doubt(first).quantile(1 - share)
    values = {}
    for name, digits in sets.items():
        if (digits.labels < NUM_DIGITS).all():
            values[name] = 1 - evaluation.num_correct(logits[name], digits.labels) / len(digits)
        values[f"{name}: rejected"] = float((doubt(logits[name]) > limit).double().mean())
    return values
