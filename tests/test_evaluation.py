"""Logits -> counts, losses and accuracies."""

from __future__ import annotations

import math

import pytest
import torch

from network import CNN
from study import data, evaluation


def test_last_smaller_batch_counts_for_what_it_is(few):
    train, _ = few
    torch.manual_seed(0)
    model = CNN()
    whole = evaluation.predict(model, train.images, batch_size=600)
    parts = evaluation.predict(model, train.images, batch_size=256)
    assert torch.allclose(whole, parts, atol=1e-5)
    loss, accuracy = evaluation.loss_and_accuracy(parts, train.labels)
    picked = whole.softmax(1)[torch.arange(600), train.labels]
    assert loss == pytest.approx(-picked.log().sum().item() / 600, rel=1e-5)
    assert accuracy == (whole.argmax(1) == train.labels).sum().item() / 600


def test_predict_turns_dropout_off_and_restores_the_mode(few):
    train, _ = few
    model = CNN(dropout=0.9).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = (evaluation.predict(model, train.images[:50]) for _ in range(2))
    assert torch.equal(first, second)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_predicting_on_all_cores_gives_the_same_numbers(few):
    model = CNN().eval()
    torch.set_num_threads(2)
    several = evaluation.predict_on_all_cores(model, few[0].images, precision=torch.bfloat16)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)  # as the other tests have it
    assert torch.equal(several, evaluation.predict(model, few[0].images, precision=torch.bfloat16))


def test_eleven_outputs_are_read_by_the_first_ten_and_refused_by_the_last():
    """A digit read right, one refused but right at second best, one wrong; and two non-digits."""
    logits = torch.full((5, 11), -5.0)
    labels = torch.tensor([3, 4, 5, 10, 10])
    for row, best, second in ((0, 3, 1), (1, 10, 4), (2, 6, 5), (3, 10, 2), (4, 2, 10)):
        logits[row, best], logits[row, second] = 5.0, 3.0
    assert evaluation.num_correct(logits, labels) == 2
    assert evaluation.num_refused(logits[:3]) == 1
    assert evaluation.num_refused(logits[3:]) == 1
    loss, accuracy = evaluation.loss_and_accuracy(logits, labels)
    assert accuracy == 2 / 3
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


def test_ten_outputs_refuse_nothing():
    assert evaluation.num_refused(torch.randn(20, 10)) == 0


def test_soft_labels_are_read_by_the_most_probable():
    logits = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2]])
    soft = torch.tensor([[0.6, 0.4, 0], [0.3, 0.3, 0.4], [0, 0, 1]])
    loss, accuracy = evaluation.loss_and_accuracy(logits, soft)
    assert accuracy == pytest.approx(2 / 3)
    assert loss == pytest.approx(-(soft * logits.log_softmax(1)).sum(1).mean().item())


def test_no_digit_probability_and_energy():
    """Of the probability, "no digit" has one half; the energy leaves its logit out."""
    logits = torch.zeros(1, 11)
    logits[0, data.NO_DIGIT] = math.log(10)
    assert evaluation.no_digit_probability(logits).item() == pytest.approx(0.5)
    assert evaluation.energy(logits).item() == pytest.approx(-math.log(10))
    assert torch.equal(evaluation.energy(logits), evaluation.energy(logits[:, :10]))
