"""The record: how every run that is shown ended, kept in ``results/runs/STUDY.jsonl``.

Each line is a run, in the order of the notebook. With it, a notebook shows a run that was trained
elsewhere without training it again, as long as the run's settings, data and code are the same. The
weights stay where they were trained; a line has a digest of them. Processors differ in the last
digits of a result, so a line says where its run was trained.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from study import evaluation, weights
from study.data import NUM_DIGITS, Digits, fingerprint
from study.files import write_whole
from study.runs import digest, folder_name, read_history, read_settings, write

FOLDER = Path("results/runs")
STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, config=STRICT)
class Judged:
    """A run's answers to a set of images.

    Attributes:
        data: fingerprint of the images and labels.
        num_images: how many there are.
        answers: the misclassified images, by their index, and the digits that they were taken for.
    """

    data: str
    num_images: int
    answers: dict[str, int]


@dataclass(frozen=True, config=STRICT)
class Line:
    """A run on record: what determined it, where it was trained, and how it ended.

    Attributes:
        network, settings, data, code: must be the same for a run to be this one.
        device, precision, torch, processor, day: where and when it was trained.
        weights: digest of the trained weights, see ``weights.version``.
        result: a row of the search's table.
        history: columns of numbers, one row per epoch.
        judged: the run's answers to each set, by the name of the set.
    """

    network: str
    settings: dict[str, Any]
    data: str
    code: str
    device: str
    precision: str
    torch: str
    processor: str
    day: str
    weights: str
    result: dict[str, float | int | str]
    history: dict[str, list[float | int]]
    judged: dict[str, Judged]


def is_renewed() -> bool:
    """Return whether searches write the record, and train what is not in their cache.

    Otherwise they read it. The environment variable ``STUDY_RECORD`` says which: "renew" or "read".

    Raises:
        ValueError: the variable is something else.
    """
    mode = os.environ.get("STUDY_RECORD", "read")
    if mode not in ("read", "renew"):
        raise ValueError(f"STUDY_RECORD must be 'read' or 'renew', got {mode!r}")
    return mode == "renew"


def path_of(study: str) -> Path:
    """Return where the runs of a study are on record."""
    return FOLDER / f"{study}.jsonl"


def key(told: dict) -> str:
    """Return what a run and its line have in common: a digest of settings, data and code."""
    return digest({name: told[name] for name in ("network", "settings", "data", "code")})


def read(study: str) -> tuple[dict[str, Line], str]:
    """Return the lines of a study by their ``key``, and what is wrong with the others, or ""."""
    path, lines, bad = path_of(study), {}, []
    if not path.is_file():
        return {}, ""
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            line = TypeAdapter(Line).validate_json(text)
            if line.history and "status" in line.result:
                lines[key(asdict(line))] = line
                continue
        except ValueError:  # pydantic's is one
            pass
        bad.append(str(number))
    which = f"line {bad[0]} is" if len(bad) == 1 else f"lines {', '.join(bad)} are"
    return lines, f"{path}: {which} damaged or foreign and left out." if bad else ""


def renew(
    study: str, folders: Iterable[Path], search: Sequence[str], codes: dict[str, str]
) -> None:
    """Put the finished runs of a search on record; the other lines of the study stay.

    Args:
        search: the ``key`` of every run of the search, in the order that lines have.
        codes: today's hash of the code of each network, by name. Lines with other code are dropped,
            since no search can find them.
    """
    new = {key(asdict(line)): line for line in map(_line, folders)}
    old = {
        name: line
        for name, line in read(study)[0].items()
        if codes.get(line.network, line.code) == line.code
    }
    order = list(old)
    for name in new:
        if name not in order:
            later = [other for other in search[search.index(name) :] if other in order]
            order.insert(order.index(later[0]) if later else len(order), name)
    write_lines(study, [(old | new)[name] for name in order])


def write_lines(study: str, lines: Iterable[Line]) -> None:
    """Write the record of a study."""
    texts = (json.dumps(asdict(line), separators=(",", ":")) for line in lines)
    write_whole(path_of(study), "".join(f"{text}\n" for text in texts).encode())


def _line(folder: Path) -> Line:
    history = read_history(folder).to_dict("list")
    return Line(**read_settings(folder), history=history, judged=_read_judged(folder))


def unpack(line: Line, place: Path) -> Path:
    """Write a line below ``place`` as the folder of a run without weights; return the folder."""
    told = asdict(line)
    history, judged = told.pop("history"), told.pop("judged")
    identity = {name: told[name] for name in ("network", "settings", "data", "code")}
    folder = place / folder_name(identity | {n: told[n] for n in ("device", "precision", "torch")})
    files = {"settings.json": json.dumps(told), "judged.json": json.dumps(judged)}
    files["history.csv"] = pd.DataFrame(history).to_csv(index=False)
    write(folder, {name: text.encode() for name, text in files.items()})
    return folder


def judge(folder: Path, sets: dict[str, Digits], prints: dict[str, str]) -> None:
    """Keep a run's answers to each of several sets, by name; its weights must be there.

    Args:
        prints: fingerprint of each set.
    """
    judged = _read_judged(folder)
    new = [name for name in sets if name not in judged or judged[name].data != prints[name]]
    if not new:
        return
    model = weights.load_model(folder / "model.pt")
    for name in new:
        answers, labels = answer(model, sets[name].images), sets[name].labels
        wrong = (answers != labels).nonzero().flatten().tolist()
        told = {str(index): int(answers[index]) for index in wrong}
        judged[name] = Judged(prints[name], len(labels), told)
    texts = {name: asdict(one) for name, one in judged.items()}
    write_whole(folder / "judged.json", json.dumps(texts).encode())


def answer(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the most probable digit of each image: int64 (N,) for uint8 images (N, 28, 28)."""
    logits = evaluation.predict_on_all_cores(model, images)
    return logits[:, :NUM_DIGITS].argmax(1)


def answers(folder: Path, digits: Digits) -> torch.Tensor | None:
    """Return a run's answers, int64 (N,), to a set that it was judged on; None if it was not."""
    return _answers(_read_judged(folder), digits, fingerprint(digits))


def answers_of_other_seeds(model: torch.nn.Module, digits: Digits) -> list[torch.Tensor]:
    """Return the answers, int64 (N,), of runs on record that differ from a network only in seed.

    Their settings, data and code are the same, and they were judged on ``digits``. There are none
    if the network itself is not on record.
    """
    digest_of, data = weights.version(model), fingerprint(digits)
    found = []
    for path in sorted(FOLDER.glob("*.jsonl")):
        lines = read(path.stem)[0].values()
        own = next((line for line in lines if line.weights == digest_of), None)
        others = [
            line for line in lines if own and line != own and _but_seed(line) == _but_seed(own)
        ]
        found += [
            one for line in others if (one := _answers(line.judged, digits, data)) is not None
        ]
    return found


def _but_seed(line: Line) -> str:
    """Return what runs that differ only in the seed have in common."""
    settings = {name: value for name, value in line.settings.items() if name != "seed"}
    return key(asdict(line) | {"settings": settings})


def _answers(judged: dict[str, Judged], digits: Digits, data: str) -> torch.Tensor | None:
    for one in judged.values():
        if one.data == data:
            answers = digits.labels.clone()
            for index, wrong in one.answers.items():
                answers[int(index)] = wrong
            return answers
    return None


def _read_judged(folder: Path) -> dict[str, Judged]:
    path = folder / "judged.json"
    return TypeAdapter(dict[str, Judged]).validate_json(path.read_bytes()) if path.exists() else {}


def where(told: dict) -> str:
    """Say where a run was trained, such as "bfloat16 on AMD EPYC (family 26, model 2)"."""
    return f"{told['precision']} on {told['processor']}"


def seed_deviation(study: str, loss: str) -> float | None:
    """Return the standard deviation of a loss between seeds, relative to its mean.

    It is pooled over the settings of a study that are on record with several seeds. If there are
    no such settings, return None.
    """
    lines = [line for line in read(study)[0].values() if loss in line.result]
    seeds: dict[str, list[float]] = {}
    for line in lines:
        seeds.setdefault(_but_seed(line), []).append(line.result[loss])
    groups = [np.array(values) for values in seeds.values() if len(values) > 1]
    if not groups:
        return None
    freedom = sum(len(values) - 1 for values in groups)
    return float(np.sqrt(sum(((v / v.mean() - 1) ** 2).sum() for v in groups) / freedom))
