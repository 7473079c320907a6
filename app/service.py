"""A prepared picture -> the answer: what the models say, and why."""

import base64
import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from study import evaluation, mnist, weights
from study.pictures import refusal
from study.pictures.preparation import Prepared
from study.report import NAMES

ROOT = Path(__file__).parent.parent
# Files in models/. One gives the answer, and the others vote beside it: one of each kind, and at
# most eight in all, since every one of them makes the answer slower.
ANSWERING = "robust"
VOTERS = ANSWERING, "robust_small", "with_augmentation", "ensemble", "rnn", "gru", "lstm", "bilstm"
NO_DIGIT = evaluation.NUM_DIGITS  # the place of "no digit" among eleven outputs
NOTHING_DRAWN = {
    "digit": None,
    "closest": None,
    "reason": "nothing drawn",
    "probabilities": None,
    "score": None,
}
NUM_GALLERY = 10_000  # training images that are searched for similar ones
NUM_NEIGHBOURS = 6
NUM_COPIES, COPY_NOISE = 16, 0.15  # of the image, to compute its saliency
ORANGE = np.array([255, 150, 0])  # red, green, blue
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voter:
    """A saved model: its network, the stem of its file, and the version of its weights."""

    network: torch.nn.Module
    file: str
    version: str

    def label(self) -> dict[str, str]:
        """What an answer calls the model by."""
        return {"name": NAMES.get(self.file, self.file), "file": self.file, "version": self.version}

    def vote(self, logits: torch.Tensor) -> dict:
        """What the model answers, given its logits (1, 10), or (1, 11) if it knows "no digit"."""
        probabilities = np.round(logits.softmax(1)[0].double().numpy(), 5).tolist()
        largest = logits.argmax().item()
        digit = None if largest == NO_DIGIT else largest
        return self.label() | {"digit": digit, "probabilities": probabilities}


class Service:
    """The voters, loaded once, and training images to compare with.

    A voter that cannot be loaded is left out, and the log says why.

    Args:
        root: the folder with ``models/`` and ``data/``.

    Raises:
        ModelFileError: the answering model cannot be loaded.
        DataError: MNIST cannot be loaded.
    """

    def __init__(self, root: Path = ROOT):
        self.answering = _load(root, ANSWERING, (11,))
        self.voters = [self.answering]
        for file in VOTERS[1:]:
            try:
                self.voters.append(_load(root, file, (10, 11)))
            except Exception as error:  # a foreign file may raise anything
                LOG.warning("The model %r does not vote: %s", NAMES.get(file, file), error)
        fixed = refusal.load()
        if fixed.version != self.answering.version:
            LOG.warning(
                "The threshold was fixed for other weights than those in models/%s.pt; "
                "execute draw_a_digit.ipynb to fix it again.",
                ANSWERING,
            )
        self.threshold = fixed.threshold
        self.gallery = mnist.load(root / "data")[0][:NUM_GALLERY]
        self.gallery_features = self._features(self.gallery.images)

    def models(self) -> list[dict]:
        """Return label, network and number of parameters of each voter, the answering one first."""
        return [
            {
                **voter.label(),
                "network": type(voter.network).__name__,
                "parameters": evaluation.num_parameters(voter.network),
                "answers": voter is self.answering,
            }
            for voter in self.voters
        ]

    def answer(self, prepared: Prepared, *, votes: bool = True, explain: bool = False) -> dict:
        """Return the answer to one picture, ready to be written as JSON (see ``docs/api.md``).

        Args:
            votes: ask the other voters too.
            explain: add pictures of the steps of the preparation, of the saliency and of similar
                training images.
        """
        image = torch.from_numpy(prepared.image)[None]
        asked = self.voters if votes else [self.answering]
        verdict, given = NOTHING_DRAWN, []
        if not prepared.is_blank:
            logits = [evaluation.predict(voter.network, image) for voter in asked]
            given = [voter.vote(output) for voter, output in zip(asked, logits, strict=True)]
            verdict = self._verdict(logits[0], given[0]["probabilities"])
            given[0]["digit"] = verdict["digit"]  # by the threshold, not by its largest output
        answer = verdict | {
            "threshold": self.threshold,
            "model": self.answering.label(),
            "models": given,
            "image": prepared.image.tolist(),
        }
        if explain:
            steps = prepared.steps.items()
            answer["steps"] = [{"name": name, "picture": _as_png(step)} for name, step in steps]
            if not prepared.is_blank:
                answer |= {"saliency": self._saliency(image), "neighbours": self._neighbours(image)}
        return answer

    def _verdict(self, logits: torch.Tensor, probabilities: list[float]) -> dict:
        """The answer and its grounds, given the answering model's logits (1, 11)."""
        closest = logits[0, :NO_DIGIT].argmax().item()
        known = refusal.score(logits).item() < self.threshold
        return {
            "digit": closest if known else None,
            "closest": closest,
            "reason": None if known else "no digit that I know",
            "probabilities": probabilities,
            "score": probabilities[NO_DIGIT],
        }

    def _saliency(self, image: torch.Tensor) -> str:
        """Show how strongly each pixel affects the largest logit: orange over the grey digit.

        SmoothGrad (Smilkov et al. 2017, https://arxiv.org/abs/1706.03825): the gradient, averaged
        over noisy copies of the image.
        """
        noise = torch.randn(NUM_COPIES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        copies = (mnist.to_float(image) + COPY_NOISE * noise).requires_grad_()
        largest = self.answering.network(copies).max(1).values.sum()
        (gradient,) = torch.autograd.grad(largest, copies)
        saliency = gradient.abs().mean((0, 1))
        share = (saliency / saliency.max().clamp(min=1e-9)).numpy()[..., None]
        digit = 0.6 * image[0].numpy()[..., None]
        return _as_png(((1 - share) * digit + share * ORANGE).astype(np.uint8))

    def _neighbours(self, image: torch.Tensor) -> list[dict]:
        """The training images whose features have the largest cosine similarity to the image's."""
        similarity = self.gallery_features @ self._features(image)[0]
        return [
            {
                "label": self.gallery.labels[index].item(),
                "similarity": round(value.item(), 3),
                "picture": _as_png(self.gallery.images[index].numpy()),
            }
            for value, index in zip(*similarity.topk(NUM_NEIGHBOURS), strict=True)
        ]

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """The features of images, scaled to length 1."""
        features = evaluation.predict(self.answering.network, images, method="features")
        return torch.nn.functional.normalize(features)


def _load(root: Path, file: str, outputs: tuple[int, ...]) -> Voter:
    """Load a model that may have one of these numbers of outputs."""
    path = root / "models" / f"{file}.pt"
    network = weights.load_model(path)
    logits = evaluation.predict(network, torch.zeros(1, 28, 28, dtype=torch.uint8))
    if logits.shape not in [(1, count) for count in outputs] or not logits.isfinite().all():
        wanted = " or ".join(map(str, outputs))
        raise weights.ModelFileError(
            f"The network in {path} does not return {wanted} finite logits "
            '(one for each digit, and an eleventh for "no digit").'
        )
    return Voter(network, file, weights.version(network))


def _as_png(picture: np.ndarray) -> str:
    """A uint8 picture, grey or RGB, as a PNG in a data URL, for an <img>."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
