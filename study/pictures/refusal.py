"""When to answer "not a digit that I know".

A network spreads its ten probabilities over the digits whatever it is shown, so that they cannot
say that none fits. The size of its logits can: it is small where nothing that it learnt is found.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

PATH = Path(__file__).parent / "refusal.json"


@dataclass(frozen=True)
class Refusal:
    """A threshold, and the weights file whose scores it was fixed on by ``draw_a_digit.ipynb``.

    Attributes:
        model: name of the weights file, without its folder and ending.
        version: its ``weights.version``.
        threshold: what scores less is refused.
        digits_refused: share of the real digits, changed for the worse, that scored less.
        non_digits_refused: share of the pictures of something else that scored less.
    """

    model: str
    version: str
    threshold: float
    digits_refused: float
    non_digits_refused: float

    def save(self, path: str | Path = PATH) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def load(path: str | Path = PATH) -> Refusal:
    """Return what ``Refusal.save`` wrote."""
    return Refusal(**json.loads(Path(path).read_text(encoding="utf-8")))


def score(logits: torch.Tensor) -> torch.Tensor:
    """Return how much an image looks like some digit: (N,) for logits (N, 10).

    The negative energy of Liu et al. 2020 (https://arxiv.org/abs/2010.03759): the logarithm of the
    sum of the exponentials.
    """
    return logits.logsumexp(1)
