"""Each transform against what it should do to an image, and the strengths of random ones."""

from __future__ import annotations

import pytest
import torch

from study import mnist
from study.augmentation import NODES, Augmentation, transform


@pytest.fixture
def images(few):
    return mnist.to_float(few[0].images[:50])


def distorted(images, **amounts):
    count = len(images)
    settings = {
        "rotation": torch.zeros(count),
        "scale": torch.ones(count),
        "shear": torch.zeros(count),
        "shift": torch.zeros(count, 2),
    }
    for name, amount in amounts.items():
        value = torch.as_tensor(amount, dtype=torch.float)
        settings[name] = value.expand(count, *value.shape)
    return transform(images, **settings)


def centre(images):
    """Centres of mass (N, 2): right and down, in pixels from the middle."""
    place = torch.arange(28) - 13.5
    ink = images.sum((1, 2, 3))
    right, down = (images.sum((1, axis)) @ place for axis in (2, 3))
    return torch.stack([right, down], dim=1) / ink[:, None]


def test_nothing_changes_nothing(images):
    assert torch.allclose(distorted(images), images, atol=1e-5)
    assert torch.allclose(Augmentation()(images), images, atol=1e-5)


def test_rotation_is_anticlockwise(images):
    turned = distorted(images, rotation=90.0)
    assert torch.allclose(turned, images.rot90(1, dims=(2, 3)), atol=1e-4)


def test_shift_is_right_and_down(images):
    moved = distorted(images, shift=[3.0, -2.0])
    assert torch.allclose(moved[:, :, :-2, 3:], images[:, :, 2:, :-3], atol=1e-4)
    assert moved[:, :, :, :3].abs().max() < 1e-4


def test_scale_is_a_factor_of_the_size(images):
    half = distorted(images, scale=0.5)
    assert half.sum() == pytest.approx(images.sum().item() / 4, rel=0.1)
    assert torch.allclose(centre(half), centre(images) / 2, atol=0.2)


def test_shear_leans_to_the_right():
    stroke = torch.zeros(1, 1, 28, 28)
    stroke[..., 4:24, 13:15] = 1
    leaning = distorted(stroke, shear=45.0)
    columns = (leaning[0, 0] * torch.arange(28)).sum(1) / leaning[0, 0].sum(1)
    assert columns[6] == pytest.approx(13.5 + 7.5, abs=0.2)
    assert columns[21] == pytest.approx(13.5 - 7.5, abs=0.2)


def test_all_together_turn_what_was_scaled_and_sheared(images):
    """The order that the docstring names: scale, shear, rotation, shift."""
    together = distorted(images, scale=0.8, shear=10.0, rotation=90.0, shift=[2.0, 1.0])
    one_by_one = distorted(distorted(images, scale=0.8, shear=10.0), rotation=90.0)
    one_by_one = distorted(one_by_one, shift=[2.0, 1.0])
    assert torch.allclose(together, one_by_one, atol=1e-3)


def test_elastic_field_samples_elsewhere(images):
    right = torch.zeros(2, NODES, NODES)
    right[0] = 1.0  # the same displacement everywhere is a shift to the left
    moved = distorted(images, elastic=right)
    assert torch.allclose(moved[..., :-1], images[..., 1:], atol=1e-4)
    corner = torch.zeros(2, NODES, NODES)
    corner[:, 0, 0] = 3.0
    changed = (distorted(images, elastic=corner) - images).abs() > 1e-3
    assert changed[..., :14, :14].any()
    assert not changed[..., 20:, 20:].any()


@pytest.mark.parametrize(
    "name, strength",
    [("rotation", 20), ("scale", 0.2), ("shear", 20), ("shift", 3), ("elastic", 1)],
)
def test_each_image_is_distorted_its_own_way_and_repeatably(images, name, strength):
    same = images[:1].expand(20, -1, -1, -1)
    augment = Augmentation(**{name: strength})
    torch.manual_seed(0)
    first = augment(same)
    torch.manual_seed(0)
    assert torch.equal(augment(same), first)
    assert not torch.equal(augment(same), first)
    assert len(first.flatten(1).unique(dim=0)) == 20
    assert first.shape == same.shape


def test_strength_is_the_largest_amount():
    dot = torch.zeros(2000, 1, 28, 28)
    dot[..., 13:15, 13:15] = 1
    torch.manual_seed(0)
    places = centre(Augmentation(shift=5)(dot))
    assert places.abs().max() <= 5.001
    assert places.abs().max() > 4.9
    assert places.std(0).tolist() == pytest.approx([5 / 3**0.5] * 2, rel=0.05)


@pytest.mark.parametrize(
    "name, strength", [("rotation", -1), ("scale", 1), ("shear", 90), ("elastic", float("nan"))]
)
def test_senseless_strengths_are_refused_by_name(name, strength):
    with pytest.raises(ValueError, match=f"^{name} must be at least 0"):
        Augmentation(**{name: strength})
