"""Tables of measurements that say which machine they come from."""

from collections.abc import Sequence

import pandas as pd

from study.machine import machine


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Return measurements as a Markdown table below a line that names machine and day."""
    where = "{processor}, {cores} cores, {day}".format(**machine())
    return f"{where}:\n\n{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n"
