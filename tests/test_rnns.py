"""Networks that read rows: sizes, order, both directions, early answers, attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rnns import (
    GRU,
    LSTM,
    ORDERS,
    RNN,
    AttentionLayer,
    BiLSTM,
    RowsAndColumns,
    Transformer,
    mean_loss_logits,
)
from study import scores
from study.data import Digits
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
        "order": "rows",
        "channels": (),
        "every_row": False,
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


@pytest.mark.parametrize("network", [RNN, GRU, LSTM, BiLSTM])
def test_recurrent_weights_start_orthogonal(network):
    weight = network(hidden_size=16).recurrent.weight_hh_l0
    for gate in weight.split(16):
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)


@pytest.mark.parametrize(("order", "turn"), [
    ("rows from the bottom", lambda images: images.flip(2)),
    ("columns", lambda images: images.transpose(2, 3)),
])  # fmt: skip
@pytest.mark.parametrize("channels", [(), (4,)])
def test_order_is_what_a_turned_image_shows_row_by_row(order, turn, channels, images):
    reader = GRU(hidden_size=16, channels=channels).eval()
    turned = GRU(hidden_size=16, channels=channels, order=order).eval()
    turned.load_state_dict(reader.state_dict())
    assert torch.allclose(turned(images), reader(turn(images)), atol=1e-6)
    assert not torch.allclose(turned(images), reader(images), atol=1e-4)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="order must be one of rows, rows from"):
        GRU(order="diagonal")
    with pytest.raises(ValueError, match="bidirectional"):
        BiLSTM(hidden_size=4, every_row=True)


@pytest.mark.parametrize("network", [*NETWORKS, RowsAndColumns])
@pytest.mark.parametrize("channels", [(4,), (4, 6)])
def test_convolutions_in_front(network, channels, images):
    """Row k of the maps is read k-th and sees rows 2k - 1 to 2k + 2 of the image, or one more."""
    model = network(hidden_size=16, channels=channels).eval()
    assert model(images).shape == (3, 10)
    if network is RowsAndColumns or network is BiLSTM:
        return
    by_row = model.logits_by_row(images)
    assert by_row.shape == (3, 14, 10)
    changed = images.clone()
    changed[:, :, 20:] = 0
    same = torch.isclose(model.logits_by_row(changed), by_row, atol=1e-6).all(2).all(0)
    assert same[:9].all() and not same[9:].any()


def test_rows_and_columns_are_read_by_two_networks(images):
    model = RowsAndColumns(hidden_size=16).eval()
    features = model.features(images)
    assert features.shape == (3, 32)
    one = GRU(hidden_size=16).eval()
    for half, order in zip(features.split(16, dim=1), ("rows", "columns"), strict=True):
        weights = model.readers[0 if order == "rows" else 1].recurrent.state_dict()
        one.recurrent.load_state_dict(weights)
        turned = ORDERS[order](images)
        assert torch.allclose(one.features(turned), half, atol=1e-6)
    model.train()
    F.cross_entropy(model(images), torch.tensor([1, 2, 3])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_cross_entropy_of_the_mean_loss_logits_is_the_mean_over_the_rows():
    torch.manual_seed(0)
    logits = (4 * torch.randn(5, 28, 10, dtype=torch.double)).requires_grad_()
    labels = torch.tensor([3, 1, 4, 1, 5])
    by_row = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(28))
    at_once = F.cross_entropy(mean_loss_logits(logits), labels)
    assert at_once.item() == pytest.approx(by_row.item(), rel=1e-5)
    wanted, got = (torch.autograd.grad(loss, logits)[0] for loss in (by_row, at_once))
    assert torch.allclose(got, wanted, atol=1e-6)


def test_mean_loss_logits_stay_finite_where_all_rows_are_sure():
    logits = torch.zeros(2, 28, 10)
    logits[:, :, 7] = 200
    logits.requires_grad_()
    loss = F.cross_entropy(mean_loss_logits(logits), torch.tensor([7, 8]))
    loss.backward()
    assert loss.item() == pytest.approx(100, rel=1e-3)
    assert logits.grad.isfinite().all()


class Answers(nn.Linear):
    """In place of a recurrent network: gives prepared answers, 99% sure, after each row."""

    def __init__(self, answers: list[list[int]]):
        super().__init__(1, 1)
        self.answers = torch.tensor(answers)

    def logits_by_row(self, images: torch.Tensor) -> torch.Tensor:
        probabilities = 0.01 / 9 + (0.99 - 0.01 / 9) * F.one_hot(self.answers, 10)
        return probabilities[: len(images)].log()


def test_answers_after_each_row():
    """Of three images, the first has its answer from the start, the others after 2 and 3 rows."""
    model = Answers([[1, 1, 1], [0, 2, 2], [2, 1, 0]])
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    told = scores.after_each_row(model, {"held out": Digits(images, torch.tensor([1, 2, 1]))})
    assert [told[f"accuracy {row}"] for row in (1, 2, 3)] == pytest.approx([1 / 3, 1, 2 / 3])
    assert [told[f"confidence {row}"] for row in (1, 2, 3)] == pytest.approx([0.99] * 3)
    assert told["settled"] == 2
    assert len(told) == 7


@pytest.mark.parametrize("network", [RNN, GRU, LSTM])
def test_every_row_is_learnt_from_only_where_asked_for(network, images):
    """In training the logits are those of all rows; an evaluated network answers as ever."""
    labels = torch.tensor([1, 2, 3])
    model = network(hidden_size=16, every_row=True)
    by_row = model.logits_by_row(images)
    wanted = F.cross_entropy(by_row.flatten(0, 1), labels.repeat_interleave(28))
    assert F.cross_entropy(model(images), labels).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert torch.allclose(model.eval()(images), by_row[:, -1], atol=1e-6)
    assert network(hidden_size=16)(images).shape == (3, 10)


def test_dropout_falls_on_the_state_that_is_classified(images):
    model = GRU(hidden_size=16, num_layers=1, dropout=0.5)
    assert not torch.allclose(model(images), model(images))
    assert torch.allclose(model.eval()(images), model(images))


def test_transformer_has_the_contract_of_every_network(images):
    assert num_parameters(Transformer()) == 196_462
    model = Transformer(hidden_size=16, num_layers=3, num_heads=2, num_classes=11)
    assert model(images).shape == (3, 11)
    assert model.features(images).shape == (3, 16)
    F.cross_entropy(model(images), torch.tensor([1, 2, 10])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(ValueError, match="expected images"):
        model(torch.rand(3, 28, 28))
    with pytest.raises(ValueError, match="hidden_size must be a multiple of num_heads, got 10"):
        Transformer(hidden_size=10)


def test_transformer_knows_the_order_of_the_rows_by_their_positions_alone(images):
    model = Transformer(hidden_size=16).eval()
    shuffled = images[:, :, torch.randperm(28, generator=torch.Generator().manual_seed(0))]
    assert not torch.allclose(model(shuffled), model(images), atol=1e-4)
    model.positions.data.zero_()
    assert torch.allclose(model(shuffled), model(images), atol=1e-5)


def test_attention_layer_is_that_of_pytorch():
    ours = AttentionLayer(16, num_heads=4)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, norm_first=True)
    names = {"norms.0": "norm1", "norms.1": "norm2", "linear.0": "linear1", "linear.2": "linear2"}
    weights = ours.state_dict()
    for here, there in names.items():
        weights = {name.replace(here, there): value for name, value in weights.items()}
    theirs.load_state_dict({n.replace("attention.", "self_attn."): v for n, v in weights.items()})
    rows = torch.randn(3, 28, 16)
    assert torch.allclose(ours(rows), theirs(rows), atol=1e-5)


def test_dropout_of_the_transformer_falls_in_training_only(images):
    model = Transformer(hidden_size=16, dropout=0.5)
    assert not torch.allclose(model(images), model(images))
    assert torch.allclose(model.eval()(images), model(images))
