"""Keep the record after an edit of code that changes no number.

    python -m experiments.adopt

A run on record counts as long as the code that its training passes through has the hash given in
its line. After an edit, such as a renamed variable, this script trains short runs with the code of
the commit that put the lines on record (in a git worktree) and with today's code, on this machine:
one for each network and each set of settings on record. If all weights agree to the last bit, the
lines get today's hash. Otherwise nothing is written: train again (``make run``, ``make long``).
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from study import record
from study.code_hash import ROOT
from study.record import Line

# Run in the root of a tree. It prints the hash of the code of each run, and a digest of its weights
# after a short training.
SHORT_RUNS = """
import dataclasses, importlib, json, pathlib, sys
from network import Network
from study import code_hash, data, runs, training, weights

for path in pathlib.Path().glob("*.py"):  # a network may be in any file beside the notebooks
    importlib.import_module(path.stem)
train, _ = data.load()
results = []
for told in json.load(sys.stdin):
    network = Network.known[told["network"]]
    run = runs.Run.of(told["settings"] | {"network": network, "num_epochs": 2})
    images = train[: 3 * run.settings.batch_size + 10]
    if run.arguments.get("num_classes", 10) > 10:
        images.labels[::9] = data.NO_DIGIT
    valid = images[:50] if "valid_loss" in told["result"] else None
    model, *_ = training.train_network(
        network, run.arguments, images, valid, **dataclasses.asdict(run.settings)
    )
    results.append([code_hash.code_hash(network), weights.version(model)])
print(json.dumps(results))
"""
Kind = tuple[str, str, str]  # study, code, and settings


def main() -> None:
    """Adopt the lines whose code differs from today's.

    Raises:
        SystemExit: weights differ, or no commit has the code of the lines; the message says which.
    """
    studies = {path.stem: list(record.read(path.stem)[0].values()) for path in record_files()}
    kinds: dict[Kind, Line] = {}  # one line stands for all of its kind
    for study, lines in studies.items():
        for line in lines:
            kinds.setdefault(_kind(study, line), line)
    today = _short_runs(ROOT, kinds)
    stale = {kind: line for kind, line in kinds.items() if today[kind][0] != line.code}
    for study, code in dict.fromkeys(kind[:2] for kind in stale):
        old = {kind: line for kind, line in stale.items() if kind[:2] == (study, code)}
        commit = _commit_of(study, code)
        then = _short_runs_at(commit, old)
        for kind, line in old.items():
            told = f"{line.network} {line.settings} of {study}"
            if then[kind][0] != code:
                raise SystemExit(f"not adopted: commit {commit} has other code than {told}")
            if then[kind][1] != today[kind][1]:
                raise SystemExit(f"not adopted: since commit {commit}, {told} gets other weights")
    for study in dict.fromkeys(study for study, *_ in stale):
        lines = [replace(line, code=today[_kind(study, line)][0]) for line in studies[study]]
        record.write_lines(study, lines)
    print(f"{len(stale)} of {len(kinds)} kinds of runs had other code and get the same weights.")


def record_files() -> list[Path]:
    """Return the files of the record."""
    return sorted(record.FOLDER.glob("*.jsonl"))


def _kind(study: str, line: Line) -> Kind:
    """Return what is common to all runs that take the same path through the code."""
    numbers = ("lr", "num_epochs", "seed")
    settings = {name: value for name, value in line.settings.items() if name not in numbers}
    told = [line.network, settings, "valid_loss" in line.result]
    return study, line.code, json.dumps(told, sort_keys=True)


def _commit_of(study: str, code: str) -> str:
    """Return the last commit that put lines with such code on record, or took some off."""
    path = record.path_of(study).as_posix()
    commit = _git("log", "-1", "--format=%h", f"-S{code}", "--", path)
    if not commit:
        raise SystemExit(f"not adopted: no commit has put code {code} on record in {path}")
    return commit


def _short_runs_at(commit: str, lines: dict[Kind, Line]) -> dict[Kind, tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--detach", str(tree), commit)
        try:
            return _short_runs(tree, lines)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _short_runs(tree: Path, lines: dict[Kind, Line]) -> dict[Kind, tuple[str, str]]:
    """Train a short run of each kind with the code of a tree; return hashes of code and weights."""
    runs = [asdict(line) for line in lines.values()]
    done = subprocess.run(
        [sys.executable, "-c", SHORT_RUNS],
        cwd=tree,
        input=json.dumps(runs),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"not adopted: a short run failed in {tree}:\n{done.stderr}")
    hashes: Iterable = json.loads(done.stdout.splitlines()[-1])
    return {kind: tuple(one) for kind, one in zip(lines, hashes, strict=True)}


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
