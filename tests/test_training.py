"""Training."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from network import CNN
from rnns import RNN
from study import device, evaluation, training
from study.data import Digits, to_float
from study.distillation import soft_labels

SETTINGS = {"lr": 0.003, "batch_size": 64, "num_epochs": 2}


def trained(train, valid=None, model_seed=0, **settings):
    torch.manual_seed(model_seed)
    model = CNN()
    return model, training.fit(model, train, valid, **{"progress": False, **SETTINGS, **settings})


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns(few):
    train, valid = few
    model, history = trained(train, valid, num_epochs=6)
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]
    assert evaluation.evaluate(model, valid)[1] > 0.8
    assert not model.training


def test_same_seed_same_weights_to_the_last_bit(few):
    first, history = trained(few[0])
    torch.rand(5)  # the caller's random numbers do not matter
    second, history_again = trained(few[0])
    other, _ = trained(few[0], seed=1)
    assert torch.equal(flat(first), flat(second))
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), history_again.drop(columns="seconds"), check_exact=True
    )
    assert not torch.equal(flat(first), flat(other))


def test_the_callers_random_numbers_are_left_alone(few):
    model = CNN()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    training.fit(model, few[0], progress=False, **SETTINGS)
    assert torch.equal(torch.rand(4), expected)


def test_history_sums_over_images_and_not_over_batches(few):
    """While weights stand still, the history's loss is that of the set, whatever the batches."""
    train = few[0][:100]
    torch.manual_seed(0)
    model = RNN(hidden_size=8)
    model.classifier.weight.data *= 20  # so that batches differ
    logits = evaluation.predict(
        model, train.images, precision=device.fast_precision(device.default_device())
    )
    history = training.fit(model, train, lr=1e-30, batch_size=48, num_epochs=1, progress=False)
    loss, accuracy = evaluation.loss_and_accuracy(logits, train.labels)
    assert history["train_loss"][0] == pytest.approx(loss, rel=1e-3)
    assert history["train_accuracy"][0] == pytest.approx(accuracy)


def test_pictures_of_no_digit_have_no_part_in_the_accuracy(few):
    digits = few[0][:96]
    drawn = Digits(255 - digits.images[:48], torch.full((48,), 10))
    torch.manual_seed(0)
    model = RNN(hidden_size=8, num_classes=11)
    precision = device.fast_precision(device.default_device())
    logits = evaluation.predict(model, digits.images, precision=precision)
    read = evaluation.num_correct(logits, digits.labels) / 96
    assert 0 < read < 1
    settings = {"lr": 1e-30, "batch_size": 48, "num_epochs": 1, "progress": False}
    history = training.fit(model, digits + drawn, digits + drawn, **settings)
    assert history["train_accuracy"][0] == pytest.approx(read)
    assert history["valid_accuracy"][0] == pytest.approx(read)


def test_smoothed_labels_change_the_training_and_not_what_its_loss_means(few):
    """While weights stand still, the loss of the history is that of the labels as they are."""
    train, settings = few[0], {"label_smoothing": 0.3, "num_epochs": 1}
    torch.manual_seed(0)
    model = RNN(hidden_size=8)
    precision = device.fast_precision(device.default_device())
    loss, _ = evaluation.loss_and_accuracy(
        evaluation.predict(model, train.images, precision=precision), train.labels
    )
    history = training.fit(model, train, lr=1e-30, batch_size=100, progress=False, **settings)
    assert history["train_loss"][0] == pytest.approx(loss, rel=1e-3)
    unsure, sure = (
        trained(train, num_epochs=4, label_smoothing=part)[0](to_float(train.images))
        for part in (0.3, 0.0)
    )
    assert unsure.softmax(1).amax(1).mean() < sure.softmax(1).amax(1).mean()


def test_one_cycle_and_constant_schedules(few):
    _, cycle = trained(few[0], num_epochs=3, batch_size=8)
    _, constant = trained(few[0], num_epochs=3, schedule="constant")
    assert cycle["learning_rate"].iloc[-1] < 1e-3 * SETTINGS["lr"]
    assert set(constant["learning_rate"]) == {SETTINGS["lr"]}


def test_best_epoch_by_validation_loss_is_kept(few):
    """Whichever that is: the labels to validate on are shifted, so that learning makes it worse."""
    train, valid = few
    wrong = Digits(valid.images, (valid.labels + 1) % 10)
    model, history = trained(train, wrong, num_epochs=6)
    precision = device.fast_precision(device.default_device())
    logits = evaluation.predict(model, valid.images, precision=precision)
    loss, accuracy = evaluation.loss_and_accuracy(logits, wrong.labels)
    best = history.loc[history["valid_loss"].idxmin()]
    assert best["epoch"] < 6
    assert (loss, accuracy) == pytest.approx((best["valid_loss"], best["valid_accuracy"]))


def test_validation_does_not_change_the_training(few):
    train, valid = few
    _, without = trained(train)
    _, with_validation = trained(train, valid)
    assert list(without["train_loss"]) == list(with_validation["train_loss"])


def test_gradient_clipping(few):
    model, history = trained(few[0], clip_norm=0.1)
    assert (history["gradient_norm"] > 0.1).all()  # before clipping
    norms = torch.stack([parameter.grad.norm() for parameter in model.parameters()])
    assert norms.norm() < 0.1001  # after it, in the last step
    assert "gradient_norm" not in trained(few[0])[1]


def test_diverged(few):
    train, valid = few
    _, history = trained(train, valid, lr=1e30, num_epochs=5)
    assert training.diverged(history)
    assert len(history) < 5
    assert not math.isfinite(history["train_loss"].iloc[-1])
    assert not training.diverged(trained(train, num_epochs=3)[1])


@pytest.mark.parametrize(
    "last, expected",
    [
        ({"train_loss": 0.1}, False),
        ({"train_loss": 2 * math.log(10) + 0.01}, True),
        ({"train_loss": 1e13}, True),
        ({"train_loss": float("nan")}, True),
        ({"train_loss": 0.1, "valid_loss": 5.0}, True),
        ({"train_loss": 0.1, "valid_loss": float("inf")}, True),
        ({"train_loss": 2.3, "valid_loss": 2.4}, False),  # it guesses
    ],
)
def test_a_loss_above_twice_that_of_guessing_has_diverged(last, expected):
    first = dict.fromkeys(last, 2.3)
    assert training.diverged(pd.DataFrame([first, last])) is expected


@pytest.mark.parametrize(
    "name, value",
    [
        ("lr", 0),
        ("lr", -1),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", "0.01"),
        ("batch_size", 64.5),
        ("num_epochs", 1.5),
        ("batch_size", 0),
        ("batch_size", 601),
        ("num_epochs", 0),
        ("seed", -1),
        ("schedule", "cosine"),
        ("weight_decay", -1),
        ("clip_norm", 0),
        ("label_smoothing", 1),
        ("lr", True),
        ("ema_decay", 0),
        ("ema_decay", 1),
    ],
)
def test_senseless_settings_are_refused_by_name(few, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        trained(few[0], **{name: value})


@pytest.mark.parametrize(
    "strengths, said",
    [
        ({"rotation": -1}, "augmentation: rotation must be at least 0"),
        ({"turn": 10}, "augmentation: has no strength 'turn'"),
        (0.5, "augmentation must be a valid dictionary"),
        ({"rotation": "10"}, "augmentation must be a valid number"),
    ],
)
def test_senseless_augmentation_is_refused(few, strengths, said):
    with pytest.raises(ValueError, match=said):
        trained(few[0], augmentation=strengths)


@pytest.mark.parametrize(
    "settings, said",
    [({"speed": 1}, "unknown setting 'speed'"), ({"lr": None}, "lr must be a valid number")],
)
def test_unknown_settings_are_refused(few, settings, said):
    with pytest.raises(ValueError, match=said):
        trained(few[0], **settings)
    with pytest.raises(ValueError, match="setting 'lr' is missing"):
        training.fit(CNN(), few[0], batch_size=64, num_epochs=1)


def test_augmentation_is_for_training_only_and_repeats(few):
    train, valid = few
    first, history = trained(train, valid, augmentation={"rotation": 30})
    again, _ = trained(train, valid, augmentation={"rotation": 30})
    assert torch.equal(flat(first), flat(again))
    assert not torch.equal(flat(first), flat(trained(train, valid)[0]))
    precision = device.fast_precision(device.default_device())
    logits = evaluation.predict(first, valid.images, precision=precision)
    loss, _ = evaluation.loss_and_accuracy(logits, valid.labels)
    assert loss == pytest.approx(history["valid_loss"].min())


def test_averaged_weights_are_the_exponential_mean_of_those_of_each_step(few, monkeypatch):
    """Recorded step by step: a_1 = w_1, then a_n = decay a_(n-1) + (1 - decay) w_n."""
    steps = []
    original = torch.optim.lr_scheduler.OneCycleLR.step

    def step(scheduler, *arguments):
        steps.append({name: value.clone() for name, value in model.state_dict().items()})
        return original(scheduler, *arguments)

    torch.manual_seed(0)
    model = CNN()
    monkeypatch.setattr(torch.optim.lr_scheduler.OneCycleLR, "step", step)
    training.fit(model, few[0], ema_decay=0.6, progress=False, **SETTINGS)
    steps = steps[1:]  # the scheduler makes a step of its own when it is made
    assert len(steps) == 20
    for name in ("classifier.weight", "features.1.1.running_mean"):
        mean = steps[0][name]
        for step in steps[1:]:
            mean = 0.6 * mean + 0.4 * step[name]
        assert torch.allclose(model.state_dict()[name], mean, atol=1e-5)
        assert not torch.allclose(steps[-1][name], mean, atol=1e-5)


def test_progress_is_plain_text_and_can_be_quiet(few, capsys):
    trained(few[0], progress=True)
    assert "2/2" in capsys.readouterr().out
    trained(few[0], progress=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_tensorboard_log(few, tmp_path):
    trained(few[0], few[1], log_dir=tmp_path)
    log = EventAccumulator(str(tmp_path)).Reload()
    tags = log.Tags()
    assert {"train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate"} <= set(
        tags["scalars"]
    )
    assert "gradients/classifier.weight" in tags["histograms"]
    assert "weights/classifier.weight" in tags["histograms"]
    assert [event.step for event in log.Scalars("train_loss")] == [1, 2]


def test_an_accelerator_is_used_where_there_is_one(few, monkeypatch):
    """ "meta" stands for one: a device that this machine does not have its data on."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    assert device.default_device() == torch.device("meta")
    assert device.fast_precision(torch.device("meta")) is torch.float32
    model = CNN()
    with pytest.raises(Exception, match="meta"):  # numbers cannot be read back from it
        training.fit(model, few[0], progress=False, **SETTINGS)
    assert next(model.parameters()).device == torch.device("meta")


def test_soft_labels_that_are_certain_train_like_labels(few):
    train, valid = few
    certain = Digits(train.images, torch.nn.functional.one_hot(train.labels, 10).float())
    _, hard = trained(train, valid, num_epochs=3)
    _, soft = trained(certain, valid, num_epochs=3)
    for name in ("train_loss", "train_accuracy", "valid_accuracy"):
        assert soft[name].to_numpy() == pytest.approx(hard[name].to_numpy(), rel=0.05)


def test_soft_labels_are_what_the_teachers_make_of_the_images(few):
    images = few[0][:40]
    teachers = [CNN().eval(), CNN().eval()]
    plain = soft_labels(teachers, images, {}, num_views=1, seed=0)
    means = sum(evaluation.predict(t, images.images).softmax(1) for t in teachers) / 2
    assert torch.equal(plain.images, images.images)
    assert torch.allclose(plain.labels, means, atol=0.01)  # bfloat16
    shifted = [soft_labels(teachers, images, {"shift": 3}, num_views=2, seed=s) for s in (0, 0, 1)]
    assert torch.equal(shifted[0].labels, shifted[1].labels)
    assert not torch.equal(shifted[0].labels, shifted[2].labels)
    assert torch.allclose(shifted[0].labels.sum(1), torch.ones(40))
