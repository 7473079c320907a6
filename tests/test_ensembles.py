"""Several runs as one network."""

from __future__ import annotations

import shutil

import pytest
import torch

from network import DeepCNN, Ensemble
from study import ensembles, evaluation, search, weights


@pytest.fixture
def runs(few, tmp_path):
    """Two trained DeepCNNs that differ by their seed."""
    grid = {"seed": [0, 1], "width": 2, "lr": 0.01, "batch_size": 100, "num_epochs": 1}
    where = {"study": "two", "runs_dir": tmp_path / "runs", "progress": False}
    return search.search(grid, few[0], network=DeepCNN, **where, tensorboard=False)


def test_an_ensemble_of_runs_averages_them_and_is_kept(few, runs, tmp_path):
    path = tmp_path / "ensemble.pt"
    ensemble = ensembles.keep(runs, path, {"num_images": 600})
    singles = [search.load_model(run) for _, run in runs.iterrows()]
    images = few[1].images
    mean = sum(evaluation.predict(one, images).softmax(1) for one in singles) / 2
    assert torch.allclose(evaluation.predict(ensemble, images).softmax(1), mean, atol=1e-5)
    content = weights.read_model_file(path)
    assert content["hyperparameters"] == {"num_images": 600, "seeds": (0, 1)}
    assert content["history"]["seed"].tolist() == [0, 1]
    assert content["history"]["train_loss"].notna().all()


def test_the_weights_of_the_runs_are_needed_only_where_they_changed(runs, tmp_path, monkeypatch):
    path = tmp_path / "ensemble.pt"
    ensembles.keep(runs, path, {})
    written = path.read_bytes()
    shutil.copy(path, tmp_path / "same.pt")
    with monkeypatch.context() as patch:
        patch.setattr(search, "load_model", None)
        again = ensembles.keep(runs, path, {})
        assert isinstance(again, Ensemble) and len(again.members) == 2
        assert path.read_bytes() == written
        with pytest.raises(TypeError):
            ensembles.keep(runs[::-1], path, {})
    ensembles.keep(runs[::-1], path, {})
    assert weights.read_model_file(path)["hyperparameters"]["seeds"] == (1, 0)
