"""The recurrent networks: sizes, order of the rows, both directions."""

from __future__ import annotations

import pytest
import torch

from rnns import GRU, LSTM, RNN, BiLSTM
from study.evaluation import num_parameters

NETWORKS = [RNN, GRU, LSTM, BiLSTM]


@pytest.fixture
def images():
    return torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "network, count", [(RNN, 207_370), (GRU, 616_970), (LSTM, 821_770), (BiLSTM, 2_167_818)]
)
def test_number_of_parameters(network, count):
    assert num_parameters(network()) == count


@pytest.mark.parametrize("network", NETWORKS)
def test_logits_and_features(network, images):
    model = network(hidden_size=16, num_layers=3)
    assert model(images).shape == (3, 10)
    assert model.features(images).shape == (3, 32 if network is BiLSTM else 16)
    assert model.arguments == {
        "hidden_size": 16,
        "num_layers": 3,
        "dropout": 0.0,
        "num_classes": 10,
    }
    assert network(hidden_size=16, num_classes=11)(images).shape == (3, 11)


@pytest.mark.parametrize("network", NETWORKS)
def test_wrong_input_is_refused(network):
    with pytest.raises(ValueError, match="expected images"):
        network(hidden_size=4)(torch.rand(3, 28, 28))
    with pytest.raises(TypeError, match="floating-point"):
        network(hidden_size=4)(torch.zeros(3, 1, 28, 28, dtype=torch.int64))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_row_counts_and_so_does_their_order(network, images):
    model = network(hidden_size=16).eval()
    before = model(images)
    for row in (0, 13, 27):
        changed = images.clone()
        changed[:, :, row] += 0.5
        assert not torch.allclose(model(changed), before)
    assert not torch.allclose(model(images.flip(2)), before)


@pytest.mark.parametrize("network", [RNN, GRU, LSTM])
def test_rows_are_read_from_the_top(network, images):
    """What was answered after a row does not depend on the rows below it."""
    model = network(hidden_size=16).eval()
    by_row = model.logits_by_row(images)
    assert by_row.shape == (3, 28, 10)
    assert torch.allclose(by_row[:, -1], model(images), atol=1e-6)
    changed = images.clone()
    changed[:, :, 20:] = 0
    again = model.logits_by_row(changed)
    assert torch.allclose(again[:, :20], by_row[:, :20], atol=1e-6)
    assert not torch.allclose(again[:, 20], by_row[:, 20], atol=1e-6)


def test_each_direction_of_the_bilstm_has_read_every_row(images):
    """Read at the last step, the backward half would depend on the last row alone."""
    model = BiLSTM(hidden_size=16, num_layers=1).eval()
    before = model.features(images)
    for row in (0, 27):
        changed = images.clone()
        changed[:, :, row] += 0.5
        difference = (model.features(changed) - before).abs()
        assert (difference[:, :16] > 0).any(), f"the forward half has not seen row {row}"
        assert (difference[:, 16:] > 0).any(), f"the backward half has not seen row {row}"


def test_the_bilstms_halves_read_in_opposite_directions(images):
    """With the same weights for both directions, an upside-down image swaps the halves."""
    model = BiLSTM(hidden_size=16, num_layers=1).eval()
    weights = dict(model.recurrent.named_parameters())
    for name, weight in weights.items():
        if name.endswith("_reverse"):
            weight.data.copy_(weights[name.removesuffix("_reverse")])
    features, flipped = model.features(images), model.features(images.flip(2))
    assert torch.allclose(features[:, :16], flipped[:, 16:], atol=1e-5)
    assert torch.allclose(features[:, 16:], flipped[:, :16], atol=1e-5)


def test_bilstm_has_no_answer_before_the_last_row(images):
    with pytest.raises(ValueError, match="bidirectional"):
        BiLSTM(hidden_size=4).logits_by_row(images)


@pytest.mark.parametrize("network", NETWORKS)
def test_recurrent_weights_start_orthogonal(network):
    weight = network(hidden_size=16).recurrent.weight_hh_l0
    for gate in weight.split(16):
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)
