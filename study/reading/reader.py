"""A picture -> the digits in it, line by line: a network finds them, another classifies them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from study.data import NO_DIGIT, to_float
from study.weights import load_model

from .choices import Choices
from .finder import load_finder
from .finds import STROKE, Find
from .form import IMAGE_SIZE, Prepared, as_picture, formed
from .ink import ink_of, ink_of_thumbnail, without_specks
from .levels import EIGHT, FULL_SIZE, grey_levels
from .lines import lines_of
from .looks import FIRST, Look, look
from .paper import has_plain_border
from .preparation import prepare
from .refining import CERTAIN, Classify, Judged, judged, refined

ROOT = Path(__file__).parents[2]
SAVED = "finder.pt", "robust.pt"  # in models/
GOOD = 0.1  # of the finds of a look: with fewer digits, it is worth looking at another scale
TURNS_FROM = 4  # digits, in a line after the turn: with fewer, a picture is never turned
UPRIGHT = 0.6  # of the finds: with more that are certainly digits, a picture is not turned
TURNED_IF = 0.1  # of the finds: nor if, turned, so many fewer are certainly digits
BETTER = 0.2  # by how much both ratings together, each up to 1, must rise to turn a picture
RULES = "picture", "light evened", "lines removed", "ink found", "frame and print removed"
FEW = 3  # digits: where there are more, they are too small for the rules
NARROW = 0.2  # of the picture: a narrower line through all of it is not a digit


@dataclass(frozen=True)
class Digit:
    """One digit that was read.

    Attributes:
        digit: 0 to 9; None where it is rejected.
        closest: the most probable of the ten digits.
        probabilities: of the ten digits and of "no digit", (11,).
        prepared: the digit as the classifier saw it, with its box in the picture.
        core: how sure the finder is that a digit stands there, 0 to 1; None if it was not asked.
    """

    digit: int | None
    closest: int
    probabilities: np.ndarray
    prepared: Prepared
    core: float | None


@dataclass(frozen=True)
class Reading:
    """What a picture shows.

    Attributes:
        lines: of digits; the uppermost comes first, and each goes from left to right.
        steps: name -> uint8 picture, in order: what led to the digits.
        refused: the largest find, if it is no digit and nothing else is read.
        turns: quarter turns counterclockwise before reading; boxes are those before the turns.
    """

    lines: list[list[Digit]]
    steps: dict[str, np.ndarray]
    refused: Digit | None = None
    turns: int = 0

    @property
    def text(self) -> str:
        """Return the digits, with "?" for rejected ones, as one line of text per line."""
        rows = (("?" if d.digit is None else str(d.digit) for d in line) for line in self.lines)
        return "\n".join("".join(row) for row in rows)


def classifies(network: nn.Module) -> Classify:
    """Return a function that classifies images, uint8 (N, 28, 28); the network is in eval mode."""

    def classify(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(to_float(torch.from_numpy(images))).softmax(1).numpy()

    return classify


class Reader:
    """Read pictures.

    Args:
        finder: a ``Finder`` in eval mode.
        classify: from images, uint8 (N, 28, 28), to probabilities, (N, 11).
        choices: what decides which finds are digits.
    """

    def __init__(self, finder: Callable, classify: Classify, choices: Choices | None = None):
        self.finder, self.classify = finder, classify
        self.choices = choices or Choices()

    @classmethod
    def saved(cls, root: Path) -> "Reader":
        """Return a reader with the saved networks of a repository.

        Raises:
            ModelFileError: one of them cannot be loaded.
        """
        finder, classifier = (root / "models" / file for file in SAVED)
        return cls(load_finder(finder), classifies(load_model(classifier)))

    def read(self, picture: Image.Image | np.ndarray) -> Reading:
        """Read a picture.

        Args:
            picture: a Pillow image of any mode, or uint8 grey levels (height, width); dark ink on
                light paper, or light ink on dark paper.
        """
        level = grey_levels(picture, FULL_SIZE)
        small = grey_levels(level)
        if max(small.shape) < IMAGE_SIZE:
            return self._thumbnail(small)
        ink = _one_piece(small)
        if ink is not None:  # the short way, if it is certainly a digit
            whole, steps = self._formed(small, ink)
            if whole.digit is not None and whole.probabilities.max() > CERTAIN:
                return Reading([[whole]], steps)
        reading = self.reading(*self.seen(level))
        found = [digit.digit for line in reading.lines for digit in line]
        if ink is not None and whole.digit is None and None in found:
            return Reading([], steps, whole)  # a letter, say, of which a part may be a digit
        return reading if len(found) > FEW else self._with_rules(small, reading)

    def _with_rules(self, small: np.ndarray, reading: Reading) -> Reading:
        """Let the rules of ``prepare`` have a say where the finder sees few digits.

        They alone decide whether there is anything at all and, where there is one digit or none, on
        clean drawings. Where they certainly see another digit than the finder, none is read.
        """
        prepared = prepare(small)
        steps = {name: prepared.steps[name] for name in prepared.steps if name in RULES}
        if prepared.is_blank:
            return Reading([], steps)
        digit = self._by_rules(prepared)
        certain = digit.digit is not None and digit.probabilities.max() >= CERTAIN
        several = [one.digit for line in reading.lines for one in line]
        if len(several) > 1:  # with a fold beside it, one is a digit
            return Reading([[digit]], steps) if certain and digit.digit in several else reading
        found = reading.lines[0][0] if reading.lines else reading.refused
        sees = found.digit if found else None
        is_drawing = has_plain_border(small.astype(np.float32))
        if not is_drawing and certain and sees not in (None, digit.digit):
            digit = replace(found, digit=None)
        elif not is_drawing and not (certain and sees is None):
            return reading if found else Reading([], steps, replace(digit, digit=None))
        return Reading([], steps, digit) if digit.digit is None else Reading([[digit]], steps)

    def _by_rules(self, prepared: Prepared) -> Digit:
        """Return one digit that rules found; it is rejected only as "no digit"."""
        (probabilities,) = self.classify(prepared.image[None])
        closest = int(probabilities[:NO_DIGIT].argmax())
        known = closest if probabilities[NO_DIGIT] < self.choices.refused else None
        return Digit(known, closest, probabilities, prepared, None)

    def _thumbnail(self, level: np.ndarray) -> Reading:
        """A picture no larger than MNIST's, which has no room for more than a digit."""
        level = level.astype(np.float32)
        ink = ink_of_thumbnail(level)
        if not ink.any():
            return Reading([], {"picture": as_picture(level), "ink found": as_picture(255 * ink)})
        digit, steps = self._formed(level, ink)
        if digit.digit is None:
            return Reading([], steps, digit)
        return Reading([[digit]], steps)

    def _formed(self, level: np.ndarray, ink: np.ndarray) -> tuple[Digit, dict[str, np.ndarray]]:
        """Ink as one digit, and the steps to it."""
        prepared = formed(ink)
        steps = {"picture": as_picture(level), "ink found": as_picture(255 * ink)}
        return self._by_rules(prepared), steps | prepared.steps

    def seen(
        self, picture: Image.Image | np.ndarray
    ) -> tuple[tuple[int, int], Look, list[Judged], int]:
        """Look at a picture; return its shape, the last look, the finds, and the quarter turns."""
        level = grey_levels(picture, FULL_SIZE)
        seen, digits = self._looked(level)
        turns = 0
        turn = self._better_turn(seen, digits) if len(digits) >= TURNS_FROM else 0
        if turn:
            other, found = self._looked(_turned(level, turn))
            if _longest_line(other, found) >= TURNS_FROM:
                turns, seen, digits = turn, other, found
        return level.shape, seen, digits, turns

    def _better_turn(self, seen: Look, digits: list[Judged]) -> int:
        """After how many quarter turns a picture reads clearly better; 0 if it does not.

        It is only looked at again if few of its finds are certainly digits, and, turned by
        themselves, about as many are.
        """
        certain = [np.mean([digit.best > CERTAIN for digit in digits])]
        if certain[0] > UPRIGHT:
            return 0
        images = np.stack([digit.prepared.image for digit in digits])
        for turn in (1, 2, 3):
            probabilities = self.classify(_turned(images, turn))
            certain.append((probabilities[:, :NO_DIGIT].max(1) > CERTAIN).mean())
        if max(certain[1:]) < certain[0] - TURNED_IF:
            return 0
        promises = [self._promise(_turned(seen.level, turn)) for turn in range(4)]
        ratings = np.add(certain, promises)
        turn = int(ratings.argmax())
        return turn if ratings[turn] > ratings[0] + BETTER else 0

    def _promise(self, level: np.ndarray) -> float:
        """How well a picture reads at a single look, which is no large one."""
        whole = 0, 0, level.shape[1], level.shape[0]
        factor = min(1, (4 * FIRST / level.size) ** 0.5)
        return _rating(judged(Look.at(self.finder, level, factor, whole).finds, self.classify))

    def _looked(self, level: np.ndarray) -> tuple[Look, list[Judged]]:
        """The last look at a picture, and its finds."""
        known: dict[Look, list[Judged]] = {}

        def is_good(seen: Look) -> bool:
            known[seen] = judged(seen.finds, self.classify)
            return sum(map(self.choices.knows, known[seen])) > GOOD * len(known[seen])

        best = look(self.finder, level, is_good)
        digits = known[best] if best in known else judged(best.finds, self.classify)
        return best, refined(digits, self.classify)

    def reading(
        self, shape: tuple[int, int], seen: Look, digits: list[Judged], turns: int
    ) -> Reading:
        """Decide which finds are digits (see ``seen``), and arrange them in lines."""
        kept = self.choices.kept([one for one in digits if not _is_fold(one.find, seen)])
        size = np.array(shape[:: -1 if turns % 2 == 0 else 1] * 2, float)
        boxes = np.array([seen.box(digit.find) for digit in kept]).reshape(-1, 4)
        shares = [_turned_back(box / size, turns) for box in boxes]
        read = [self._digit(digit, share) for digit, share in zip(kept, shares, strict=True)]
        maps = {"ink of digits": seen.ink, "middles of digits": seen.core}
        steps = {"picture": seen.level} | {n: as_picture(255 * part) for n, part in maps.items()}
        lines = self.choices.numbers(kept, lines_of(boxes))
        if not lines:
            none = [one for one in read if one.digit is None]
            largest = max(none, key=lambda one: one.prepared.image.sum(), default=None)
            return Reading([], steps, largest, turns)
        return Reading([[read[i] for i in line] for line in lines], steps, None, turns)

    def _digit(self, one: Judged, box: np.ndarray) -> Digit:
        closest = int(one.probabilities[:NO_DIGIT].argmax())
        known = closest if self.choices.knows(one) else None
        prepared = replace(one.prepared, box=tuple(box.clip(0, 1).tolist()))
        return Digit(known, closest, one.probabilities, prepared, one.find.core)


@lru_cache(maxsize=1)
def _saved() -> Reader:
    return Reader.saved(ROOT)


def read(picture: Image.Image | np.ndarray) -> list[list[Digit]]:
    """Read a picture with the saved networks of this repository (see ``Reader.read``).

    Returns:
        Its lines from the top, each a list of digits from left to right; none if it shows no digit.

    Raises:
        ModelFileError: one of the networks cannot be loaded.
    """
    return _saved().read(picture).lines


def _one_piece(small: np.ndarray) -> np.ndarray | None:
    """The ink of grey levels, if they show plain paper with one connected piece of it."""
    small = small.astype(np.float32)
    if not has_plain_border(small):
        return None
    ink = without_specks(ink_of(small))
    return ink if ndimage.label(ink > STROKE, EIGHT)[1] == 1 else None


def _turned(level: np.ndarray, turns: int) -> np.ndarray:
    """Grey levels (..., height, width) after quarter turns counterclockwise."""
    return np.ascontiguousarray(np.rot90(level, turns, (-2, -1)))


def _longest_line(seen: Look, digits: Sequence[Judged]) -> int:
    """How many digits the longest line has; letters on their side stand below each other."""
    boxes = np.array([seen.box(digit.find) for digit in digits]).reshape(-1, 4)
    return max(map(len, lines_of(boxes)), default=0)


def _is_fold(find: Find, seen: Look) -> bool:
    """Whether a find is a narrow line from one side of the look to the other."""
    (height, width), rim = seen.level.shape, 1 + 0.02 * max(seen.level.shape)
    down = find.top <= rim and find.bottom >= height - rim and find.width < NARROW * width
    across = find.left <= rim and find.right >= width - rim and find.height < NARROW * height
    return down or across


def _rating(digits: Sequence[Judged]) -> float:
    """How well a picture reads: 1 if all of it is certainly digits."""
    return float(np.mean([digit.best for digit in digits] or [0.0]))


def _turned_back(box: np.ndarray, turns: int) -> np.ndarray:
    """A box in shares of a picture, before its quarter turns counterclockwise."""
    for _ in range(turns):
        left, top, right, bottom = box
        box = np.array([1 - bottom, left, 1 - top, right])
    return box
