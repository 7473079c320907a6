"""Say which machine something was measured or trained on."""

import datetime
import platform
import re
from pathlib import Path

import joblib


def machine() -> dict[str, str]:
    """Return what a measured time depends on: processor, cores (of this process), and day."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux
    known = cpuinfo.read_text() if cpuinfo.exists() else ""
    known = dict(re.findall(r"^(.+?)\s*: (.+)$", known, re.M))  # the same for all cores
    name = known.get("model name") or platform.processor() or platform.machine()
    if {"cpu family", "model"} <= known.keys() and not re.search(r"\d", name):
        name += f" (family {known['cpu family']}, model {known['model']})"  # a cloud hides the rest
    day = datetime.date.today().isoformat()
    return {"processor": name, "cores": str(joblib.cpu_count()), "day": day}
