"""A grid of settings: its combinations, in order."""

from dataclasses import fields

import numpy as np

from study.training import Settings


def _has_names(grid: dict) -> bool:
    """Return whether these are several grids by name, and not the settings of one."""
    settings = {field.name for field in fields(Settings)}
    return (
        bool(grid) and all(isinstance(v, dict) for v in grid.values()) and not settings & set(grid)
    )


def points(grid: dict | dict[str, dict]) -> list[tuple[str | None, dict]]:
    """Return every combination of each grid, with the name of the grid where it has one."""
    from sklearn.model_selection import ParameterGrid  # takes a second, in each worker too

    combinations = []
    for name, one in grid.items() if _has_names(grid) else [(None, grid)]:
        lists = {k: list(v) if isinstance(v, list | np.ndarray) else [v] for k, v in one.items()}
        combinations += [(name, point) for point in ParameterGrid(lists)]
    return combinations


def columns(grid: dict | dict[str, dict]) -> list[str]:
    """Return the names of the settings of a grid, or of all grids, in their order."""
    if not _has_names(grid):
        return list(grid)
    return list(dict.fromkeys(setting for one in grid.values() for setting in one))


def readable(value):
    """Return a setting as it is written in a cell of a table."""
    if isinstance(value, type):
        return value.__name__
    return ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, dict) else value


def told(settings: dict) -> str:
    """Return the settings of a run as a text, such as "network CNN, lr 0.01"."""
    return ", ".join(f"{name} {readable(value)}" for name, value in settings.items())
