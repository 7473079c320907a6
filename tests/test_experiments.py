"""The experiments: what they count, and what they hold apart. No time is measured here."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pandas as pd
import pytest
import torch

from conftest import ROOT
from network import CNN
from study import data
from study.drawing.scenes import KINDS


def test_operations_are_those_counted_by_hand():
    """Each multiply-add of the CNN counts as 2 operations, and is done forward, for the gradient
    of the weights, and for that of the input, which the first layer does not need."""
    from experiments.speed import operations_per_image

    first = 28 * 28 * 16 * 25
    all_layers = first + 14 * 14 * 32 * 16 * 25 + 1568 * 256 + 256 * 10
    assert operations_per_image(CNN, backward=False) == 2 * all_layers
    assert operations_per_image(CNN) == 2 * (3 * all_layers - first)


class Answers:
    """In place of the page's service: gives prepared answers, one a picture."""

    def __init__(self, *answers: list[int | None]):
        self.answers = iter(answers)

    def answer(self, levels, votes) -> dict:
        return {"digits": [{"digit": digit} for digit in next(self.answers)]}


def test_scenes_are_counted_as_read_refused_or_wrong(digits, monkeypatch):
    from experiments.scenes import SEED, scenes, table_of_kinds

    kinds = {name: scenes.KINDS[name] for name in ("30x40 pixels", "empty sheet, fold")}
    monkeypatch.setattr(scenes, "KINDS", kinds)
    test = digits[1][:100]
    of_test = test.images.numpy(), test.labels.numpy(), True
    label = scenes.draw("30x40 pixels", 1, SEED, *of_test)[1].item()
    answers = Answers(
        *([label], [], [None], [label, label], [label + 1]),  # the fourth has a digit too many
        *([], [None], [3], [None, 3], []),
    )
    table = table_of_kinds(answers, test, count=5, test=True).set_index("kind")
    assert table.loc["30x40 pixels"].tolist() == [5, 1, 2, 2]
    assert table.loc["empty sheet, fold"].tolist() == [5, 0, 4, 1]


def test_numbers_are_counted_and_digits_touch_where_they_should(digits):
    from experiments.scenes import _num_pieces, side_by_side, table_of_numbers, touching

    table = table_of_numbers(Answers(*[[]] * 3, *[[None, 1, 2]] * 3, *[[1]] * 6), digits[1], 3)
    assert table["refused"].tolist() == [3, 3, 0, 0]
    assert (table[["read", "refused", "wrong"]].sum(axis=1) == table["pictures"]).all()
    pair = digits[1].images[:2].numpy()  # a 7 and a 2, in one piece each
    assert _num_pieces(side_by_side(pair, touching(pair))) == 1
    assert _num_pieces(side_by_side(pair, touching(pair) + 1)) == 2


def test_table_of_scenes_has_every_kind():
    committed = (ROOT / "docs" / "scenes.md").read_text(encoding="utf-8")
    kinds = re.findall(r"^\| (\S.*?) +\| +\d", committed, re.M)
    assert kinds[: len(KINDS)] == list(KINDS) and len(kinds) > len(KINDS)


def test_cross_validation(tmp_path, monkeypatch, capsys, trainings):
    """Each image is classified by a network that was not trained on it."""
    from experiments import cross_validation
    from experiments.cross_validation import folds, main

    def threads(number, context, **how):
        return ThreadPoolExecutor(number, **how)

    monkeypatch.setattr(cross_validation, "ProcessPoolExecutor", threads)
    arguments = ["strength 0.5", "--folds", "1", "--images", "300", "--epochs", "1"]
    arguments += ["--runs-dir", str(tmp_path), "--report", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["cross_validation", *arguments])
    main()
    assert len(list(tmp_path.glob("cross_validation/*/model.pt"))) == 1
    runs = pd.read_csv(tmp_path / "cross_validation.csv")
    wrong = pd.read_csv(tmp_path / "cross_validation_errors.csv")
    assert json.loads(runs["settings"].item())["settings"]["num_epochs"] == 1
    assert (runs["images"].item(), runs["errors"].item()) == (60, len(wrong))
    assert re.search(rf"^strength 0.5 +1 +60 +{len(wrong)} ", capsys.readouterr().out, re.M)
    digits, all_folds = folds("random", 300)
    assert (digits.labels[wrong["image"]].numpy() == wrong["label"]).all()
    assert all(row.image in all_folds[row.fold][1] for row in wrong.itertuples())
    assert sorted(image for _, unseen in all_folds for image in unseen) == list(range(300))
    for train, unseen in all_folds:
        assert sorted([*train, *unseen]) == list(range(300))


def test_cross_validation_with_teachers_or_without_suspected_labels(tmp_path, monkeypatch):
    from experiments import cross_validation
    from experiments.cross_validation import NUM_FOLDS, TRIALS, Job, Trial, folds

    trained = []

    def search(grid, part, **keep):
        trained.append(part)
        return pd.DataFrame({"status": ["finished"]})

    monkeypatch.setattr(cross_validation.search, "search", search)
    monkeypatch.setattr(cross_validation.search, "load_model", lambda run: CNN().eval())
    first = TRIALS["strength 0.5"].settings
    monkeypatch.setitem(TRIALS, "taught", Trial(first, teachers=("strength 0.5",)))
    digits, all_folds = folds("random", 300)
    how = {"num_images": 300, "epochs": 1, "runs_dir": tmp_path}
    Job("random", "taught", 0, **how).train()
    teacher, pupil = trained
    assert teacher.labels.ndim == 1 and pupil.labels.shape == (len(teacher), 10)
    assert torch.equal(teacher.images, pupil.images)
    suspect = int(all_folds[0][0][0])
    Job("random", "strength 0.5", 0, left_out=(suspect,), **how).train()
    kept = [i for i in all_folds[0][0] if i != suspect]
    assert torch.equal(trained[-1].images, digits.images[kept])

    runs = pd.DataFrame({"split": "random", "trial": "strength 0.5", "fold": range(NUM_FOLDS)})
    told = {"image": suspect, "label": 3, "answer": 5, "confidence": 0.99}
    runs[:1].assign(**told).to_csv(tmp_path / "cross_validation_errors.csv", index=False)
    runs[1:].to_csv(tmp_path / "cross_validation.csv", index=False)
    with pytest.raises(ValueError, match=r"run all 5 folds of strength 0\.5 first"):
        cross_validation._suspected(tmp_path, "random", ("strength 0.5",))
    runs.to_csv(tmp_path / "cross_validation.csv", index=False)
    assert cross_validation._suspected(tmp_path, "random", ("strength 0.5",)) == (suspect,)
    assert cross_validation._suspected(tmp_path, "random", ()) == ()


def test_a_support_vector_machine_learns_from_more_and_more_images(tmp_path, monkeypatch):
    from experiments import how_many_images

    monkeypatch.setattr(how_many_images, "NUMBERS", (20, 200, 480))
    monkeypatch.setattr(sys, "argv", ["", "--images", "600", "--report", str(tmp_path)])
    how_many_images.main()
    table = pd.read_csv(tmp_path / "svm_by_images.csv")
    assert table["images"].tolist() == [20] * 3 + [200] * 3 + [480]
    assert (table["held_out"] == 120).all()
    means = table.groupby("images")["errors"].mean()
    assert means[20] > means[200] > means[480]


def test_committed_table_of_the_support_vector_machine():
    from experiments.how_many_images import NUMBERS, SEEDS

    table = pd.read_csv(ROOT / "results" / "svm_by_images.csv")
    seeds = table.groupby("images").size()
    assert seeds.index.tolist() == list(NUMBERS)
    assert seeds.tolist() == [len(SEEDS)] * (len(NUMBERS) - 1) + [1]


def test_make_gives_experiments_arguments_that_they_understand(monkeypatch):
    targets = [
        "benchmark",
        "benchmark-folds",
        "benchmark-svm",
        "benchmark-images",
    ]
    make = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True)
    lines = make.stdout.replace("\\\n", " ").splitlines()
    commands = [line.partition(" -m ")[2] for line in lines if " -m experiments." in line]
    assert len(commands) > len(targets)
    for module, *arguments in map(shlex.split, commands):
        # --help comes last, so the arguments before it are read first.
        monkeypatch.setattr(sys, "argv", [module, *arguments, "--help"])
        monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__")
        assert end.value.code == 0, module


def test_committed_tables_of_the_cross_validation():
    """The notebook shows trials of the list, and errors on images that were held out."""
    from experiments.cross_validation import KEY, TRIALS, folds

    runs, wrong = (
        pd.read_csv(ROOT / "results" / name)
        for name in ("cross_validation.csv", "cross_validation_errors.csv")
    )
    errors = runs.set_index(KEY)["errors"]
    assert errors.to_dict() == wrong.groupby(KEY).size().to_dict()
    for trial, settings in runs[["trial", "settings"]].itertuples(index=False):
        assert json.loads(settings) == json.loads(json.dumps(asdict(TRIALS[trial])))
    digits, all_folds = folds("random", 60_000)
    assert (digits.labels[wrong["image"]].numpy() == wrong["label"]).all()
    assert (wrong["answer"] != wrong["label"]).all()
    for fold, part in wrong[wrong["split"] == "random"].groupby("fold"):
        assert part["image"].isin(all_folds[fold][1]).all()


def test_folds_by_writer_keep_writers_apart():
    from experiments.cross_validation import NUM_FOLDS, folds

    writers = data.writers(ROOT / "data")[0]["writer"]
    _, all_folds = folds("by writer", 5000)
    assert len(all_folds) == NUM_FOLDS
    for train, unseen in all_folds:
        assert not set(writers[train]) & set(writers[unseen])


def test_support_vector_machine_is_chosen_on_held_out_images(tmp_path, monkeypatch):
    from experiments import support_vector_machine as script

    monkeypatch.setattr(script, "COSTS", (1, 10))
    monkeypatch.setattr(script, "GAMMAS", (1e-6, 0.02))
    monkeypatch.setattr(sys, "argv", ["svm", "--images", "300", "--report", str(tmp_path)])
    script.main()
    table = pd.read_csv(tmp_path / "svm.csv")
    assert table["judged_on"].tolist() == ["held out"] * 4 + ["test"]
    assert table["num_images"].tolist() == [240] * 4 + [300]
    *grid, final = table.to_dict("records")
    best = min(grid, key=lambda row: row["errors"])
    assert (final["cost"], final["gamma"]) == (best["cost"], best["gamma"])
    wrong = pd.read_csv(tmp_path / "svm_errors.csv")
    assert len(wrong) == final["errors"] == round(10_000 * (1 - final["accuracy"])) < 5000
    # Its images, 9 weights of each, and 45 biases.
    assert final["parameters"] == final["support_vectors"] * (784 + 9) + 45

    monkeypatch.setattr(script, "judge", None)  # what the table has is not trained again
    script.main()
    assert pd.read_csv(tmp_path / "svm.csv").equals(table)
