"""Predict with a network, and count what it got right."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import joblib
import torch
from torch import nn
from torch.nn import functional as F

from study.data import NO_DIGIT, NUM_DIGITS, Digits, hard_labels, to_float

# A picture is refused where "no digit" is at least as probable as all ten digits together.
REFUSAL_THRESHOLD = 0.5


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: torch.Tensor,
    *,
    batch_size: int = 256,
    precision: torch.dtype = torch.float32,
    method: str = "forward",
) -> torch.Tensor:
    """Return the logits of a network for uint8 images, on the CPU, as float32 (N, classes).

    The network is evaluated on the device it is on, with dropout off, and left in the mode it
    was in.

    Args:
        images: uint8, shape (N, 28, 28).
        precision: torch.bfloat16 computes faster where the processor can. Numbers of the test set
            are computed in float32, which every machine has; those of a search, made while
            training, in the precision of the training.
        method: which method of the network to call in place of ``forward``: "features" returns
            (N, features), "logits_by_row" of a recurrent network (N, rows, classes).
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        outputs = [
            getattr(model, method)(to_float(batch.to(device))).float()
            for batch in images.split(batch_size)
        ]
    model.train(was_training)
    return torch.cat(outputs).cpu()


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute with one thread within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def predict_on_all_cores(
    model: nn.Module, images: torch.Tensor, *, precision: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return the logits of ``predict`` on one thread, faster: each core takes whole batches.

    The network must be in eval mode, on the CPU.
    """
    with one_thread(), ThreadPoolExecutor(joblib.cpu_count(only_physical_cores=True)) as pool:
        batches = images.split(256)  # those of predict
        return torch.cat(list(pool.map(partial(predict, model, precision=precision), batches)))


def loss_and_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return mean cross-entropy (nats) over all N images, and accuracy (0 to 1) on the digits.

    Args:
        logits: float, shape (N, 10), or (N, 11) of a network that knows "no digit".
        labels: int64, shape (N,); 10 marks an image of no digit, which has no part in the
            accuracy. Or soft labels (N, classes); the accuracy is then that of the most probable.
    """
    loss, labels = F.cross_entropy(logits, labels).item(), hard_labels(labels)
    num_digits = int((labels < NUM_DIGITS).sum())
    return loss, num_correct(logits, labels) / num_digits


def num_correct(logits: torch.Tensor, labels: torch.Tensor) -> int:
    """Return how many of the N images have the largest of their first ten logits at their label.

    The logit of "no digit" is ignored: a digit that is rejected still counts as correct if its most
    probable class among the ten is right. See ``num_refused``.
    """
    return int((logits[:, :NUM_DIGITS].argmax(1) == labels).sum())


def num_refused(logits: torch.Tensor) -> int:
    """Return how many of the N images have their largest logit at "no digit"; 0 without one."""
    return int((logits.argmax(1) >= NUM_DIGITS).sum())


def num_parameters(model: nn.Module) -> int:
    """Return how many numbers of a network are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def evaluate(model: nn.Module, digits: Digits) -> tuple[float, float]:
    """Return loss and accuracy of a network on ``digits``, in float32."""
    return loss_and_accuracy(predict(model, digits.images), digits.labels)


def no_digit_probability(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability that each image shows no digit: (N,), 0 to 1, for logits (N, 11)."""
    return logits.softmax(1)[:, NO_DIGIT]


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Return how little each image looks like any digit: (N,) for logits (N, 10) or (N, 11).

    This is the energy of Liu et al. 2020 (https://arxiv.org/abs/2010.03759), minus the logarithm of
    the sum of the exponentials of the ten digits' logits. It needs no eleventh output.
    """
    return -logits[:, :NUM_DIGITS].logsumexp(1)
