"""Train one model, save it, load it."""

from __future__ import annotations

import copy
import math
import platform
import sys
import tempfile
import time
import zipfile
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import pandas as pd
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from network import CNN, DeepCNN, Ensemble
from rnns import GRU, LSTM, RNN, BiLSTM
from study.augmentation import Augmentation
from study.evaluation import loss_and_accuracy, predict
from study.mnist import Digits, to_float

# The classes that a weights file may name. They are looked up here and never imported by name, so
# that a file from a stranger cannot run code.
NETWORKS = {
    network.__name__: network for network in (CNN, DeepCNN, Ensemble, RNN, GRU, LSTM, BiLSTM)
}
SCHEDULES = ("one_cycle", "constant")
FILE_FORMAT = "mnist-study-1"


class ModelFileError(RuntimeError):
    """A weights file cannot be read; the message names the file and the cure."""


def default_device() -> torch.device:
    """The accelerator of this machine (CUDA, MPS, ...) if it has one, else the CPU."""
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware computes in it, else float32.

    Decided by what the processor can do, not by timing, so that it is the same each time.
    """
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        fast = can.get("avx512_bf16", False) or can.get("amx_bf16", False)
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def fit(
    model: nn.Module,
    train: Digits,
    valid: Digits | None = None,
    *,
    lr: float,
    batch_size: int,
    num_epochs: int,
    seed: int = 0,
    schedule: str = "one_cycle",
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    augmentation: dict[str, float] | None = None,
    ema_decay: float | None = None,
    log_dir: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train ``model`` in place with Adam and cross-entropy; return its history.

    Images are cut from one tensor in memory, in a new random order each epoch. The model is moved
    to the accelerator if there is one, and computes in bfloat16 where that is fast. With ``valid``
    it ends with the weights of the epoch that had the lowest validation loss, else with those of
    the last epoch. A loss that is no longer finite ends the training (see ``diverged``). The
    model is left in eval mode.

    Args:
        lr: learning rate of Adam; the peak of the one-cycle schedule.
        seed: fixes the order of the images and the dropout. The first weights are the caller's:
            call ``torch.manual_seed`` before making the model.
        schedule: "one_cycle" (Smith and Topin 2018, https://arxiv.org/abs/1708.07120: up to
            ``lr``, then down to almost nothing, updated every batch) or "constant".
        weight_decay: decoupled from the gradient (AdamW, Loshchilov and Hutter 2019,
            https://arxiv.org/abs/1711.05101).
        clip_norm: longest gradient allowed, all parameters taken as one vector; None for no limit.
        augmentation: strengths by name, as ``augmentation.Augmentation`` takes them; each batch is
            distorted anew. None for the images as they are.
        ema_decay: evaluate, and end with, an exponential moving average of the weights (Polyak and
            Juditsky 1992, https://doi.org/10.1137/0330046); this part of it, below 1, is kept at
            each step. None for the weights themselves.
        log_dir: folder for a TensorBoard log, or None for none.
        progress: show a line of text that follows the epochs.

    Returns:
        One row an epoch: ``epoch`` (from 1), ``learning_rate`` (at its end), ``train_loss`` (nats)
        and ``train_accuracy`` (0 to 1), both as met while learning: with dropout, by weights that
        change within the epoch; ``gradient_norm`` (mean over the batches, before clipping), where
        clipped; ``valid_loss`` and ``valid_accuracy`` after the epoch, where given; ``seconds``.

    Raises:
        ValueError: a setting makes no sense; the message names it.
    """
    check_settings(
        len(train),
        lr=lr,
        batch_size=batch_size,
        num_epochs=num_epochs,
        seed=seed,
        schedule=schedule,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        augmentation=augmentation,
        ema_decay=ema_decay,
    )
    device = default_device()
    precision = fast_precision(device)
    model.to(device, memory_format=torch.channels_last)
    train = Digits(train.images.to(device), train.labels.to(device))
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=lr,
        weight_decay=weight_decay,
        decoupled_weight_decay=True,
        fused=True,
    )
    step = _Step(
        model,
        optimizer,
        _scheduler(optimizer, schedule, num_epochs * math.ceil(len(train) / batch_size)),
        Augmentation(**augmentation) if augmentation else None,
        _average(model, ema_decay),
        clip_norm,
        precision,
    )
    result = step.average.module if step.average else model  # whose weights count

    history, best_loss, best_weights = [], math.inf, None
    epochs = tqdm(
        range(1, num_epochs + 1), "training", unit="epoch", disable=not progress, file=sys.stdout
    )
    with torch.random.fork_rng(), _summary_writer(log_dir) as writer:
        torch.manual_seed(seed)
        for epoch in epochs:
            start = time.perf_counter()
            row = {"epoch": epoch}
            row |= _train_epoch(step, train, batch_size)
            if valid is not None:
                logits = predict(result, valid.images, precision=precision)
                row["valid_loss"], row["valid_accuracy"] = loss_and_accuracy(logits, valid.labels)
            row["seconds"] = time.perf_counter() - start
            history.append(row)
            if writer:
                _log_epoch(writer, model, row)
            epochs.set_postfix({name: f"{row[name]:.4f}" for name in row if "loss" in name})
            if not math.isfinite(row["train_loss"]):
                break
            if valid is not None and row["valid_loss"] < best_loss:
                # Weights alone are kept: the optimizer goes on from where it is.
                best_loss, best_weights = row["valid_loss"], copy.deepcopy(result.state_dict())
    model.load_state_dict(best_weights or result.state_dict())
    model.eval()
    return pd.DataFrame(history)


def check_settings(
    num_images: int,
    *,
    lr,
    batch_size,
    num_epochs,
    seed,
    schedule,
    weight_decay,
    clip_norm,
    augmentation,
    ema_decay,
) -> None:
    """Raise ValueError, naming the setting, where ``fit`` could make no sense of it."""
    rules = {
        "lr": (lr, _is_number(lr) and lr > 0, "a number above 0"),
        "batch_size": (
            batch_size,
            _is_count(batch_size) and 1 <= batch_size <= num_images,
            f"a whole number from 1 to {num_images}",
        ),
        "num_epochs": (
            num_epochs,
            _is_count(num_epochs) and num_epochs >= 1,
            "a whole number, 1 or more",
        ),
        "seed": (seed, _is_count(seed) and seed >= 0, "a whole number, 0 or more"),
        "schedule": (schedule, schedule in SCHEDULES, f"one of {SCHEDULES}"),
        "weight_decay": (
            weight_decay,
            _is_number(weight_decay) and weight_decay >= 0,
            "a number, 0 or more",
        ),
        "clip_norm": (
            clip_norm,
            clip_norm is None or (_is_number(clip_norm) and clip_norm > 0),
            "a number above 0, or None",
        ),
        "ema_decay": (
            ema_decay,
            ema_decay is None or (_is_number(ema_decay) and 0 < ema_decay < 1),
            "a number above 0 and below 1, or None",
        ),
    }
    for name, (value, is_valid, rule) in rules.items():
        if not is_valid:
            raise ValueError(f"{name} must be {rule}, got {value!r}")
    try:
        Augmentation(**augmentation or {})
    except (TypeError, ValueError) as error:
        raise ValueError(f"augmentation cannot be {augmentation!r}: {error}") from error


def _is_number(value) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _is_count(value) -> bool:
    return isinstance(value, Integral)


def diverged(history: pd.DataFrame) -> bool:
    """Whether a training ended because its loss became NaN or infinite."""
    return not math.isfinite(history["train_loss"].iloc[-1])


def save_model(
    path: str | Path, model: nn.Module, *, hyperparameters: dict, seed: int, history: pd.DataFrame
) -> None:
    """Write a weights file that ``load_model`` reads without knowing anything else.

    It holds the state dict, the class and its arguments, the hyperparameters, the seed, the
    history and the library versions. The file appears whole or not at all.
    """
    content = {
        "format": FILE_FORMAT,
        "network": type(model).__name__,
        "arguments": model.arguments,
        "state_dict": {
            name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()
        },
        "hyperparameters": hyperparameters,
        "seed": seed,
        "history": history.to_dict("list"),
        "versions": {
            "python": platform.python_version(),
            # str() because torch.__version__ is of a class that weights_only=True refuses.
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
        },
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        torch.save(content, Path(folder) / path.name)
        (Path(folder) / path.name).replace(path)


def load_model(path: str | Path) -> nn.Module:
    """Return the network of a weights file, on the CPU, in eval mode.

    Raises:
        ModelFileError: the file is missing, damaged, foreign, or of another version of this
            repository.
    """
    content = read_model_file(path)
    try:
        model = NETWORKS[content["network"]](**content["arguments"])
        model.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} does not fit the networks of this version ({error}): {_CURE}"
        ) from error
    return model.eval()


def read_model_file(path: str | Path) -> dict:
    """Return everything that ``save_model`` wrote, as a dict; ``history`` as a DataFrame.

    Raises:
        ModelFileError: see ``load_model``.
    """
    if not Path(path).exists():
        raise ModelFileError(f"{path} does not exist: {_CURE}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at checksums
            if archive.testzip():
                raise zipfile.BadZipFile("a checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from damaged bytes the unpickler may raise anything
        raise ModelFileError(f"{path} is damaged or no weights file: {_CURE}") from error
    if not isinstance(content, dict) or content.get("format") != FILE_FORMAT:
        raise ModelFileError(f"{path} was not written by this version of save_model: {_CURE}")
    return content | {"history": pd.DataFrame(content["history"])}


_CURE = "delete it, then restore it (`git restore models`) or run the notebook that trains it."


def _scheduler(optimizer: torch.optim.Optimizer, schedule: str, num_steps: int):
    if schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    max_lr = optimizer.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=num_steps)


def _average(model: nn.Module, ema_decay: float | None) -> AveragedModel | None:
    if ema_decay is None:
        return None
    # Buffers as well: the batch norms' mean and variance belong to the weights.
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)


@dataclass
class _Step:
    """All that one step of the training changes or goes by."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    augment: Augmentation | None
    average: AveragedModel | None
    clip_norm: float | None
    precision: torch.dtype

    def __call__(self, batch: Digits) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Learn from a batch; return its logits, its loss, and the norm of the gradient."""
        images, device = to_float(batch.images), batch.images.device
        if self.augment:
            images = self.augment(images)
        low = self.precision != torch.float32
        with torch.autocast(device.type, dtype=self.precision, enabled=low):
            logits = self.model(images)
            loss = F.cross_entropy(logits, batch.labels)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.zeros((), device=device)
        if self.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        if self.average:
            self.average.update_parameters(self.model)
        return logits.detach(), loss.detach(), norm


def _train_epoch(step: _Step, train: Digits, batch_size: int) -> dict:
    """Train on every image once; return the part of the history's row that this gives."""
    step.model.train()
    device = train.images.device
    loss_sum, norm_sum = torch.zeros((), device=device), torch.zeros((), device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    batches = torch.randperm(len(train)).to(device).split(batch_size)
    for indices in batches:
        batch = train[indices]
        logits, loss, norm = step(batch)
        # Sums over images: the last, smaller batch counts for what it is.
        loss_sum += loss * len(batch)
        norm_sum += norm
        correct += (logits.argmax(1) == batch.labels).sum()
    row = {
        "learning_rate": step.scheduler.get_last_lr()[0],
        "train_loss": loss_sum.item() / len(train),
        "train_accuracy": correct.item() / len(train),
    }
    if step.clip_norm is not None:
        row["gradient_norm"] = norm_sum.item() / len(batches)
    return row


def _summary_writer(log_dir):
    if log_dir is None:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    return SummaryWriter(log_dir)


def _log_epoch(writer, model: nn.Module, row: dict) -> None:
    """Write what the history has, and histograms of weights and of the last batch's gradients."""
    for name in row.keys() - {"epoch"}:
        writer.add_scalar(name, row[name], row["epoch"])
    for name, parameter in model.named_parameters():
        for kind, values in (("weights", parameter), ("gradients", parameter.grad)):
            if values.isfinite().all():
                writer.add_histogram(f"{kind}/{name}", values.detach(), row["epoch"])
