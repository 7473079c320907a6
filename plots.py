"""Numbers -> figures. Nothing is computed here that a reader could want as a number."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

# Okabe and Ito's colours, which colour-blind readers can tell apart; right and wrong are told
# apart by more than colour wherever both are drawn.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#767676"

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 130,
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "figure.constrained_layout.use": True,
    }
)


def save(figure: plt.Figure, name: str, folder: str | Path = "visualizations") -> None:
    """Write a figure to ``folder/name.png``; the notebook shows it as well."""
    Path(folder).mkdir(exist_ok=True)
    figure.savefig(Path(folder) / f"{name}.png", facecolor="white")
