"""Train one model."""

import copy
import math
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_type_hints

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from study.augmentation import Augmentation
from study.data import Digits, hard_labels, to_float
from study.evaluation import NUM_DIGITS, loss_and_accuracy, predict
from study.settings import kwargs_of, number, one_of, or_none, whole

HISTOGRAM_LIMIT = 1e20  # TensorBoard's bins end there; a histogram of larger values is an error


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How ``fit`` trains: its keywords, each with its rule and its default.

    Raises:
        ValueError: a setting makes no sense; the message names it.
    """

    # Learning rate of Adam; the peak of the one-cycle schedule.
    lr: Annotated[float, number(above=0)]
    # Images a step, at most as many as there are.
    batch_size: Annotated[int, whole(1)]
    # Passes over the training images.
    num_epochs: Annotated[int, whole(1)]
    # Fixes the order of the images, their distortions and the dropout. The first weights are the
    # caller's: call torch.manual_seed before making the model.
    seed: Annotated[int, whole(0)] = 0
    # Smith and Topin 2018 (https://arxiv.org/abs/1708.07120): up to lr, then down to almost
    # nothing, updated every batch; or the same rate throughout.
    schedule: Annotated[str, one_of("one_cycle", "constant")] = "one_cycle"
    # Decoupled from the gradient (AdamW, Loshchilov and Hutter 2019,
    # https://arxiv.org/abs/1711.05101).
    weight_decay: Annotated[float, number(least=0)] = 0.0
    # Largest norm of the gradient over all parameters.
    clip_norm: Annotated[float | None, or_none(number(above=0))] = None
    # Part of the target that is spread over all classes (Szegedy et al. 2016,
    # https://arxiv.org/abs/1512.00567).
    label_smoothing: Annotated[float, number(least=0, below=1)] = 0.0
    # Strengths of Augmentation by name; each batch is distorted anew. None: as the images are.
    augmentation: Annotated[dict[str, float] | None, or_none(kwargs_of(Augmentation))] = None
    # Evaluate, and end with, an exponential moving average of the weights (Polyak and Juditsky
    # 1992, https://doi.org/10.1137/0330046); this part of it is kept at each step.
    ema_decay: Annotated[float | None, or_none(number(above=0, below=1))] = None

    def __post_init__(self):
        for name, hint in get_type_hints(Settings, include_extras=True).items():
            hint.__metadata__[0].check(name, getattr(self, name))

    def check_batch_size(self, num_images: int) -> None:
        """Raise ValueError where a batch would be larger than the set."""
        whole(1, num_images).check("batch_size", self.batch_size)


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
    log_dir: str | Path | None = None,
    progress: bool = True,
    **settings,
) -> pd.DataFrame:
    """Train ``model`` in place with Adam and cross-entropy; return its history.

    Images are cut from one tensor in memory, in a new random order each epoch. The model is moved
    to the accelerator if there is one, and computes in bfloat16 where that is fast. With ``valid``
    it ends with the weights of the epoch that had the lowest validation loss, else with those of
    the last epoch. A training loss that is not finite ends the training (see ``diverged``).
    The model is left in eval mode.

    Args:
        model: from images (N, 1, 28, 28) to logits; on any device.
        train: uint8 images (N, 28, 28) and their labels.
        valid: the same, to choose the epoch.
        log_dir: folder for a TensorBoard log, or None for none.
        progress: show a line of text that follows the epochs.
        settings: ``lr``, ``batch_size``, ``num_epochs`` and any other of ``Settings``.

    Returns:
        One row an epoch: ``epoch`` (from 1), ``learning_rate`` (at its end), ``train_loss`` (nats)
        and ``train_accuracy`` (0 to 1, on the digits), both as met while learning: with dropout,
        by weights that change within the epoch; ``gradient_norm`` (mean over the batches, before
        clipping), where clipped; ``valid_loss`` and ``valid_accuracy`` after the epoch, where
        given; ``seconds``.

    Raises:
        TypeError: a setting is unknown, or missing.
        ValueError: a setting makes no sense; the message names it.
    """
    settings = Settings(**settings)
    settings.check_batch_size(len(train))
    device = default_device()
    model.to(device, memory_format=torch.channels_last)
    train = Digits(train.images.to(device), train.labels.to(device))
    trainer = _Trainer(model, settings, math.ceil(len(train) / settings.batch_size))
    result = trainer.average.module if trainer.average else model  # whose weights count

    history, best_loss, best_weights = [], math.inf, None
    epochs = range(1, settings.num_epochs + 1)
    epochs = tqdm(epochs, "training", unit="epoch", disable=not progress, file=sys.stdout)
    with torch.random.fork_rng(), _summary_writer(log_dir) as writer:
        torch.manual_seed(settings.seed)
        for epoch in epochs:
            start = time.perf_counter()
            row = {"epoch": epoch} | trainer.epoch(train)
            if valid is not None:
                logits = predict(result, valid.images, precision=trainer.precision)
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


def diverged(history: pd.DataFrame) -> bool:
    """Whether the training or the validation loss of the last epoch is NaN or infinite."""
    return not np.isfinite(history.filter(like="loss").iloc[-1]).all()


class _Trainer:
    """A model with its optimizer, schedule, augmentation and averaged weights."""

    def __init__(self, model: nn.Module, settings: Settings, steps_per_epoch: int):
        self.model, self.settings, lr = model, settings, settings.lr
        self.precision = fast_precision(default_device())
        decay = {"weight_decay": settings.weight_decay, "decoupled_weight_decay": True}
        self.optimizer = torch.optim.Adam(model.parameters(), lr, fused=True, **decay)
        schedules = torch.optim.lr_scheduler
        if settings.schedule == "constant":
            self.scheduler = schedules.ConstantLR(self.optimizer, factor=1)
        else:
            steps = settings.num_epochs * steps_per_epoch
            self.scheduler = schedules.OneCycleLR(self.optimizer, lr, total_steps=steps)
        self.augment = Augmentation(**settings.augmentation) if settings.augmentation else None
        self.average = None
        if settings.ema_decay is not None:
            # Buffers as well: the batch norms' mean and variance belong to the weights.
            average = get_ema_multi_avg_fn(settings.ema_decay)
            self.average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)

    def step(self, batch: Digits) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Learn from a batch; return its logits, its loss, and the norm of the gradient."""
        images, device = to_float(batch.images), batch.images.device
        if self.augment:
            images = self.augment(images)
        low = self.precision != torch.float32
        with torch.autocast(device.type, dtype=self.precision, enabled=low):
            logits = self.model(images)
            loss = F.cross_entropy(logits, batch.labels)  # as the validation loss: unsmoothed
            smoothing = self.settings.label_smoothing
            target = F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        self.optimizer.zero_grad()
        target.backward()
        norm = torch.zeros((), device=device)
        if self.settings.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        if self.average:
            self.average.update_parameters(self.model)
        return logits.detach(), loss.detach(), norm

    def epoch(self, train: Digits) -> dict:
        """Train on every image once; return the part of the history's row that this gives."""
        self.model.train()
        loss_sum, norm_sum, correct = torch.zeros(3, device=train.images.device)
        batches = torch.randperm(len(train)).to(train.images.device)
        batches = batches.split(self.settings.batch_size)
        for indices in batches:
            batch = train[indices]
            logits, loss, norm = self.step(batch)
            # Sums over images: the last, smaller batch counts for what it is.
            loss_sum += loss * len(batch)
            norm_sum += norm
            correct += (logits[:, :NUM_DIGITS].argmax(1) == hard_labels(batch.labels)).sum()
        row = {
            "learning_rate": self.scheduler.get_last_lr()[0],
            "train_loss": loss_sum.item() / len(train),
            "train_accuracy": correct.item() / int((hard_labels(train.labels) < NUM_DIGITS).sum()),
        }
        if self.settings.clip_norm is not None:
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
            if values.abs().max() < HISTOGRAM_LIMIT:  # not so if any value is NaN
                writer.add_histogram(f"{kind}/{name}", values.detach(), row["epoch"])
