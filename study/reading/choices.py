"""Which finds are digits: the settings, and how they decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.evaluation import REFUSAL_THRESHOLD

from .finds import CORE, Find
from .refining import Judged

APART = 1.5  # of a digit's height: a find without a core, further from all digits, is none
OPERATOR = 0.75  # of most digits' height: operators are lower


@dataclass(frozen=True)
class Choices:
    """Settings that decide which finds are digits.

    ``experiments.pages`` scores their values on drawn pages and plain numbers. These are near the
    best but reject less: drawn pages have more print and stains than what people send.

    Attributes:
        refused: probability of "no digit" from which a find is rejected.
        doubted: probability of the digit below which a find is also rejected.
        weak: a rejected find whose core is less probable than this is dropped.
        faint: a find without a core is dropped unless its digit is at least this probable.
        low, high: in median heights: finds outside this range are dropped.
        pale: in median contrasts: paler finds are dropped, such as print on the other side.
        most_refused: share of rejected finds above which a line is words, and is left out.
        least_known: share of digits among all finds below which nothing is read.
        impossible: probability of "no digit" from which a find that is lower than most digits is an
            operator, say, and is left out.
    """

    refused: float = REFUSAL_THRESHOLD
    doubted: float = 0.8
    weak: float = 0.65
    faint: float = 0.98
    low: float = 0.4
    high: float = 3.5
    pale: float = 0.25
    most_refused: float = 0.5
    least_known: float = 0.5
    impossible: float = 0.99

    def knows(self, digit: Judged) -> bool:
        """Return whether a find is read as a digit; otherwise it is rejected."""
        least = self.doubted if digit.find.core > CORE else self.faint
        return digit.best >= least and 1 - digit.score < self.refused

    def kept(self, digits: Sequence[Judged]) -> list[Judged]:
        """Drop what is much lower, higher or paler than most, and what no network believes."""
        known = [digit.find for digit in digits if self.knows(digit)]
        if not known:
            return list(digits)
        median = float(np.median([find.height for find in known]))
        palest = self.pale * float(np.median([find.contrast for find in known]))
        certain = [find for find in known if find.core > CORE]
        return [
            digit
            for digit in digits
            if self.low * median <= digit.find.height <= self.high * median
            and digit.find.contrast >= palest
            and (self.knows(digit) or digit.find.core >= self.weak)
            and (digit.find.core > CORE or any(_beside(digit.find, one) for one in certain))
        ]

    def numbers(self, digits: Sequence[Judged], lines: Sequence[Sequence[int]]) -> list[list[int]]:
        """Leave out lines of words, and operators in the others.

        Args:
            digits: the finds that were kept.
            lines: their numbers, line by line.

        Returns:
            What is left of the lines; nothing if few of the finds are digits.
        """
        known = [self.knows(digit) for digit in digits]
        if not any(known) or sum(known) < self.least_known * len(known):
            return []
        median = np.median(
            [d.find.height for d, is_known in zip(digits, known, strict=True) if is_known]
        )
        operators = {
            number
            for number, digit in enumerate(digits)
            if not known[number]
            and 1 - digit.score >= self.impossible
            and digit.find.height < OPERATOR * median
        }
        return [
            [number for number in line if number not in operators]
            for line in lines
            if sum(not known[number] for number in line) <= self.most_refused * len(line)
        ]


def _beside(find: Find, other: Find) -> bool:
    """Whether a find may stand beside another in a line."""
    gap = max(find.left, other.left) - min(find.right, other.right)
    away = abs(find.top + find.bottom - other.top - other.bottom) / 2
    return gap < APART * other.height and away < other.height / 2
