"""Write how long `make run` or `make long` took into the README, in this machine's row.

python -m experiments.run_time "make run" data_exploration=42 train=161
"""

import argparse

from study import tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command")
    parser.add_argument("seconds", nargs="+", help="NOTEBOOK=SECONDS")
    parser.add_argument("--report", default="README.md", help="the page to write to")
    arguments = parser.parse_args()
    seconds = dict(pair.split("=") for pair in arguments.seconds)
    row = {"command": arguments.command} | tables.machine()
    row["minutes"] = f"{sum(map(int, seconds.values())) / 60:.1f}"
    row["seconds of each notebook"] = ", ".join(f"{name} {s}" for name, s in seconds.items())
    tables.write_row(arguments.report, "run-time", row, key=("command", "processor", "cores"))
    print(f"{row['command']}: {row['minutes']} minutes in all; written to {arguments.report}")


if __name__ == "__main__":
    main()
