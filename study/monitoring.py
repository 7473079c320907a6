"""Show and log a training run while it runs.

Nothing here changes a result, so after an edit of this file nothing has to be trained again.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn
from tqdm import tqdm

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

HISTOGRAM_LIMIT = 1e20  # TensorBoard's bins end there; larger values in a histogram are an error


def epochs(num_epochs: int, progress: bool) -> tqdm:
    """Return the numbers of the epochs, from 1; iterating over them updates a progress bar."""
    return tqdm(
        range(1, num_epochs + 1), "training", unit="epoch", disable=not progress, file=sys.stdout
    )


def summary_writer(log_dir: str | Path | None) -> "AbstractContextManager[SummaryWriter | None]":
    """Open a TensorBoard log in ``log_dir``; for None, a context that gives None."""
    if log_dir is None:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    return SummaryWriter(log_dir)


def log_epoch(writer: "SummaryWriter", model: nn.Module, row: dict) -> None:
    """Log a row of the history, and histograms of weights and of the last batch's gradients."""
    for name in row.keys() - {"epoch"}:
        writer.add_scalar(name, row[name], row["epoch"])
    for name, parameter in model.named_parameters():
        for kind, values in (("weights", parameter), ("gradients", parameter.grad)):
            if values is not None and values.abs().max() < HISTOGRAM_LIMIT:  # False for NaN
                writer.add_histogram(f"{kind}/{name}", values.detach(), row["epoch"])


def log_settings(log_dir: str | Path, settings: dict, result: dict) -> None:
    """Log the settings of a run and its result, for TensorBoard's table of hyperparameters."""
    flat = {
        name: v if isinstance(v, int | float | str) else repr(v) for name, v in settings.items()
    }
    with summary_writer(log_dir) as writer:
        metrics = {name: value for name, value in result.items() if isinstance(value, float)}
        writer.add_hparams(flat, {f"result/{n}": v for n, v in metrics.items()}, run_name=".")
