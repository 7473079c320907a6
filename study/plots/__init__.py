"""Draw figures from numbers. Set their style first: ``plt.style.use("study.plots.paper")``.

Every public function of these modules that returns a figure is at hand here: ``plots.forest``.
"""

from inspect import get_annotations, isfunction

from matplotlib.figure import Figure

from study.plots.curves import *  # noqa: F403
from study.plots.diagrams import *  # noqa: F403
from study.plots.grids import *  # noqa: F403
from study.plots.images import *  # noqa: F403
from study.plots.models import *  # noqa: F403
from study.plots.shares import *  # noqa: F403
from study.plots.style import save

__all__ = ["save"]
__all__ += [
    name
    for name, value in list(globals().items())
    if isfunction(value) and get_annotations(value).get("return") is Figure
]
