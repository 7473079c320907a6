"""Numbers -> figures: each function draws what it is given and returns the figure."""

from study.plots.images import *  # noqa: F403
