"""Any picture -> the 28x28 image that the networks take: ``prepare``."""

from collections.abc import Callable


def __getattr__(name: str) -> Callable:
    """Import ``prepare`` only when it is asked for: drawing needs ``form`` without the rest."""
    if name != "prepare":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .preparation import prepare

    return prepare
