"""The networks: their size, their input, their output."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from mlp import MLP
from network import (
    CNN,
    PIXEL_MEAN,
    PIXEL_STD,
    DeepCNN,
    Ensemble,
    Normalize,
    RecursiveCNN,
    SeparableCNN,
    TopHat,
)
from study import data, evaluation


@pytest.mark.parametrize(
    "model, parameters",
    [
        (MLP(), 419_882),
        (MLP(hidden_sizes=(), num_classes=11), 8_635),
        (CNN(), 417_578),
        (DeepCNN(), 230_010),
        (DeepCNN(width=10), 22_935),
        (Ensemble(), 1_150_050),
        (SeparableCNN(), 24_090),
        (SeparableCNN(15), 4_540),
        (RecursiveCNN(), 922),
    ],
)
def test_number_of_parameters(model, parameters):
    assert evaluation.num_parameters(model) == parameters


@pytest.mark.parametrize(
    ("pooling", "separable", "recursive"), [((0, 1, 0, 1), 3, 7), ((1, 1), 5, 7), ((0,), 24, 28)]
)
def test_the_last_filters_cover_what_pooling_has_left(pooling, separable, recursive):
    images = torch.rand(2, 1, 28, 28)
    first, second = SeparableCNN(4, pooling), RecursiveCNN(4, pooling)
    assert first(images).shape == second(images).shape == (2, 10)
    sides = [first.features[-3].kernel_size, second.last[0].kernel_size]
    assert sides == [(separable, separable), (recursive, recursive)]


def test_a_recursive_network_applies_one_convolution_to_its_own_output():
    torch.manual_seed(0)
    model, images = RecursiveCNN(width=3, pooling=(0, 1)).eval(), torch.rand(2, 1, 28, 28)
    x = model.first(images)
    for norm, window in zip(model.norms, (1, 2), strict=True):
        x = F.relu(F.max_pool2d(x + norm(model.convolution(x)), window))
    assert torch.allclose(model(images), model.classifier(model.last(x)), atol=1e-6)


@pytest.mark.parametrize("network", [MLP, CNN, DeepCNN, SeparableCNN, RecursiveCNN, Ensemble])
def test_logits(network):
    logits = network()(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert logits.dtype == torch.float32
    assert network(num_classes=11)(torch.rand(3, 1, 28, 28)).shape == (3, 11)


def test_arguments_change_the_network():
    model = CNN(channels=(4, 8), hidden_size=32, dropout=0.5)
    assert model.features(torch.rand(2, 1, 28, 28)).shape == (2, 32)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert model.arguments == {
        "channels": (4, 8),
        "hidden_size": 32,
        "dropout": 0.5,
        "num_classes": 10,
    }


def test_it_is_the_network_that_was_described():
    """Convolution, batch normalisation, ReLU, pooling: pooling first gives the same."""
    torch.manual_seed(0)
    model = CNN().eval()
    images = torch.rand(5, 1, 28, 28)
    x = (images - PIXEL_MEAN) / PIXEL_STD
    for block in (model.features[1], model.features[2]):
        convolution, norm = block[0], block[1]
        x = F.max_pool2d(F.relu(norm(convolution(x))), 2)
    x = F.relu(model.features[4](x.flatten(1)))
    assert torch.allclose(model(images), model.classifier(x), atol=1e-6)


def test_a_perceptron_knows_nothing_of_neighbouring_pixels():
    """With its first weights in the same new order as the pixels, it gives the same logits."""
    torch.manual_seed(0)
    model, images, order = MLP((16, 8)).eval(), torch.rand(5, 1, 28, 28), torch.randperm(784)
    before = model(images)
    first = model.features[2]
    first.weight.data = first.weight[:, order]
    shuffled = images.flatten(1)[:, order].reshape(images.shape)
    assert torch.allclose(model(shuffled), before, atol=1e-5)
    assert model.arguments == {"hidden_sizes": (16, 8), "dropout": 0.2, "num_classes": 10}


def test_ensemble_answers_with_the_mean_of_its_members_probabilities():
    torch.manual_seed(0)
    model = Ensemble(size=3, width=4).eval()
    images = torch.rand(5, 1, 28, 28)
    mean = torch.stack([member(images).softmax(1) for member in model.members]).mean(0)
    assert torch.allclose(model(images).softmax(1), mean, atol=1e-6)
    members = {"width": 4, "dropout": 0.3, "num_classes": 10, "window": None}
    assert model.arguments == {"size": 3, **members}


@pytest.mark.parametrize("shape", [(28, 28), (5, 28, 28), (5, 3, 28, 28), (5, 1, 32, 32)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected images \(N, 1, 28, 28\), got"):
        CNN()(torch.rand(shape))


def test_wrong_dtype_is_refused():
    with pytest.raises(TypeError, match=r"floating-point images in \[0, 1\], got torch.uint8"):
        CNN()(torch.zeros(5, 1, 28, 28, dtype=torch.uint8))


def test_normalisation_is_that_of_the_training_images(digits):
    images = data.to_float(digits[0].images)
    assert images.mean().item() == pytest.approx(PIXEL_MEAN, abs=1e-4)
    assert images.std().item() == pytest.approx(PIXEL_STD, abs=1e-4)
    assert Normalize()(images).mean().item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("window", [3, 11, 27])
def test_top_hat_is_the_image_minus_its_opening(digits, window):
    images = data.to_float(digits[0].images[:8]) / 2 + torch.rand(8, 1, 28, 28) / 2
    size = (1, 1, window, window)
    expected = torch.from_numpy(ndimage.white_tophat(images.numpy(), size))
    expected = expected / (expected.amax((2, 3), keepdim=True) + 1e-3)
    assert torch.allclose(TopHat(window)(images), expected, atol=1e-6)


def test_top_hat_takes_the_paper_away():
    """Shade and tint do not change the answer, and a blank image stays blank."""
    torch.manual_seed(0)
    model = DeepCNN(width=4, window=11).eval()
    stroke = torch.zeros(1, 1, 28, 28)
    stroke[..., 5:23, 12:16] = 1.0
    shaded = torch.linspace(0.2, 0.5, 28).expand(1, 1, 28, 28).maximum(0.9 * stroke)
    assert torch.allclose(model(0.3 + 0.6 * stroke), model(stroke), atol=0.01)
    assert torch.allclose(TopHat(11)(shaded), TopHat(11)(stroke), atol=0.25)
    assert TopHat(11)(torch.full((1, 1, 28, 28), 0.5)).max() == 0


@pytest.mark.parametrize("window", [1, 4, 29, 5.5, "11"])
def test_senseless_windows_are_refused(window):
    with pytest.raises(ValueError, match="window must be an odd number from 3 to 27, got"):
        DeepCNN(window=window)
