"""A prepared picture -> the answer: what the models say, and what it rests on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from app.uploads import as_png
from study import evaluation, mnist, weights
from study.pictures import refusal
from study.pictures.preparation import Prepared

ROOT = Path(__file__).parent.parent
ANSWERING = "cnn_with_augmentation"  # the model whose answer is given; the others vote beside it
NUM_GALLERY = 10_000  # training images among which similar ones are looked for
NUM_NEIGHBOURS = 6
NUM_COPIES, COPY_NOISE = 16, 0.15  # of the image, for its saliency
ORANGE = np.array([255, 150, 0])  # red, green, blue


@dataclass(frozen=True)
class Voter:
    """A saved model: its name, version, and the network."""

    name: str
    version: str
    network: nn.Module


class Service:
    """The saved models, loaded once, and the training images to compare with.

    Args:
        root: the folder with ``models/`` and ``data/``.
    """

    def __init__(self, root: Path = ROOT):
        answering = root / "models" / f"{ANSWERING}.pt"
        others = sorted({*answering.parent.glob("*.pt")} - {answering})
        self.voters = [_voter(path) for path in (answering, *others)]
        self.answering = self.voters[0]
        fixed = refusal.load()
        if fixed.version != self.answering.version:
            logging.getLogger(__name__).warning(
                "%s is not the file that study/pictures/refusal.json was fixed for: run `make app-notebook`",
                answering.name,
            )
        self.threshold = fixed.threshold
        self.gallery = mnist.load(root / "data")[0][:NUM_GALLERY]
        self.gallery_features = self._features(self.gallery.images)

    def models(self) -> list[dict]:
        """Name, version, network and number of parameters of each model."""
        return [
            {
                "name": voter.name,
                "version": voter.version,
                "network": type(voter.network).__name__,
                "parameters": evaluation.num_parameters(voter.network),
                "answers": voter is self.answering,
            }
            for voter in self.voters
        ]

    def answer(self, prepared: Prepared, *, votes: bool = True, explain: bool = False) -> dict:
        """Return the answer to one picture, ready to become JSON.

        Args:
            votes: ask the other models, too.
            explain: add the steps of the preparation, a saliency map and similar training images,
                as pictures.
        """
        image = torch.from_numpy(prepared.image)[None]
        asked = self.voters if votes else [self.answering]
        answer = {
            "digit": None,
            "reason": "nothing drawn",
            "probabilities": None,
            "score": None,
            "threshold": self.threshold,
            "model": {"name": self.answering.name, "version": self.answering.version},
            "models": [],
            "image": prepared.image.tolist(),
        }
        if not prepared.is_blank:
            logits = [evaluation.predict(voter.network, image) for voter in asked]
            answer |= self._verdict(logits[0])
            answer["models"] = [_vote(*pair) for pair in zip(asked, logits, strict=True)]
        if explain:
            steps = prepared.steps.items()
            answer["steps"] = [{"name": name, "picture": as_png(step)} for name, step in steps]
            if not prepared.is_blank:
                answer |= {"saliency": self._saliency(image), "neighbours": self._neighbours(image)}
        return answer

    def _verdict(self, logits: torch.Tensor) -> dict:
        score = refusal.score(logits).item()
        known = score >= self.threshold
        return {
            "digit": logits.argmax().item() if known else None,
            "reason": None if known else "not a digit that I know",
            "probabilities": _rounded(logits.softmax(1)[0]),
            "score": round(score, 3),
        }

    def _saliency(self, image: torch.Tensor) -> str:
        """How much each pixel moves the largest logit: the digit in grey, under orange.

        SmoothGrad (Smilkov et al. 2017, https://arxiv.org/abs/1706.03825): the gradient, averaged
        over noisy copies.
        """
        noise = torch.randn(NUM_COPIES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        copies = (mnist.to_float(image) + COPY_NOISE * noise).requires_grad_()
        largest = self.answering.network(copies).max(1).values.sum()
        (gradient,) = torch.autograd.grad(largest, copies)
        saliency = gradient.abs().mean((0, 1))
        share = (saliency / saliency.max().clamp(min=1e-9)).numpy()[..., None]
        digit = 0.6 * image[0].numpy()[..., None]
        return as_png(((1 - share) * digit + share * ORANGE).astype(np.uint8))

    def _neighbours(self, image: torch.Tensor) -> list[dict]:
        """The training images whose features are most like those of ``image``, by their angle."""
        alike = self.gallery_features @ self._features(image)[0]
        nearest = alike.topk(NUM_NEIGHBOURS)
        return [
            {
                "label": self.gallery.labels[index].item(),
                "similarity": round(similarity, 3),
                "picture": as_png(self.gallery.images[index].numpy()),
            }
            for similarity, index in zip(
                nearest.values.tolist(), nearest.indices.tolist(), strict=True
            )
        ]

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """Features (N, 256) of length 1."""
        features = evaluation.predict(self.answering.network, images, method="features")
        return nn.functional.normalize(features)


def _voter(path: Path) -> Voter:
    network = weights.load_model(path)
    return Voter(path.stem, weights.version(network), network)


def _vote(voter: Voter, logits: torch.Tensor) -> dict:
    probabilities = logits.softmax(1)[0]
    return {
        "name": voter.name,
        "version": voter.version,
        "digit": logits.argmax().item(),
        "probabilities": _rounded(probabilities),
    }


def _rounded(probabilities: torch.Tensor) -> list[float]:
    return [float(value) for value in np.round(probabilities.double().numpy(), 5)]
