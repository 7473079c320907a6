"""Train one model."""

import copy
import math
import time
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from study import monitoring
from study.augmentation import Augmentation
from study.data import NUM_DIGITS, Digits, hard_labels, to_float
from study.device import where_to_train
from study.evaluation import loss_and_accuracy, one_thread, predict

# A model that guesses has a loss of ln 10; one that ends above twice that has learnt nothing.
DIVERGED = 2 * math.log(NUM_DIGITS)


def _strengths(values: dict) -> dict:
    if unknown := values.keys() - {field.name for field in fields(Augmentation)}:
        raise ValueError(f"has no strength {min(unknown)!r}")
    Augmentation(**values)
    return values


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False),
)
class Settings:
    """How ``fit`` trains: its keywords, each with its rule and its default.

    Raises:
        pydantic.ValidationError: a setting is unknown, missing, or breaks its rule.
    """

    # Learning rate of Adam; the peak of the one-cycle schedule.
    lr: PositiveFloat
    # Images a step, at most as many as there are.
    batch_size: PositiveInt
    # Passes over the training images.
    num_epochs: PositiveInt
    # Fixes the order of the images, their distortions and the dropout. The first weights are the
    # caller's: call torch.manual_seed before making the model.
    seed: NonNegativeInt = 0
    # Smith and Topin 2018 (https://arxiv.org/abs/1708.07120): up to lr, then down to almost
    # nothing, updated every batch; or the same rate throughout.
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    # Decoupled from the gradient (AdamW, Loshchilov and Hutter 2019,
    # https://arxiv.org/abs/1711.05101).
    weight_decay: NonNegativeFloat = 0.0
    # Largest norm of the gradient over all parameters; None: not clipped.
    clip_norm: PositiveFloat | None = None
    # Part of the target that is spread over all classes (Szegedy et al. 2016,
    # https://arxiv.org/abs/1512.00567).
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # Strengths of Augmentation by name; each batch is distorted anew. None: images as they are.
    augmentation: Annotated[dict[str, float | bool], AfterValidator(_strengths)] | None = None
    # Decay of an exponential moving average of the weights (Polyak and Juditsky 1992,
    # https://doi.org/10.1137/0330046), which replaces them for evaluation and in the result; None:
    # no averaging.
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None

    @classmethod
    def of(cls, values: dict) -> "Settings":
        """Check settings by name.

        Raises:
            ValueError: a setting is unknown, missing, or breaks its rule; one line names each.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            by_name = {one["loc"][0]: one for one in reversed(error.errors())}
            lines = (_in_a_line(name, one) for name, one in by_name.items())
            raise ValueError("; ".join(lines)) from None

    def check_batches(self, model: nn.Module, num_images: int) -> None:
        """Try what training would otherwise run into at the end of an epoch.

        Raises:
            ValueError: a batch would hold more images than there are, or the last one a single
                image, which ``model`` cannot normalise.
        """
        if self.batch_size > num_images:
            raise ValueError(
                f"batch_size must be at most the {num_images} images, got {self.batch_size}"
            )
        if num_images % self.batch_size == 1 or self.batch_size == 1:
            try:
                with torch.random.fork_rng():
                    image = torch.zeros(1, 1, 28, 28, device=next(model.parameters()).device)
                    copy.deepcopy(model).train()(image)
            except ValueError as error:
                raise ValueError(
                    f"batch_size {self.batch_size} leaves a batch of a single one of {num_images} "
                    f"images, which batch normalisation cannot learn from ({error})"
                ) from error


def _in_a_line(name: str, error: dict) -> str:
    """Say what is wrong with a setting, such as "lr must be greater than 0, got -1"."""
    if error["type"].startswith("missing"):
        return f"setting {name!r} is missing"
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown setting {name!r}"
    if error["type"] == "value_error":  # it says what it got
        return f"{name}: {error['msg'].removeprefix('Value error, ')}"
    return f"{name} {error['msg'].replace('Input should be', 'must be')}, got {error['input']!r}"


def fit(
    model: nn.Module,
    train: Digits,
    valid: Digits | None = None,
    *,
    device: str | None = None,
    precision: str | None = None,
    log_dir: str | Path | None = None,
    progress: bool = True,
    **settings,
) -> pd.DataFrame:
    """Train ``model`` in place with Adam and cross-entropy; return its history.

    Images are cut from one tensor in memory, in a new random order each epoch. With ``valid`` the
    model ends with the weights of the epoch that had the lowest validation loss, else with those of
    the last epoch. A training loss that is not finite ends the training (see ``diverged``). The
    model is left in eval mode, on the device that it was trained on.

    Args:
        model: from images (N, 1, 28, 28) to logits; on any device.
        train: uint8 images (N, 28, 28) and their labels.
        valid: the same, to choose the epoch.
        device: such as "cpu" beside a GPU that torch cannot use; by default the accelerator if
            there is one.
        precision: "float32" or "bfloat16"; by default bfloat16 where that is fast.
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
        ValueError: a setting is unknown, missing, or makes no sense; the message names it.
    """
    settings = Settings.of(settings)
    device, precision = where_to_train(device, precision)
    model.to(device, memory_format=torch.channels_last)
    settings.check_batches(model, len(train))
    train = Digits(train.images.to(device), train.labels.to(device))
    trainer = _Trainer(model, settings, math.ceil(len(train) / settings.batch_size), precision)
    result = trainer.average.module if trainer.average else model  # whose weights count

    history, best_loss, best_weights = [], math.inf, None
    epochs = monitoring.epochs(settings.num_epochs, progress)
    with torch.random.fork_rng(), monitoring.summary_writer(log_dir) as writer:
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
                monitoring.log_epoch(writer, model, row)
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
    """Return whether the last epoch's training or validation loss is NaN, or above ``DIVERGED``."""
    return not (history.filter(like="loss").iloc[-1] <= DIVERGED).all()


def train_network(
    network: type[nn.Module],
    arguments: dict,
    train: Digits,
    valid: Digits | None = None,
    *,
    device: str | None = None,
    precision: str | None = None,
    log_dir: str | Path | None = None,
    **settings,
) -> tuple[nn.Module, pd.DataFrame, dict]:
    """Make a network from ``settings["seed"]``, train it on one thread, and evaluate it.

    Another number of threads would add in another order, and end with other weights.

    Args:
        network, arguments: a class and its arguments.
        train, valid, device, precision, log_dir, settings: see ``fit``.

    Returns:
        The network, in eval mode; its history; and how it ended: ``status`` ("finished" or
        "diverged"), ``train_loss`` (nats) and ``train_accuracy`` (0 to 1) of the finished network
        on the training images, with ``valid`` the ``best_epoch`` and its ``valid_loss`` and
        ``valid_accuracy``, and ``seconds``.
    """
    where = {"device": device, "precision": precision}
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(settings.get("seed", 0))
        model = network(**arguments)
        history = fit(model, train, valid, **where, log_dir=log_dir, progress=False, **settings)
        logits = predict(model, train.images, precision=where_to_train(**where)[1])
    loss, accuracy = loss_and_accuracy(logits, train.labels)
    failed = diverged(history) or not loss <= DIVERGED  # the last step may have made weights NaN
    result = {"status": "diverged" if failed else "finished"}
    result |= {"train_loss": loss, "train_accuracy": accuracy}
    if valid is not None:
        # If no epoch has a finite loss, the first one is reported.
        best = history.loc[history["valid_loss"].fillna(np.inf).idxmin()]
        result["best_epoch"] = int(best["epoch"])
        result |= {name: float(best[name]) for name in ("valid_loss", "valid_accuracy")}
    return model, history, result | {"seconds": float(history["seconds"].sum())}


class _Trainer:
    """A model with its optimizer, schedule, augmentation and averaged weights."""

    def __init__(
        self, model: nn.Module, settings: Settings, steps_per_epoch: int, precision: torch.dtype
    ):
        self.model, self.settings, self.precision = model, settings, precision
        lr = settings.lr
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
