"""When to answer "not a digit that I know".

A network's ten probabilities sum to one whatever it is shown, so they cannot say that no digit
fits. The size of its logits can: they are small where the network finds nothing that it has learnt.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from study.files import write_whole

PATH = Path(__file__).parent / "refusal.json"


@dataclass(frozen=True)
class Refusal:
    """A threshold, and the model on whose scores ``draw_a_digit.ipynb`` fixed it.

    Attributes:
        model: its weights file in ``models/``, without the ending.
        version: its ``weights.version``.
        threshold: images that score less are refused.
        digits_refused: share of the degraded training digits that scored less.
        non_digits_refused: share of the pictures of other things that scored less.
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
    """Return how much each image looks like any digit: (N,) for logits (N, 10).

    This is the negative energy of Liu et al. 2020 (https://arxiv.org/abs/2010.03759): the logarithm
    of the sum of the exponentials of the logits.
    """
    return logits.logsumexp(1)
