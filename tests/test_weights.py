"""A model and its file."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from network import CNN, Network
from rnns import GRU
from study import evaluation, training, weights

SETTINGS = {"lr": 0.003, "batch_size": 64, "num_epochs": 1}
# Those of the two files; tests of others may have registered more.
NETWORKS = [one for name, one in Network.known.items() if name != "RowReader"]
NETWORKS = [one for one in NETWORKS if one.__module__ in ("network", "rnns")]


def saved(path, few):
    torch.manual_seed(0)
    model = CNN()
    history = training.fit(model, few[0], progress=False, **SETTINGS)
    weights.save_model(path, model, hyperparameters=SETTINGS, seed=0, history=history)
    return model, history


def test_save_and_load(few, tmp_path):
    model, history = saved(tmp_path / "new" / "model.pt", few)
    loaded = weights.load_model(tmp_path / "new" / "model.pt")
    assert not loaded.training
    images = few[1].images
    assert torch.equal(evaluation.predict(model, images), evaluation.predict(loaded, images))
    content = weights.read_model_file(tmp_path / "new" / "model.pt")
    assert (content["network"], content["seed"]) == ("CNN", 0)
    assert content["hyperparameters"] == SETTINGS
    assert content["versions"]["torch"] == torch.__version__
    pd.testing.assert_frame_equal(content["history"], history)


def test_saving_is_atomic(few, tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    saved(path, few)
    before, write_bytes = path.read_bytes(), Path.write_bytes

    def fail_half_way(target, content):
        write_bytes(target, content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail_half_way)
    with pytest.raises(OSError, match=r"model\.pt cannot be written: No space left"):
        weights.save_model(path, CNN(), hyperparameters={}, seed=1, history=pd.DataFrame())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_file_with_the_same_weights_is_left_alone(few, tmp_path):
    """A training repeated changes nothing but its seconds, and these are not worth a new file."""
    path = tmp_path / "model.pt"
    model, history = saved(path, few)
    before = path.read_bytes()
    arguments = {"hyperparameters": SETTINGS, "seed": 0}
    weights.save_model(path, model, history=history.assign(seconds=0.5), **arguments)
    assert path.read_bytes() == before
    with torch.no_grad():
        model.classifier.bias[0] += 1e-3
    weights.save_model(path, model, history=history, **arguments)
    assert path.read_bytes() != before


def test_a_damaged_file_never_replaces_a_good_one(few, tmp_path):
    path = tmp_path / "model.pt"
    saved(path, few)
    before = path.read_bytes()
    with pytest.raises(weights.ModelFileError, match="damaged"):
        weights.keep(path, before[:-1000])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "value, held",
    [
        (np.float64(0.5), 0.5),
        (np.arange(2), (0, 1)),
        ({"rotation": np.float32(2)}, {"rotation": 2.0}),
        ([("a", np.bool_(True))], (("a", True),)),
    ],
)
def test_numbers_of_numpy_can_be_kept_at_any_depth(tmp_path, value, held):
    path = tmp_path / "model.pt"
    model, history = CNN(channels=np.array([4, 8])), pd.DataFrame({"seconds": [1.0]})
    weights.save_model(path, model, hyperparameters={"x": value}, seed=np.int64(3), history=history)
    content = weights.read_model_file(path)
    assert (content["hyperparameters"], content["seed"]) == ({"x": held}, 3)
    assert weights.load_model(path).arguments["channels"] == (4, 8)


@pytest.mark.parametrize("value", [torch.ones(2), torch.nn.ReLU, {1: 2}, object(), {1, 2}])
def test_what_a_file_cannot_hold_is_refused_by_name(tmp_path, value):
    told = {"hyperparameters": {"odd": [value]}, "seed": 0, "history": pd.DataFrame()}
    with pytest.raises(ValueError, match=r"hyperparameters\['odd'\] must be made of numbers"):
        weights.save_model(tmp_path / "model.pt", CNN(), **told)
    assert not (tmp_path / "model.pt").exists()


def test_loading_leaves_the_callers_random_numbers_alone(few, tmp_path):
    saved(tmp_path / "model.pt", few)
    before = torch.get_rng_state()
    weights.load_model(tmp_path / "model.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_version_goes_by_weights_alone():
    torch.manual_seed(0)
    model, same = CNN(), CNN(dropout=0.5)
    same.load_state_dict(model.state_dict())
    assert weights.version(model) == weights.version(same)
    assert len(weights.version(model)) == 12
    with torch.no_grad():
        same.classifier.bias[0] += 1e-3
    assert weights.version(model) != weights.version(same)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("malicious",)


@pytest.mark.parametrize(
    "kind",
    ["missing", "truncated", "empty", "text", "foreign", "older", "flipped bit", "pickle", "class"],
)
def test_unreadable_file_names_file_and_cure(few, tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    saved(path, few)
    content = torch.load(path, weights_only=True)
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flipped bit":
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "foreign":
        torch.save(content["state_dict"], path)
    elif kind == "older":
        torch.save(content | {"format": "mnist-study-0"}, path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious()))
    elif kind == "class":
        torch.save(content | {"network": "Malicious"}, path)
    cure = "is not known: import its class first" if kind == "class" else "git restore"
    with pytest.raises(weights.ModelFileError, match=rf"model\.pt.*{cure}"):
        weights.load_model(path)
    assert not (tmp_path / "malicious").exists()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_file_from_before_there_were_eleven_classes_loads(network, tmp_path):
    content = weights.pack(network(), hyperparameters={}, seed=0, history=pd.DataFrame())
    old = torch.load(io.BytesIO(content), weights_only=True)
    assert old["arguments"].pop("num_classes") == 10
    torch.save(old, tmp_path / "old.pt")
    assert weights.load_model(tmp_path / "old.pt").arguments["num_classes"] == 10


@pytest.mark.parametrize("network", NETWORKS)
def test_a_file_of_a_network_with_eleven_outputs_loads(network, tmp_path):
    model = network(num_classes=11)
    content = weights.pack(model, hyperparameters={}, seed=0, history=pd.DataFrame())
    weights.keep(tmp_path / "new.pt", content)
    loaded = weights.load_model(tmp_path / "new.pt")
    assert loaded.arguments["num_classes"] == 11
    assert loaded(torch.rand(2, 1, 28, 28)).shape == (2, 11)


# --- The networks that a file may name ---


def test_a_network_is_known_by_its_name_and_remembers_its_arguments():
    assert Network.known["GRU"] is GRU
    assert GRU(12, num_layers=1).arguments == {
        "hidden_size": 12, "num_layers": 1, "dropout": 0.0, "num_classes": 10, "order": "rows",
        "channels": (), "every_row": False,
    }  # fmt: skip


def test_two_files_cannot_have_a_network_of_the_same_name():
    body = {"__module__": "mine"}
    with pytest.raises(TypeError, match=r"network\.py has a network called CNN"):
        type("CNN", (Network,), body)
    assert Network.known["CNN"] is CNN
    first = type("Tried", (Network,), {"__module__": "__main__"})
    second = type("Tried", (Network,), body)  # from a notebook into a file
    assert Network.known.pop("Tried") is second is not first
