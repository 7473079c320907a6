"""What a setting may be: a rule in words and in code, checked before anything is trained."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real


@dataclass(frozen=True)
class Rule:
    """A rule for one value: ``text`` completes "must be ...", ``holds`` decides."""

    text: str
    holds: Callable[[object], bool]

    def check(self, name: str, value: object) -> None:
        """Raise ValueError, naming the setting, where the rule does not hold."""
        try:
            holds, reason = self.holds(value), ""
        except (TypeError, ValueError) as error:
            holds, reason = False, f" ({error})"
        if not holds:
            raise ValueError(f"{name} must be {self.text}, got {value!r}{reason}")


def number(*, above: float = -math.inf, least: float = -math.inf, below: float = math.inf) -> Rule:
    """A finite number within limits: above one, at least another, below a third."""
    limits = {"above": above, "of at least": least, "below": below}
    text = " and ".join(
        f"{name} {limit:g}" for name, limit in limits.items() if abs(limit) < math.inf
    )

    def holds(x: object) -> bool:  # infinity is not below infinity, and NaN is below nothing
        return isinstance(x, Real) and not isinstance(x, bool) and above < x < below and x >= least

    return Rule(f"a number {text}", holds)


def whole(least: int, most: float = math.inf) -> Rule:
    """A whole number from ``least`` to ``most``."""
    limits = f" from {least} to {most}" if most < math.inf else f", {least} or more"

    def holds(x: object) -> bool:
        return isinstance(x, Integral) and not isinstance(x, bool) and least <= x <= most

    return Rule(f"a whole number{limits}", holds)


def one_of(*values: object) -> Rule:
    """One of a few values."""
    return Rule(f"one of {', '.join(map(repr, values))}", lambda x: x in values)


def kwargs_of(function: Callable) -> Rule:
    """A dict of keyword arguments that a class or function accepts; it is called with them."""
    names = ", ".join(inspect.signature(function).parameters)
    text = f"a dict of what {function.__name__} takes ({names})"
    return Rule(text, lambda x: function(**x) is not None)


def or_none(rule: Rule) -> Rule:
    """The same, or None."""
    return Rule(f"{rule.text}, or None", lambda x: x is None or rule.holds(x))
