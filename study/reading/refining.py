"""Join finds, cut them, and free them of what is around, where the classifier then sees digits."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from scipy import ndimage

from study.data import NO_DIGIT

from .finds import CORE, STROKE, Find
from .form import Prepared, formed
from .levels import EIGHT

SURE = 0.5  # with a higher score, a find is more likely a digit than not
CERTAIN = 0.98  # with a higher score, nothing is cut
CUT_SCORE = 0.95  # of both halves; letters, too, can be cut into what looks a bit like digits
CUT_WIDTH = 0.8  # of the height: a narrower find is not cut
CUT_HEIGHT = 0.75  # of the height: digits side by side are about equally high
GAP = 0.25  # of the median height: finds further apart are never joined
MOST_PARTS = 5  # of one digit in the whole picture
WIDE = 1.2  # of its height: no digit is wider
TALL = 2.2  # of the median height: no digit is higher
CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of the width: where a cut is looked for
FREED = 0.9  # least score of a find freed of a piece around or beside it
REACH = 0.12  # of the width, on either side of these places
SIDEWAYS = 0.3  # cost of a step to the side, in full ink

Classify = Callable[[np.ndarray], np.ndarray]  # uint8 (N, 28, 28) -> probabilities (N, 11)


@dataclass(frozen=True, eq=False)
class Judged:
    """A find in the form of MNIST's digits, and the classifier's probabilities, (11,)."""

    find: Find
    prepared: Prepared
    probabilities: np.ndarray

    @property
    def score(self) -> float:
        """Return how likely it is a digit at all, 0 to 1."""
        return 1 - float(self.probabilities[NO_DIGIT])

    @property
    def best(self) -> float:
        """Return the probability of its digit."""
        return float(self.probabilities[:NO_DIGIT].max())


def judged(finds: Sequence[Find], classify: Classify) -> list[Judged]:
    """Show finds to the classifier, all at once, and return its judgements."""
    if not finds:
        return []
    forms = [formed(find.ink) for find in finds]
    probabilities = classify(np.stack([form.image for form in forms]))
    return [Judged(*parts) for parts in zip(finds, forms, probabilities, strict=True)]


def refined(digits: list[Judged], classify: Classify) -> list[Judged]:
    """Return finds as the classifier sees digits in them; those that are fine stay as they are."""
    if not digits:
        return []
    whole = _one(digits, classify)
    if whole:
        return [whole]
    digits = _joined(digits, classify)
    digits = [part for digit in digits for part in _freed(digit, classify)]
    return [part for digit in digits for part in _cut(digit, classify)]


def _one(digits: list[Judged], classify: Classify) -> Judged | None:
    """A few finds that hang together one below the other, as the digit that they certainly are."""
    finds = [digit.find for digit in digits if digit.find.core > CORE]
    if not 1 < len(finds) <= MOST_PARTS:
        return None
    finds.sort(key=lambda find: find.top)
    for upper, lower in itertools.pairwise(finds):
        common = min(upper.right, lower.right) - max(upper.left, lower.left)
        if lower.top - upper.bottom > GAP * upper.height or common < -GAP * upper.height:
            return None
    (whole,) = judged([reduce(Find.joined, finds)], classify)
    return whole if whole.best >= CERTAIN else None


def _joined(digits: list[Judged], classify: Classify) -> list[Judged]:
    """Join neighbours that are one digit together, and are not both digits by themselves."""
    height = float(np.median([digit.find.height for digit in digits]))
    pairs = [
        (one, other)
        for number, one in enumerate(digits)
        for other in digits[number + 1 :]
        if _doubtful(one, other) and _may_join(one.find, other.find, height)
    ]
    whole = judged([one.find.joined(other.find) for one, other in pairs], classify)
    done: set[int] = set()
    for best in sorted(range(len(whole)), key=lambda number: -whole[number].score):
        parts = {id(part) for part in pairs[best]}
        better = whole[best].best > min(part.best for part in pairs[best])
        if whole[best].score >= SURE and better and not parts & done:
            done |= parts
            digits = [digit for digit in digits if id(digit) not in parts] + [whole[best]]
    return digits


def _doubtful(one: Judged, other: Judged) -> bool:
    """Whether one of two is no digit; or they are above each other, and one is not certain."""
    if min(one.score, other.score) < SURE:
        return True
    left, right = max(one.find.left, other.find.left), min(one.find.right, other.find.right)
    above = right - left > 0.5 * min(one.find.width, other.find.width)
    return above and min(one.best, other.best) < CERTAIN


def _may_join(one: Find, other: Find, height: float) -> bool:
    """Whether two finds are near, and together no larger than a digit."""
    across = max(one.left, other.left) - min(one.right, other.right)
    down = max(one.top, other.top) - min(one.bottom, other.bottom)
    width = max(one.right, other.right) - min(one.left, other.left)
    tall = max(one.bottom, other.bottom) - min(one.top, other.top)
    near = max(across, down) < GAP * height
    return near and width < WIDE * max(tall, height) and tall < TALL * height


def _freed(digit: Judged, classify: Classify) -> list[Judged]:
    """Take away a piece around or beside the digit, where only then a digit is seen."""
    if digit.score >= SURE:
        return [digit]
    find = digit.find
    pieces, count = ndimage.label(find.ink > STROKE, EIGHT)
    if not 1 < count < 9:
        return [digit]
    nearest = ndimage.distance_transform_edt(
        pieces == 0, return_distances=False, return_indices=True
    )
    owners = pieces[tuple(nearest)]
    parts = [owners == number for number in range(1, count + 1)]
    choices = [*parts, *(~part for part in parts)] if count > 2 else parts
    choices = [choice for choice in choices if _rises(choice & (find.ink > STROKE), find.height)]
    seen = judged([_without_a_piece(find, choice) for choice in choices], classify)
    best = max(seen, key=lambda one: one.score, default=digit)
    if best.score < FREED:
        return [digit]
    (rest,) = judged([_without_a_piece(find, ~choices[seen.index(best)])], classify)
    # The rest may be a digit whose core was not found.
    second = rest.score >= FREED and rest.find.height >= CUT_HEIGHT * best.find.height
    return [best, replace(rest, find=replace(rest.find, core=0.0))] if second else [best]


def _rises(strokes: np.ndarray, height: int) -> bool:
    """Whether strokes are more than a quarter as high as ``height``."""
    return bool(np.ptp(np.flatnonzero(strokes.any(1))) > height / 4)


def _without_a_piece(find: Find, choice: np.ndarray) -> Find:
    return find.part(np.where(choice, find.ink, 0))


def _cut(digit: Judged, classify: Classify, times: int = 2) -> list[Judged]:
    """Cut a find that is not a digit into two or more that are; where that fails, leave it."""
    find = digit.find
    if times == 0 or find.width < CUT_WIDTH * find.height or digit.score >= CERTAIN:
        return [digit]
    pairs = [[find.part(half) for half in halves(find.ink, place)] for place in CUTS]
    pairs = [p for p in pairs if p and min(half.height for half in p) >= CUT_HEIGHT * find.height]
    seen = judged([half for pair in pairs for half in pair], classify)
    best, parts = max(CUT_SCORE, digit.score), None
    for pair in zip(seen[::2], seen[1::2], strict=True):
        scores = [half.score for half in pair]
        # One of them may still be two digits.
        several = times > 1 and find.width > 1.6 * find.height and digit.score < SURE
        worst = max(scores) if several else min(scores)
        if worst > best:
            best, parts = worst, pair
    if parts is None:
        return [digit]
    return [part for half in parts for part in _cut(half, classify, times - 1)]


def halves(ink: np.ndarray, place: float) -> list[np.ndarray]:
    """Cut along the path from top to bottom that crosses the least ink, near a share of the width.

    Args:
        ink: 0 to 1, (height, width), cropped.
        place: that share, 0 to 1.

    Returns:
        Left and right half; nothing if the path crosses more than one stroke, as through a 0.
    """
    height, width = ink.shape
    left = max(1, round((place - REACH) * width))
    right = min(max(2, round((place + REACH) * width)), width - 1)
    if left > right:  # a dot
        return []
    costs = ink[:, left : right + 1].astype(float)
    total = costs.copy()
    steps = np.zeros(costs.shape, int)
    for row in range(1, height):
        above = np.pad(total[row - 1], 1, constant_values=np.inf)
        ways = np.stack([above[:-2] + SIDEWAYS, above[1:-1], above[2:] + SIDEWAYS])
        steps[row] = ways.argmin(0) - 1
        total[row] += ways.min(0)
    way = [int(total[-1].argmin())]
    for row in range(height - 1, 0, -1):
        way.append(way[-1] + int(steps[row, way[-1]]))
    border = np.array(way[::-1])
    crossed = np.pad(costs[np.arange(height), border] > STROKE, 1)
    if np.diff(crossed.astype(int)).clip(0).sum() > (1 if width < height else 2):
        return []
    is_left = np.arange(width) < left + border[:, None]
    both = [np.where(is_left, ink, 0), np.where(is_left, 0, ink)]
    return both if all((half > STROKE).any() for half in both) else []
