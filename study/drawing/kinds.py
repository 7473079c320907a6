"""Kinds of pictures by name, each drawn with its own random numbers."""

from typing import Any


def numbered(kinds: dict[str, Any]) -> dict[str, Any]:
    """Return kinds by name; the ``number`` of each seeds its pictures, wherever it stands.

    So a new kind, with a new number, leaves the pictures of the others as they are.

    Raises:
        ValueError: two kinds have the same number.
    """
    names: dict[int, str] = {}
    for name, kind in kinds.items():
        other = names.setdefault(kind.number, name)
        if other != name:
            raise ValueError(f"{other!r} and {name!r} have the same number, {kind.number}")
    return kinds
