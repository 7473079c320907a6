"""Any picture -> the 28x28 image that the networks take, ``prepare``; or its digits, ``read``."""

from collections.abc import Callable


def __getattr__(name: str) -> Callable:
    """Import a function only when it is asked for: drawing needs ``form`` without the rest."""
    if name == "prepare":
        from .preparation import prepare

        return prepare
    if name == "read":
        from .reader import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
