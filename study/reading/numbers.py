"""The ink of a line of digits, taken apart: pieces are joined or cut until each is one digit.

Every number below was chosen on training digits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from .form import Prepared, formed
from .ink import STROKE
from .levels import EIGHT

OVERLAP = 0.5  # of the narrower piece's width: pieces above each other belong to one digit
GAP = 0.25  # of the line's height: pieces further apart are never joined
SURE = 0.5  # a higher score is more likely a digit than none
CERTAIN = 0.98  # with a higher score, nothing is cut
CUT_SCORE = 0.95  # of both halves; letters, too, can be cut into what looks a bit like digits
CUT_WIDTH = 0.8  # of the height: what is narrower is not cut
CUT_HEIGHT = 0.75  # of the height: digits side by side are about equally high
WIDE = 1.15  # of the height: what is wider is no digit that was in pieces
CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of the width: where a cut is looked for
REACH = 0.12  # of the width, around them
SIDEWAYS = 0.3  # cost of a step to the side, in full ink
MOST_CUTS = 2  # of what is cut already: at most four digits that touch


@dataclass(frozen=True, eq=False)
class Piece:
    """Some of the ink of a picture; its form and its score are computed once, when needed.

    Attributes:
        ink: 0 to 1, (height, width), as large as the picture.
        is_digit: how much an image, uint8 (28, 28), looks like one digit, 0 to 1.
    """

    ink: np.ndarray
    is_digit: Callable[[np.ndarray], float] | None = None

    @cached_property
    def prepared(self) -> Prepared:
        """Its ink in the form of MNIST's digits."""
        return formed(self.ink)

    @cached_property
    def score(self) -> float:
        """How much it looks like one digit, 0 to 1."""
        return float(self.is_digit(self.prepared.image))


def taken_apart(line: Piece) -> list[Piece]:
    """Return the digits of a line, from left to right.

    Without its ``is_digit``, only pieces above each other are joined, and nothing is cut.
    """
    pieces = _above_each_other(line)
    if line.is_digit is None:
        return pieces
    return [part for piece in _joined(pieces) for part in _cut(piece, MOST_CUTS)]


def _above_each_other(line: Piece) -> list[Piece]:
    """Connected pieces, joined where one stands above the other."""
    pieces, count = ndimage.label(line.ink > STROKE, EIGHT)
    if count < 2:
        return [line] * count
    # The pale rim of a stroke belongs to the piece that is nearest.
    nearest = ndimage.distance_transform_edt(
        pieces == 0, return_distances=False, return_indices=True
    )
    spans = [(box[1].start, box[1].stop) for box in ndimage.find_objects(pieces)]
    groups: list[tuple[int, int, list[int]]] = []
    for number in sorted(range(count), key=lambda n: spans[n]):
        left, right, members = *spans[number], [number + 1]
        for other in list(groups):
            common = min(right, other[1]) - max(left, other[0])
            if common >= OVERLAP * min(right - left, other[1] - other[0]):
                left, right = min(left, other[0]), max(right, other[1])
                members += other[2]
                groups.remove(other)
        groups.append((left, right, members))
    owners = pieces[tuple(nearest)]
    inks = (np.where(np.isin(owners, members), line.ink, 0) for _, _, members in sorted(groups))
    return [replace(line, ink=ink) for ink in inks]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join neighbours that are a digit together, and not both by themselves."""
    if len(pieces) < 2:
        return pieces
    height = max(_size(piece.ink)[0] for piece in pieces)
    done = [pieces[0]]
    for piece in pieces[1:]:
        last = done[-1]
        gap = _columns(piece.ink)[0] - _columns(last.ink)[-1] - 1
        both = replace(last, ink=last.ink + piece.ink)
        near = gap < GAP * height and _size(both.ink)[1] < WIDE * height
        if near and min(last.score, piece.score) < SURE <= both.score:
            done[-1] = both
        else:
            done.append(piece)
    return done


def _cut(piece: Piece, times: int) -> list[Piece]:
    """Cut a piece that is no digit into two or more that are; it stays whole where that fails."""
    height, width = _size(piece.ink)
    if times == 0 or width < CUT_WIDTH * height or piece.score >= CERTAIN:
        return [piece]
    best, halves = max(CUT_SCORE, piece.score), None
    for place in CUTS:
        parts = [replace(piece, ink=half) for half in _halves(piece.ink, place)]
        if parts and min(_size(part.ink)[0] for part in parts) >= CUT_HEIGHT * height:
            scores = [part.score for part in parts]
            # One of them may be two digits still.
            worst = max(scores) if times > 1 and width > 1.6 * height else min(scores)
            if worst > best:
                best, halves = worst, parts
    if halves is None:
        return [piece]
    return [part for half in halves for part in _cut(half, times - 1)]


def _halves(ink: np.ndarray, place: float) -> list[np.ndarray]:
    """Cut along the way from top to bottom that crosses least ink, near a share of the width.

    Returns:
        Left and right half; nothing if the way crosses more than one stroke, as through a 0.
    """
    rows, columns = np.flatnonzero(ink.any(1)), _columns(ink)
    width = columns[-1] + 1 - columns[0]
    left = columns[0] + max(1, round((place - REACH) * width))
    right = min(columns[0] + max(2, round((place + REACH) * width)), columns[-1])
    if left > right:  # a dot
        return []
    costs = ink[rows[0] : rows[-1] + 1, left : right + 1].astype(float)
    total = costs.copy()
    steps = np.zeros(costs.shape, int)
    for row in range(1, len(costs)):
        above = np.pad(total[row - 1], 1, constant_values=np.inf)
        ways = np.stack([above[:-2] + SIDEWAYS, above[1:-1], above[2:] + SIDEWAYS])
        steps[row] = ways.argmin(0) - 1
        total[row] += ways.min(0)
    way = [int(total[-1].argmin())]
    for row in range(len(costs) - 1, 0, -1):
        way.append(way[-1] + steps[row, way[-1]])
    way = np.array(way[::-1])
    crossed = np.pad(costs[np.arange(len(way)), way] > STROKE, 1)
    if np.diff(crossed.astype(int)).clip(0).sum() > (1 if width < len(way) else 2):
        return []
    border = np.interp(np.arange(len(ink)), rows[0] + np.arange(len(way)), left + way)
    is_left = np.arange(ink.shape[1]) < border[:, None]
    return [np.where(is_left, ink, 0), np.where(is_left, 0, ink)]


def _columns(ink: np.ndarray) -> np.ndarray:
    return np.flatnonzero((ink > STROKE).any(0))


def _size(ink: np.ndarray) -> tuple[int, int]:
    """Height and width of the ink."""
    rows, columns = (np.flatnonzero((ink > STROKE).any(axis)) for axis in (1, 0))
    return (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1) if len(rows) else (0, 0)
