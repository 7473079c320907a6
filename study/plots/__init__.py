"""Numbers -> figures. Set their style first: ``plt.style.use("study.plots.paper")``."""

from study.plots import curves, grids, images, models, shares
from study.plots.curves import *  # noqa: F403
from study.plots.grids import *  # noqa: F403
from study.plots.images import *  # noqa: F403
from study.plots.models import *  # noqa: F403
from study.plots.shares import *  # noqa: F403
from study.plots.style import save

__all__ = ["save", *curves.__all__, *grids.__all__, *images.__all__, *models.__all__]
__all__ += shares.__all__
