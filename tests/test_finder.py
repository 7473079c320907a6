"""The network that finds digits, and its training, in miniature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import ROOT
from experiments import finder as training
from study import weights
from study.drawing import pages
from study.evaluation import num_parameters
from study.reading.finder import MOST, STRIDE, Finder, maps, normalised


@pytest.mark.parametrize("shape", [(16, 16), (48, 80), (33, 50)])
def test_maps_have_the_size_of_the_picture(shape):
    level = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = maps(Finder().eval(), level)
    assert found.shape == (2, *shape) and 0 < found.min() <= found.max() < 1


def test_network_is_small_and_sees_far():
    finder = Finder().eval()
    assert num_parameters(finder) < 400_000
    torch.manual_seed(0)
    batch = torch.randn(1, 2, 16 * STRIDE, 16 * STRIDE, requires_grad=True)
    finder(batch)[0, 0, 128, 128].backward()
    rows, _ = batch.grad.abs().sum((0, 1)).nonzero().T
    assert rows.min() < 40 and rows.max() > 216


def test_what_it_sees_does_not_depend_on_the_strength_of_light():
    rng = np.random.default_rng(0)
    level = rng.uniform(80, 120, (90, 120)) + 50 * (rng.random((90, 120)) < 0.1)
    seen = normalised(level)
    assert seen.dtype == np.float32 and seen.shape == (2, 90, 120) and np.abs(seen).max() <= MOST
    assert normalised(255 - level) == pytest.approx(-seen, abs=1e-3)
    assert normalised(1.5 * level) == pytest.approx(seen, abs=0.2)
    assert np.abs(normalised(np.full((40, 40), 200))).max() == 0


def test_a_slope_of_light_hardly_changes_the_nearby_contrast():
    rows, columns = np.indices((200, 200))
    dots = 60.0 * ((rows % 40 < 4) & (columns % 40 < 4))
    flat, sloped = normalised(dots), normalised(dots + 0.3 * columns)
    inside = np.s_[0, 40:160, 40:160]
    assert np.corrcoef(flat[inside].ravel(), sloped[inside].ravel())[0, 1] > 0.9


# --- Its training ---


@pytest.fixture
def small(monkeypatch):
    """A training of small batches and few pages."""
    monkeypatch.setattr(training, "PIXELS", 4 * 128 * 128)
    monkeypatch.setattr(training, "SIZES", (128,))
    monkeypatch.setattr(training, "NUM_VALID", 2)
    monkeypatch.setattr(training, "ROW", 8)


def state(run: training.Training) -> torch.Tensor:
    return torch.cat([part.flatten().double() for part in run.average.state_dict().values()])


def test_interrupted_training_ends_with_the_same_weights(small, tmp_path):
    whole = training.Training(24, tmp_path / "whole")
    history = whole.run()
    assert history["pages"].tolist() == [8, 16, 24]
    assert np.isfinite(history.to_numpy()).all() and (history["minutes"] > 0).all()
    training.Training(24, tmp_path / "parts").run(until=12)
    parts = training.Training(24, tmp_path / "parts")
    assert parts.seen == 12
    rest = parts.run()
    assert torch.equal(state(whole), state(parts))
    same = ["pages", "loss_ink", "loss_core", "overlap", "found", "false"]
    assert rest[same].equals(history[same])


def test_command_writes_weights_and_history(small, tmp_path, monkeypatch):
    paths = {name: tmp_path / name for name in ("out", "report", "checkpoint")}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    monkeypatch.setattr("sys.argv", ["finder", "--pages", "8", *options])
    training.main()
    finder = weights.load_model(paths["out"])
    assert isinstance(finder, Finder) and not finder.training
    assert paths["report"].read_text().startswith("pages,loss_ink,loss_core,overlap,found,false")


def test_writers_of_the_validation_are_others():
    writers, others = training.writers_of_training()
    assert len(writers.people) > 100 and len(others.people) > 20
    images = [{image.tobytes() for image in part.digits[:3000]} for part in (writers, others)]
    assert not images[0] & images[1]


def scene_of(core: np.ndarray) -> pages.Scene:
    ink = core.astype(np.float32)
    return pages.Scene((255 - 200 * ink).astype(np.uint8), ink, core, [], np.zeros((0, 4)))


class Fixed(torch.nn.Module):
    """Answers with the same maps, whatever it sees."""

    def __init__(self, *found: np.ndarray):
        super().__init__()
        self.found = torch.from_numpy(np.stack(found))[None]

    def forward(self, batch):
        return 20 * self.found.float() - 10


def test_quality_counts_digits_that_are_found_alone():
    core = np.zeros((32, 64), bool)
    core[10:20, 10:20] = core[10:20, 40:50] = True
    perfect = training.quality(Fixed(core, core), [scene_of(core)])
    assert perfect == {"overlap": 1, "found": 1, "false": 0}
    merged = core.copy()
    merged[14, 10:50] = True
    assert training.quality(Fixed(core, merged), [scene_of(core)])["found"] == 0
    false = np.zeros_like(core)
    false[25:30, 55:60] = True
    worse = training.quality(Fixed(false, core | false), [scene_of(core)])
    assert worse == {"overlap": 0, "found": 1, "false": 0.5}


def test_loss_is_least_for_the_truth():
    truth = torch.zeros(2, 2, 32, 32)
    truth[0, :, 8:16, 8:16] = 1  # the other page is empty
    right = training.loss(20 * truth - 10, truth)
    assert right.shape == (2,) and (right < 0.01).all()
    nothing, everything = (training.loss(torch.full_like(truth, x), truth) for x in (-10.0, 10.0))
    assert (nothing > 0.3).all() and (everything > nothing).all()


def test_saved_finder_finds_as_much_as_its_history_says():
    """On pages of the kind that it was trained on, by other writers; other pages than there."""
    finder = weights.load_model(ROOT / "models/finder.pt")
    others = training.writers_of_training()[1]
    scenes = [pages.draw(np.random.default_rng([9, i]), others) for i in range(30)]
    measured = training.quality(finder, scenes)
    last = pd.read_csv(ROOT / "results/finder.csv").iloc[-1]
    assert all(abs(measured[name] - last[name]) < 0.15 for name in ("overlap", "found"))
    assert measured["found"] > 0.5
