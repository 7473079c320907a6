"""Knowledge distillation: trained networks label the images for another network."""

from collections.abc import Sequence

import torch
from torch import nn

from study.augmentation import Augmentation
from study.data import Digits, to_float
from study.device import fast_precision
from study.evaluation import one_thread, predict_on_all_cores


def soft_labels(
    teachers: Sequence[nn.Module],
    digits: Digits,
    augmentation: dict[str, float],
    *,
    num_views: int,
    seed: int,
) -> Digits:
    """Return the same images, labelled with the teachers' mean probabilities.

    A teacher is so sure of the images it was trained on that its answers say little more than their
    labels do; Hinton et al. (2015, https://arxiv.org/abs/1503.02531) soften the answers. Here the
    teacher classifies distorted views of each image, as the student will see them.

    Args:
        teachers: networks on the CPU, in eval mode; their probabilities are averaged.
        augmentation: the student's strengths of ``augmentation.Augmentation``, by name.
        num_views: how many distorted views of each image; the probabilities are averaged again.
        seed: of the distortions.

    Returns:
        Digits whose labels are float32 (N, classes); each row sums to 1.
    """
    distort, precision = Augmentation(**augmentation), fast_precision(torch.device("cpu"))
    total = 0
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(num_views):
            views = [distort(to_float(part)) for part in digits.images.split(1024)]
            views = (255 * torch.cat(views)[:, 0]).round().to(torch.uint8)
            for teacher in teachers:
                logits = predict_on_all_cores(teacher, views, precision=precision)
                total = total + logits.softmax(1)
    return Digits(digits.images, total / (num_views * len(teachers)))
