"""Write how long `make run` or `make long` took into the README, in this machine's row.

python -m benchmarks.run_time "make run" data_exploration=42 train=161
"""

from __future__ import annotations

import argparse
from pathlib import Path

from study import report

README = Path(__file__).parent.parent / "README.md"


def row(command: str, seconds: dict[str, int]) -> dict[str, str]:
    """Return a row of the README's table of times, from the seconds of each notebook."""
    return {
        "command": command,
        **report.machine(),
        "minutes": f"{sum(seconds.values()) / 60:.1f}",
        "seconds of each notebook": ", ".join(f"{name} {s}" for name, s in seconds.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command")
    parser.add_argument("seconds", nargs="+", help="NOTEBOOK=SECONDS")
    parser.add_argument("--report", type=Path, default=README, help="the page to write to")
    arguments = parser.parse_args()
    pairs = (pair.split("=") for pair in arguments.seconds)
    times = row(arguments.command, {name: int(seconds) for name, seconds in pairs})
    report.write_row(arguments.report, "run-time", times, key=("command", "processor", "cores"))
    print(f"{times['command']}: {times['minutes']} minutes in all; written to {arguments.report}")


if __name__ == "__main__":
    main()
