"""A picture -> the answer: what the models say, and why."""

import base64
import io
import itertools
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from study import data, evaluation, weights
from study.data import NO_DIGIT
from study.reading.finder import load_finder
from study.reading.form import IMAGE_SIZE
from study.reading.reader import SAVED, Digit, Reader, Reading, classifies
from study.tables import NAMES

ROOT = Path(__file__).parent.parent
# Files in models/. One gives the answer, and the others vote beside it: one of each kind, and at
# most eight in all, since every one of them makes the answer slower.
ANSWERING = "robust"
VOTERS = ANSWERING, "robust_small", "with_augmentation", "ensemble", "rnn", "gru", "lstm", "bilstm"
NO_ANSWER = {"digit": None, "closest": None, "reason": None, "probabilities": None, "score": None}
NOTHING_DRAWN = NO_ANSWER | {"reason": "nothing drawn"}
SEVERAL_DIGITS = NO_ANSWER | {"reason": "several digits"}
NUM_GALLERY = 10_000  # training images that are searched for similar ones
NUM_NEIGHBOURS = 6
HIDDEN, STEP = 7, 3  # pixels: side of the square that occlusion hides, and how far it moves
GREY, ORANGE = np.array([200, 200, 200]), np.array([255, 130, 0])  # red, green, blue
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voter:
    """A saved model: its network, the stem of its file, and the version of its weights."""

    network: torch.nn.Module
    file: str
    version: str

    def label(self) -> dict[str, str]:
        """Return what an answer calls the model."""
        return {"name": NAMES[self.file], "file": self.file, "version": self.version}

    def vote(self, logits: torch.Tensor) -> dict:
        """Return what the model answers, given its logits (1, 10), or (1, 11) with "no digit"."""
        largest = logits.argmax().item()
        digit = None if largest == NO_DIGIT else largest
        return self.label() | {"digit": digit, "probabilities": _probabilities(logits)}


class _Classifier:
    """Show images to a network, each image of a picture once."""

    def __init__(self, network: torch.nn.Module):
        self.classify = classifies(network)
        self.seen: dict[bytes, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities (N, 11) of images, uint8 (N, 28, 28)."""
        keys = [image.tobytes() for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self.seen}
        if new:
            self.seen |= zip(new, self.classify(np.stack(list(new.values()))), strict=True)
        return np.stack([self.seen[key] for key in keys])


def _entry(one: Digit) -> dict:
    """Return what an answer says about one digit."""
    probabilities = np.round(one.probabilities.astype(float), 5).tolist()
    is_none = one.probabilities[NO_DIGIT] >= evaluation.REFUSAL_THRESHOLD
    refused = "no digit that I know" if is_none else "not sure which digit"
    return {
        "digit": one.digit,
        "closest": one.closest,
        "reason": refused if one.digit is None else None,
        "probabilities": probabilities,
        "score": probabilities[NO_DIGIT],
        "box": [round(side, 4) for side in one.prepared.box],
        "image": one.prepared.image.tolist(),
    }


def _lines(reading: Reading) -> list[dict]:
    """Return the lines of a reading: the text of each, its box, and its digits by their places."""
    lines, place = [], itertools.count()
    for line in reading.lines:
        boxes = np.array([one.prepared.box for one in line])
        sides = [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
        digits = [{"digit": one.digit, "place": next(place)} for one in line]
        text = "".join("?" if one.digit is None else str(one.digit) for one in line)
        lines.append({"text": text, "box": [round(float(s), 4) for s in sides], "digits": digits})
    return lines


class Service:
    """The answering model and the voters, loaded once, and training images to compare with.

    A voter that cannot be loaded is left out, and the log says why.

    Args:
        root: the folder with ``models/`` and ``data/``.
        votes: load the other voters and the training images now. Otherwise, no other model votes,
            and the training images are loaded when an explanation first needs them.

    Raises:
        ModelFileError: the answering model, or the finder, cannot be loaded.
        DataError: MNIST cannot be loaded.
    """

    def __init__(self, root: Path = ROOT, votes: bool = True):
        self.root = root
        self.answering = _load(root, ANSWERING, (11,))
        self.finder = load_finder(root / "models" / SAVED[0])
        self.voters = [self.answering]
        if votes:
            self.voters += _load_others(root)
            _ = self.gallery

    @cached_property
    def gallery(self) -> tuple[data.Digits, torch.Tensor]:
        """Return training images and their features."""
        digits = data.load(self.root / "data")[0][:NUM_GALLERY]
        return digits, self._features(digits.images)

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

    def answer(self, picture: np.ndarray, *, votes: bool = True, explain: bool = False) -> dict:
        """Return the answer to one picture, ready to be written as JSON (see ``docs/api.md``).

        Args:
            picture: grey levels, uint8 (height, width).
            votes: ask the other voters too; they are asked about one digit, not about several.
            explain: add pictures of the steps of the preparation and, for one digit, of the ink
                that the answer depends on and of similar training images.
        """
        reading = Reader(self.finder, _Classifier(self.answering.network)).read(picture)
        read = [one for line in reading.lines for one in line]
        if not read and reading.refused:
            read = [reading.refused]
        digits, lines = [_entry(one) for one in read], _lines(reading)
        if len(digits) > 1:
            steps = {"steps": _steps_of_several(reading, read)} if explain else {}
            return self._answer(SEVERAL_DIGITS, digits, lines, [], None) | steps
        if not read:
            steps = {"steps": [_step(*step) for step in reading.steps.items()]} if explain else {}
            image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), int).tolist()
            return self._answer(NOTHING_DRAWN, digits, lines, [], image) | steps
        (one,), (entry,) = read, digits
        given = self._votes(entry, one.prepared.image, votes)
        verdict = {key: entry[key] for key in NO_ANSWER}
        answer = self._answer(verdict, digits, lines, given, entry["image"])
        return answer | self._explanation(reading, one) if explain else answer

    def _answer(
        self, verdict: dict, digits: list, lines: list, given: list, image: list | None
    ) -> dict:
        return verdict | {
            "digits": digits,
            "lines": lines,
            "threshold": evaluation.REFUSAL_THRESHOLD,
            "model": self.answering.label(),
            "models": given,
            "image": image,
        }

    def _votes(self, one: dict, image: np.ndarray, others: bool) -> list[dict]:
        """Return what the answering model, and perhaps the other voters, say about one digit."""
        answered = {key: one[key] for key in ("digit", "probabilities")}
        voters, images = self.voters[1:] if others else [], torch.from_numpy(image)[None]
        given = [voter.vote(evaluation.predict(voter.network, images)) for voter in voters]
        return [self.answering.label() | answered, *given]

    def _explanation(self, reading: Reading, one: Digit) -> dict:
        """Return the steps to one digit, and what the model looks at."""
        steps = [_step(*step) for step in (reading.steps | one.prepared.steps).items()]
        image = torch.from_numpy(one.prepared.image)
        shown = {"occlusion": self._occlusion(image), "neighbours": self._neighbours(image[None])}
        return {"steps": steps} | shown

    def _occlusion(self, image: torch.Tensor) -> dict:
        """Return what the answer depends on: grey ink, the more orange the more it matters."""
        probability, falls = occlusion(self.answering.network, image)
        share = falls[..., None]
        colours = ((1 - share) * GREY + share * ORANGE) * (image.numpy()[..., None] / 255)
        picture = _as_png(colours.round().astype(np.uint8))
        return {"picture": picture, "lowest": round(float(probability - falls.max()), 5)}

    def _neighbours(self, image: torch.Tensor) -> list[dict]:
        """Return the training images whose features are most similar (cosine) to the image's."""
        digits, features = self.gallery
        similarity = features @ self._features(image)[0]
        return [
            {
                "label": digits.labels[index].item(),
                "similarity": round(value.item(), 3),
                "picture": _as_png(digits.images[index].numpy()),
            }
            for value, index in zip(*similarity.topk(NUM_NEIGHBOURS), strict=True)
        ]

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images, scaled to length 1."""
        features = evaluation.predict(self.answering.network, images, method="features")
        return torch.nn.functional.normalize(features)


def occlusion(network: torch.nn.Module, image: torch.Tensor) -> tuple[float, np.ndarray]:
    """Return how probable a network's answer is, and how far that falls where ink is hidden.

    A square of paper hides each part of the image in turn, and the network classifies it again
    (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901).

    Args:
        network: from images to 11 logits.
        image: uint8 (28, 28).

    Returns:
        The probability of the answer, and float (28, 28): at each pixel with ink, the largest fall,
        0 to 1, among the squares that hide it; 0 on paper, and where hiding only makes the network
        surer. Where no ink is hidden, nothing changes, so those squares are not tried.
    """
    starts = range(0, image.shape[-1] - HIDDEN + 1, STEP)
    squares = [
        (slice(top, top + HIDDEN), slice(left, left + HIDDEN)) for top in starts for left in starts
    ]
    squares = [square for square in squares if image[square].any()]
    images = image.repeat(len(squares) + 1, 1, 1)  # the last one stays as it is
    for hidden, square in zip(images, squares, strict=False):
        hidden[square] = 0
    logits = evaluation.predict(network, images)
    refused = evaluation.no_digit_probability(logits[-1:]).item() >= evaluation.REFUSAL_THRESHOLD
    answer = NO_DIGIT if refused else logits[-1, :NO_DIGIT].argmax().item()
    probabilities = logits.softmax(1)[:, answer].double().numpy()
    falls = np.zeros(image.shape)
    for square, probability in zip(squares, probabilities, strict=False):
        falls[square] = np.maximum(falls[square], probabilities[-1] - probability)
    return float(probabilities[-1]), falls * (image.numpy() > 0)


def _steps_of_several(reading: Reading, read: list[Digit]) -> list[dict]:
    """Return the steps that all digits share, and then each digit."""
    shared = [_step(*step) for step in reading.steps.items()]
    return shared + [_step("centred", one.prepared.image) for one in read]


def _step(name: str, picture: np.ndarray) -> dict[str, str]:
    return {"name": name, "picture": _as_png(picture)}


def _load_others(root: Path) -> list[Voter]:
    """Load all voters but the answering model; leave out those that cannot be loaded."""
    loaded = []
    for file in VOTERS[1:]:
        try:
            loaded.append(_load(root, file, (10, 11)))
        except Exception as error:  # a foreign file may raise anything
            LOG.warning("The model %r does not vote: %s", NAMES[file], error)
    return loaded


def _load(root: Path, file: str, outputs: tuple[int, ...]) -> Voter:
    """Load a model that must have one of these numbers of outputs."""
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


def _probabilities(logits: torch.Tensor) -> list[float]:
    """Return the probabilities of logits (1, K), to five decimal places."""
    return np.round(logits.softmax(1)[0].double().numpy(), 5).tolist()


def _as_png(picture: np.ndarray) -> str:
    """Return a uint8 picture, grey or RGB, as a PNG in a data URL, for an <img>."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
