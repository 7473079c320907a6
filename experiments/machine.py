"""Which machine a time was measured on, and tables that say so."""

import datetime
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import joblib
import pandas as pd


def machine() -> dict[str, str]:
    """Return what a measured time depends on: processor, cores (of this process), and day."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux
    known = cpuinfo.read_text() if cpuinfo.exists() else ""
    known = dict(re.findall(r"^(.+?)\s*: (.+)$", known, re.M))  # all cores say the same
    name = known.get("model name") or platform.processor() or platform.machine()
    if {"cpu family", "model"} <= known.keys() and not re.search(r"\d", name):
        name += f" (family {known['cpu family']}, model {known['model']})"  # a cloud hides the rest
    day = datetime.date.today().isoformat()
    return {"processor": name, "cores": str(joblib.cpu_count()), "day": day}


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Return measurements as a Markdown table below a line that names machine and day."""
    where = "{processor}, {cores} cores, {day}".format(**machine())
    return f"{where}:\n\n{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n"
