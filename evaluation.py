"""Predictions -> numbers."""

from __future__ import annotations

import torch
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional as F

from mnist import Digits, to_float


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: torch.Tensor,
    *,
    batch_size: int = 1000,
    precision: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Return the logits of a network for uint8 images, on the CPU, as float32 (N, 10).

    The network is evaluated on the device it is on, with dropout off, and left in the mode it
    was in.

    Args:
        images: uint8, shape (N, 28, 28).
        precision: torch.bfloat16 computes faster where the processor can; reported numbers are
            computed in float32, which every machine has.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        logits = [model(to_float(batch.to(device))).float() for batch in images.split(batch_size)]
    model.train(was_training)
    return torch.cat(logits).cpu()


def loss_and_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return mean cross-entropy (nats) and accuracy (0 to 1) over all N images.

    Args:
        logits: float, shape (N, 10).
        labels: int64, shape (N,).
    """
    loss = F.cross_entropy(logits, labels).item()
    return loss, num_correct(logits, labels) / len(labels)


def num_correct(logits: torch.Tensor, labels: torch.Tensor) -> int:
    """Return how many of the N images have their largest logit at their label."""
    return int((logits.argmax(1) == labels).sum())


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of an accuracy of ``correct`` out of ``total``.

    Wilson's score interval (1927), which holds its level near 100 % where the usual normal
    interval does not.
    """
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def evaluate(model: nn.Module, digits: Digits) -> tuple[float, float]:
    """Return loss and accuracy of a network on ``digits``, in float32."""
    return loss_and_accuracy(predict(model, digits.images), digits.labels)
