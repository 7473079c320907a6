"""When to answer "no digit that I know".

The ten probabilities of a network that has seen nothing but digits sum to one whatever it is shown,
so they cannot say that no digit fits. The answering model has an eleventh output for that, trained
on pictures of other things.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from study.files import write_whole

NUM_DIGITS = 10
PATH = Path(__file__).parent / "refusal.json"


@dataclass(frozen=True)
class Refusal:
    """A threshold, and the model on whose scores ``draw_a_digit.ipynb`` fixed it.

    Attributes:
        model: its weights file in ``models/``, without the ending.
        version: its ``weights.version``.
        threshold: images that score as much or more are refused.
        digits_refused: share of the digits that it was fixed on, degraded and drawn, that it
            refuses.
        non_digits_refused: share of the pictures of other things that it refuses, the mean over
            their kinds.
    """

    model: str
    version: str
    threshold: float
    digits_refused: float
    non_digits_refused: float

    def save(self, path: str | Path = PATH) -> None:
        """Write the threshold and its origin as JSON."""
        write_whole(path, (json.dumps(asdict(self), indent=2) + "\n").encode())


def load(path: str | Path = PATH) -> Refusal:
    """Return what ``Refusal.save`` wrote."""
    return Refusal(**json.loads(Path(path).read_text(encoding="utf-8")))


def score(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability that each image is no digit: (N,), 0 to 1, for logits (N, 11)."""
    return logits.softmax(1)[:, NUM_DIGITS]


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Return how little each image looks like any digit: (N,) for logits (N, 10) or (N, 11).

    This is the energy of Liu et al. 2020 (https://arxiv.org/abs/2010.03759), minus the logarithm of
    the sum of the exponentials of the ten digits' logits. It needs no eleventh output.
    """
    return -logits[:, :NUM_DIGITS].logsumexp(1)
