"""The record: what is on it is not trained again, and nothing else is taken from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import pandas as pd
import pytest
import torch

from network import CNN
from rnns import GRU
from study import record, runs, scores, search, weights, workers
from study.runs import RunError

STUDY = "study"
GRID = {"lr": [0.003, 0.001], "batch_size": 64}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Runs and their record stand below the folder that notebooks run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "_jobs", {})
    monkeypatch.setattr(search, "_copies", {})
    return tmp_path


@pytest.fixture
def trainings(monkeypatch):
    """The runs that were really trained: in the process of the test, which is quicker."""
    trained = []

    def here(jobs, train, valid, tensorboard, num_workers):
        for folder, job in jobs.items():
            trained.append(job[1]["settings"])
            yield folder, runs.train(*job, train, valid, tensorboard)

    monkeypatch.setattr(workers, "train_all", here)
    return trained


@pytest.fixture
def find(few, trainings):
    """Search as a notebook does, and judge each run on the images that are held out."""
    train, valid = few

    def find(grid=GRID, **settings):
        shared = {"study": STUDY, "network": CNN, "num_epochs": 1, "judge": {"held out": valid}}
        return search.search(grid, train, tensorboard=False, **(shared | settings))

    return find


@pytest.fixture
def recorded(find, monkeypatch, trainings):
    """Put the runs of a search on record; then forget the runs themselves, as a fresh clone."""

    def put(*arguments, **settings):
        monkeypatch.setenv("STUDY_RECORD", "renew")
        found = find(*arguments, **settings)
        monkeypatch.setenv("STUDY_RECORD", "read")
        shutil.rmtree("runs")
        search._jobs.clear()
        trainings.clear()
        return found

    return put


def lines() -> list[dict]:
    return [json.loads(text) for text in record.path_of(STUDY).read_text().splitlines()]


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables of runs show the same results, seconds included."""
    pd.testing.assert_frame_equal(one.drop(columns="folder"), other.drop(columns="folder"))
    return True


def test_what_is_on_record_is_not_trained_again(recorded, find, trainings, few, capsys):
    there = recorded()
    here = find()
    assert trainings == [] and same(here, there)
    said = capsys.readouterr().out
    assert "study: 2 of 2 runs are on record: float32 on" in said
    assert "run/s" not in said.split("on record")[1]  # no bar where nothing was trained
    history = search.histories(here)
    assert len(history) == 2 and history["train_loss"].notna().all()


def test_the_record_repeats_to_the_last_digit(recorded, find, few):
    there = recorded()
    expected = lines()
    here = find()
    for (_, run), line in zip(here.iterrows(), expected, strict=True):
        assert run["train_loss"] == line["result"]["train_loss"]
        history = runs.read_history(record.Path(run["folder"]))
        assert history["train_loss"].tolist() == line["history"]["train_loss"]
    assert same(here, there)


def test_one_more_value_trains_what_is_new(recorded, find, trainings):
    recorded()
    found = find(GRID | {"lr": [0.003, 0.002, 0.001]})
    assert [settings["lr"] for settings in trainings] == [0.002]
    assert found["lr"].tolist() == [0.003, 0.002, 0.001]


def test_a_line_tells_what_determined_a_run_and_how_it_ended(recorded, few):
    found = recorded()
    line = lines()[0]
    assert line["network"] == "CNN" and line["settings"]["lr"] == 0.003
    assert line["result"]["train_loss"] == found["train_loss"][0]
    assert line["precision"] == "float32" and line["processor"] and len(line["day"]) == 10
    assert line["judged"]["held out"]["num_images"] == len(few[1])


@pytest.mark.parametrize("changed", ["settings", "data", "code"])
def test_settings_data_and_code_have_to_match(recorded, find, trainings, changed, few):
    recorded()
    text = record.path_of(STUDY).read_text()
    line = lines()[0]
    other = {"lr": 0.5} if changed == "settings" else "0123456789ab"
    record.path_of(STUDY).write_text(text.splitlines()[1] + "\n")
    record.write_lines(
        STUDY,
        [*record.read(STUDY)[0].values(), record.Line(**line | {changed: other, "judged": {}})],
    )
    find()
    assert [settings["lr"] for settings in trainings] == [0.003]


def test_the_machine_need_not_match(recorded, find, trainings, capsys):
    recorded()
    elsewhere = {
        "precision": "bfloat16",
        "processor": "another",
        "torch": "1.0",
        "device": "cuda:0",
    }
    record.write_lines(STUDY, [record.Line(**line | elsewhere) for line in map(_built, lines())])
    found = find(GRID | {"lr": [0.003, 0.002, 0.001]})
    assert len(trainings) == 1
    assert found["trained"].str.startswith("bfloat16 on another").tolist() == [True, False, True]
    assert "2 of 3 runs are on record: bfloat16 on another" in capsys.readouterr().out
    assert "trained" not in find(GRID)


def _built(line: dict) -> dict:
    return line | {"judged": {name: record.Judged(**one) for name, one in line["judged"].items()}}


def test_a_close_call_between_two_machines_is_told(recorded, find, capsys):
    """Seeds of the record are the yardstick."""
    recorded({"lr": 0.003, "batch_size": 64, "seed": [0, 1, 2]})
    built = [_built(line) for line in lines()]
    losses = [2.0, 2.2, 2.1]
    for line, loss in zip(built, losses, strict=True):
        line |= {"precision": "bfloat16", "processor": "another"}
        line["result"]["train_loss"] = loss
    record.write_lines(STUDY, [record.Line(**line) for line in built])
    deviation = record.seed_deviation(STUDY, "train_loss")
    assert deviation == pytest.approx(0.1 / 2.1)
    found = find({"lr": [0.003, 0.002], "batch_size": 64, "seed": 0})
    for gap, told in ((0.9, True), (1.1, False)):
        found.loc[1, "train_loss"] = 2.0 / (1 + gap * deviation)
        capsys.readouterr()
        assert search.best(found, "train_loss").name == 1
        assert ("Too close to call" in capsys.readouterr().out) == told


def test_retrain_trains_here(recorded, find, trainings):
    recorded()
    find(retrain=True)
    assert len(trainings) == 2


def test_renewing_ignores_the_record_and_not_what_was_trained_here(
    recorded, find, trainings, monkeypatch
):
    recorded()
    monkeypatch.setenv("STUDY_RECORD", "renew")
    find({"lr": 0.003, "batch_size": 64})
    find()  # as after an interruption
    assert [settings["lr"] for settings in trainings] == [0.003, 0.001]
    assert [line["settings"]["lr"] for line in lines()] == [0.003, 0.001]


def test_only_renewing_writes_the_record(find, monkeypatch):
    find()
    assert not record.path_of(STUDY).exists()
    monkeypatch.setenv("STUDY_RECORD", "always")
    with pytest.raises(ValueError, match="STUDY_RECORD must be 'read' or 'renew', got 'always'"):
        find()


def test_the_record_of_several_searches_is_in_their_order(recorded, find):
    recorded()
    first = lines()
    recorded({"lr": [0.003, 0.01], "batch_size": 64})
    assert [line["settings"]["lr"] for line in lines()] == [0.003, 0.001, 0.01]
    recorded(GRID | {"lr": [0.004, 0.003, 0.002, 0.001]})
    rates = [0.004, 0.003, 0.002, 0.001, 0.01]
    assert [line["settings"]["lr"] for line in lines()] == rates
    recorded()
    assert [line["settings"]["lr"] for line in lines()] == rates
    assert lines()[1]["weights"] == first[0]["weights"]


def test_the_order_is_that_of_the_grid_however_runs_end(recorded, monkeypatch):
    def backwards(jobs, *arguments):
        for folder, job in reversed(jobs.items()):
            yield folder, runs.train(*job, *arguments[:3])

    monkeypatch.setattr(workers, "train_all", backwards)
    recorded(GRID | {"lr": [0.003, 0.002, 0.001]})
    assert [line["settings"]["lr"] for line in lines()] == [0.003, 0.002, 0.001]


def test_lines_of_changed_code_are_dropped_when_a_record_is_renewed(recorded, few):
    recorded()
    old = _built(lines()[0]) | {"code": "0123456789ab"}
    other = old | {"network": "LSTM"}  # not in the search: nothing is known of its code
    record.write_lines(STUDY, [record.Line(**old), record.Line(**other)])
    recorded()
    assert [(line["network"], line["code"] == old["code"]) for line in lines()] == [
        ("LSTM", True),
        ("CNN", False),
        ("CNN", False),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],
        lambda text: '{"some": "other file"}',
        lambda text: "<<<<<<< HEAD",
        lambda text: text.replace('"history":{', '"history":[').replace("]},", "]],"),
        lambda text: text.replace('"status":', '"state":'),
        lambda text: text.replace('"code":', '"code ":'),
        lambda text: "",
    ],
)
def test_a_line_that_cannot_be_read_costs_that_run(recorded, find, trainings, capsys, damage):
    recorded()
    one, other = record.path_of(STUDY).read_text().splitlines()
    record.path_of(STUDY).write_text(f"{damage(one)}\n{other}\n")
    find()
    assert [settings["lr"] for settings in trainings] == [0.003]
    said = capsys.readouterr().out
    assert said.count("results/runs/study.jsonl: line 1 is damaged or foreign and left out.") == 1


def test_bytes_that_are_no_text_cost_that_run(recorded, find, trainings):
    recorded()
    path = record.path_of(STUDY)
    path.write_bytes(b"\xff\xfe\x00" + path.read_bytes())
    find()
    assert len(trainings) == 1


def test_answers_are_kept_without_a_network(recorded, find, few, trainings, monkeypatch):
    _, valid = few
    there = recorded()
    here = find()
    with monkeypatch.context() as patch:
        patch.setattr(search, "load_model", None)
        answers = [search.predictions(run, valid) for _, run in here.iterrows()]
    assert all(len(one) == len(valid) and one.dtype == torch.int64 for one in answers)
    for one, (_, run) in zip(answers, find(retrain=True).iterrows(), strict=True):
        assert torch.equal(one, record.answer(search.load_model(run), valid.images))
    assert len(there) == 2


def test_answers_to_other_images_are_computed(recorded, find, few, trainings, capsys):
    """Where the weights are not here, they have to be trained first."""
    recorded()
    run = find().iloc[1]
    answers = search.predictions(run, few[1][:50])
    assert torch.equal(answers, search.predictions(run, few[1])[:50])
    assert [settings["lr"] for settings in trainings] == [0.001]


def test_a_set_that_was_added_later_is_judged_from_the_kept_weights(find, few, trainings):
    find()
    found = find(judge={"held out": few[1], "more": few[0]})
    assert len(trainings) == 2
    judged = json.loads((record.Path(found["folder"][0]) / "judged.json").read_text())
    assert sorted(judged) == ["held out", "more"]


def test_keep_leaves_a_file_with_the_same_weights(recorded, find, few, trainings, monkeypatch):
    monkeypatch.setenv("STUDY_RECORD", "renew")
    search.keep(find().iloc[0], "models/cnn.pt")
    before = record.Path("models/cnn.pt").stat().st_mtime_ns
    recorded()
    run = find().iloc[0]
    search.keep(run, "models/cnn.pt")
    assert trainings == [] and record.Path("models/cnn.pt").stat().st_mtime_ns == before
    model = search.load_model(run)  # found in models/
    assert weights.version(model) == runs.read_settings(record.Path(run["folder"]))["weights"]
    assert trainings == []


@pytest.mark.parametrize("there", ["nothing", "another run"])
def test_keep_trains_one_run_where_its_weights_are_not_here(
    recorded, find, trainings, capsys, there
):
    recorded()
    found = find()
    if there != "nothing":
        search.keep(found.iloc[1], "models/cnn.pt")
        trainings.clear()
    capsys.readouterr()
    search.keep(found.iloc[0], "models/cnn.pt")
    assert [settings["lr"] for settings in trainings] == [0.003]
    said = capsys.readouterr().out
    assert "not on this machine: that run is trained again, in float32" in said
    digest = runs.read_settings(record.Path(found["folder"][0]))["weights"]
    assert weights.version(weights.load_model("models/cnn.pt")) == digest
    search.load_model(found.iloc[0])
    search.load_model(find().iloc[0])  # it is kept for the next search, too
    assert len(trainings) == 1


def test_weights_of_another_kernels_search_are_asked_for(recorded, find, monkeypatch):
    recorded()
    run = find().iloc[0]
    search._jobs.clear()  # as in another process
    with pytest.raises(RunError, match="not on this machine: search for it again"):
        search.load_model(run)


def test_a_diverged_run_is_on_record(recorded, find, trainings):
    """Its losses may be no number, which JSON has no standard word for."""
    there = recorded({"lr": [1e12, 0.001], "batch_size": 64})
    here = find({"lr": [1e12, 0.001], "batch_size": 64})
    assert trainings == [] and here["status"].tolist() == ["diverged", "finished"]
    assert same(here, there)


def test_a_validation_set_is_part_of_the_data(recorded, few, trainings):
    train, valid = few
    shared = {"study": STUDY, "network": GRU, "num_epochs": 1, "tensorboard": False}
    recorded(network=GRU)
    found = search.search({"lr": 0.003, "batch_size": 64}, train, valid, **shared)
    assert len(trainings) == 1 and "valid_loss" in found


def test_a_recorded_run_trained_in_another_precision_says_so(recorded, find, capsys, trainings):
    recorded()
    run = find({"lr": [0.003], "batch_size": 64}, precision="bfloat16").iloc[0]
    assert trainings == []
    search.load_model(run)
    assert "trained again, in bfloat16" in capsys.readouterr().out


def test_lines_are_what_is_written(recorded):
    recorded()
    told, problem = record.read(STUDY)
    assert problem == ""
    assert [asdict(line) for line in told.values()] == lines()


def test_answers_of_the_other_seeds_of_a_saved_model(find, few, monkeypatch):
    _, valid = few
    monkeypatch.setenv("STUDY_RECORD", "renew")
    found = find({"lr": [0.003, 0.001], "seed": [0, 1, 2], "batch_size": 64})
    models = [search.load_model(run) for _, run in found.iterrows()]
    answers = record.answers_of_other_seeds(models[1], valid)
    for one, index in zip(answers, (0, 2), strict=True):
        assert torch.equal(one, record.answer(models[index], valid.images))
    assert record.answers_of_other_seeds(models[1], valid[:100]) == []
    assert record.answers_of_other_seeds(CNN().eval(), valid) == []


def errors(model, sets):
    return {
        name: float((record.answer(model, one.images) != one.labels).float().mean())
        for name, one in sets.items()
    }


def impossible(model, sets):
    raise AssertionError("measured again")


@pytest.fixture
def renewed(monkeypatch):
    """Measure as `make run` does."""

    def measure(*arguments):
        with monkeypatch.context() as patch:
            patch.setenv("STUDY_RECORD", "renew")
            return scores.measured(*arguments, "results/scores.csv")

    return measure


def test_what_was_measured_is_not_measured_again(few, renewed):
    train, valid = few
    models = {"one": CNN().eval(), "other": CNN().eval()}
    sets = {"b": train, "a": valid}
    there = renewed(models, sets, errors)
    assert there.index.tolist() == ["one", "other"] and there.columns.tolist() == ["b", "a"]
    assert there.loc["other", "a"] == errors(models["other"], sets)["a"]
    here = scores.measured(models, sets, impossible, "results/scores.csv")
    pd.testing.assert_frame_equal(here, there)
    with pytest.raises(AssertionError):  # it is the proof
        renewed(models, sets, impossible)


def test_other_weights_or_images_are_measured(few, renewed):
    valid = few[1]
    models = {"one": CNN().eval()}
    renewed(models, {"a": valid}, errors)
    table = record.Path("results/scores.csv").read_text()
    renamed = {"renamed": models["one"]}
    assert len(scores.measured(renamed, {"a": valid}, impossible, "results/scores.csv")) == 1
    for changed in (({"one": CNN().eval()}, {"a": valid}), (models, {"a": valid[:199]})):
        with pytest.raises(AssertionError):
            scores.measured(*changed, impossible, "results/scores.csv")
        scores.measured(*changed, errors, "results/scores.csv")
    assert record.Path("results/scores.csv").read_text() == table  # reading writes nothing
    renewed({"one": CNN().eval(), "more": CNN().eval()}, {"a": valid}, errors)
    assert pd.read_csv("results/scores.csv")["model"].tolist() == ["one", "more"]


def test_a_run_on_record_is_measured_without_its_weights(recorded, find, few, renewed, monkeypatch):
    monkeypatch.setenv("STUDY_RECORD", "renew")
    run = find().iloc[0]
    renewed({"run": run}, {"a": few[1]}, errors)
    recorded()
    here = scores.measured({"run": find().iloc[0]}, {"a": few[1]}, impossible, "results/scores.csv")
    assert 0 < here.loc["run", "a"] <= 1
