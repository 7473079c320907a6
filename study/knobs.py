"""What the settings of the notebooks may be: a rule by name, checked before anything is trained.

A notebook calls ``check(globals())`` once, in its imports cell. A rule of ``training.Settings`` is
taken from there; it stands here again only where a notebook asks for more than ``fit`` does.
"""

import math
from typing import get_type_hints

import numpy as np
import torch

from network import TopHat
from study import weights
from study.augmentation import Augmentation
from study.drawing import strokes
from study.settings import Rule, number, one_of, whole
from study.training import Settings

NETWORKS = ("RNN", "GRU", "LSTM", "BiLSTM")  # of train_with_rnns.ipynb
SEED = whole(0, 2**32 - 1)  # what NumPy takes


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


FILE = Rule("the name of a file", _is_name)


def several(rule: Rule, least: int = 1) -> Rule:
    """A list of different values that all keep a rule."""

    def holds(values: object) -> bool:
        if not isinstance(values, list | tuple) or not all(map(rule.holds, values)):
            return False
        return len(values) == len(set(values)) >= least

    count = f"{least} or more " if least > 1 else ""
    return Rule(f"a list of {count}different values, each {rule.text}", holds)


def by_network(rule: Rule) -> Rule:
    """One value for all recurrent networks, or a dict with a value for each."""

    def holds(value: object) -> bool:
        values = value if isinstance(value, dict) else dict.fromkeys(NETWORKS, value)
        return set(values) == set(NETWORKS) and all(map(rule.holds, values.values()))

    return Rule(f"{rule.text}; or a dict of such, with {', '.join(NETWORKS)} as keys", holds)


def _are_hyperparameters(values: object) -> bool:
    if not isinstance(values, dict) or not {"lr", "batch_size"} <= values.keys():
        return False
    for name, value in values.items():
        if name not in HYPERPARAMETERS:
            raise ValueError(f"unknown setting {name!r}")
        HYPERPARAMETERS[name].check(name, value)
    return True


def _are_groups(values: object) -> bool:
    return bool(values) and all(bool(Augmentation(**group)) for group in dict(values).values())


def _are_candidates(values: object) -> bool:
    names = several(Rule("a name", _is_name))
    if not isinstance(values, dict) or set(values) != {"deeper", "small"}:
        return False
    return all(map(names.holds, values.values()))


def _are_trials(trials: object) -> bool:
    """Each network can be made: on the meta device, which takes no time and no random numbers."""
    for size, network, arguments, lr, strength in trials:
        whole(1).check("the number of parameters", size)
        one_of(*weights.NETWORKS).check("network", network)
        try:
            with torch.device("meta"):
                weights.NETWORKS[network](**arguments)
        except RuntimeError as error:
            raise ValueError(f"{network} cannot be made with {arguments}: {error}") from error
        FIT["lr"].check("lr", lr)
        number(least=0).check("strength", strength)
    return len(trials) > 0 and all(trials.count(trial) == 1 for trial in trials)


FIT = {n: h.__metadata__[0] for n, h in get_type_hints(Settings, include_extras=True).items()}
SIZES = dict.fromkeys(("hidden_size", "num_layers", "width"), whole(1))
HYPERPARAMETERS = FIT | SIZES | {"dropout": number(least=0, below=1)}
RULES_BY_NAMES = {
    "num_film_strips num_samples num_extremes num_close_neighbours num_candidates num_shifted "
    "num_conflicts knn_neighbours num_mistakes num_bins num_drawn_digits num_non_digits num_shown "
    "num_printed_digits num_choice_drawn num_choice_printed num_choice_non_digits num_damaged "
    "num_per_kind num_more num_hardest num_resamples num_views num_suspected "
    "search_images short_images": whole(1),
    "num_train_images": whole(100, 60_000),
    "num_test_images": whole(50, 10_000),
    "num_parameters": whole(25_000),  # the smallest network with two convolutions in front
    "num_components": whole(2, 784),
    "num_map_images": whole(50),
    "tsne_iterations": whole(250),
    "search_epochs short_epochs long_epochs trial_epochs best_epochs deep_epochs small_epochs": FIT[
        "num_epochs"
    ],
    "num_epochs": by_network(FIT["num_epochs"]),
    "seed split_seed": SEED,
    "drawing_seed": whole(3, 2**32 - 1),  # 0, 1 and 2 drew what the robust ones were made with
    "seeds step_seeds short_seeds final_seeds": several(SEED, 2),
    "clip_norm logistic_strength": number(above=0),
    "tsne_perplexity": number(least=1),
    "near_duplicate": number(above=0, below=math.sqrt(2)),
    "valid_fraction ema_decay digits_refused least_threshold": number(above=0, below=1),
    "more_styles": several(one_of(*strokes.STYLES)),
    "channels": several(whole(1), 2),
    "strengths": several(number(above=0)),
    "elastics": several(number(least=0)),
    "shifts": several(number(above=0, below=28)),
    "learning_rates search_learning_rates trial_rates": several(FIT["lr"]),
    "trial_decays": several(FIT["weight_decay"]),
    "batch_sizes": several(FIT["batch_size"]),
    "cnn_settings deep_settings small_settings": Rule(
        "a dict of hyperparameters, lr and batch_size among them", _are_hyperparameters
    ),
    "augmentation": Rule(
        "a dict of rotation, scale, shear and shift",
        lambda x: bool(x) and bool(Augmentation(**x, elastic=0.0)),
    ),
    "distortions": Rule("a dict of dicts of strengths of Augmentation", _are_groups),
    "size_trials": Rule(
        "a list of different (parameters, network, arguments, lr, strength)", _are_trials
    ),
    "size_epochs": Rule("a list of whole numbers", lambda x: all(map(FIT["num_epochs"].holds, x))),
    "distilled_size": whole(1),
    "candidates": Rule("a dict of lists of names, for deeper and small", _are_candidates),
    "short_candidate": Rule("names of distortions in one text", _is_name),
    "window": Rule("an odd whole number from 3 to 27", lambda x: bool(TopHat(x))),
    "retrain": Rule("True or False", lambda x: isinstance(x, bool)),
    "runs_dir models_dir figures_dir": Rule("the name of a folder", _is_name),
    "readme refusal_file earlier_choices cross_validation": FILE,
    "models": several(FILE),
}
RULES = HYPERPARAMETERS | {n: rule for names, rule in RULES_BY_NAMES.items() for n in names.split()}
# Settings, and how large each may be beside another. Of the first N training images, at least
# N // 20 are of the rarest class.
LIMITS = (
    ("num_components num_candidates knn_neighbours", 1, "num_train_images"),
    ("num_samples num_extremes", 1 / 20, "num_train_images"),
    ("num_close_neighbours", 1 / 25, "num_train_images"),
    ("tsne_perplexity", 1 / 3, "num_train_images"),
    ("tsne_perplexity", 1 / 3, "num_map_images"),
)
BATCHES = {"batch_size", "batch_sizes", "cnn_settings", "deep_settings", "small_settings"}


def check(values: dict) -> None:
    """Check the settings among ``values``, a notebook's ``globals()``; ignore what has no rule.

    Raises:
        ValueError: a setting makes no sense, by itself or beside another; the message names it.
    """
    settings = {name: values[name] for name in RULES if name in values}
    for name, value in settings.items():
        RULES[name].check(name, value)
    for names, share, other in LIMITS:
        limit = share * settings.get(other, math.inf)
        for name in settings.keys() & set(names.split()):
            if settings[name] > limit:
                reason = f"{limit:g} ({share:.2g} of {other}), got {settings[name]!r}"
                raise ValueError(f"{name} must be at most {reason}")
    _check_sizes(settings)
    _check_split_and_batches(settings)


def _check_sizes(settings: dict) -> None:
    """Each size that has trials has a number of epochs, and the distilled one is among them."""
    if "size_trials" in settings:
        sizes = list(dict.fromkeys(trial[0] for trial in settings["size_trials"]))
        if len(settings["size_epochs"]) != len(sizes):
            raise ValueError(f"size_epochs must have a number for each of the sizes {sizes}")
        one_of(*sizes).check("distilled_size", settings["distilled_size"])


def _check_split_and_batches(settings: dict) -> None:
    """Both parts of the split have every class, and no batch is larger than the set."""
    num_images = settings.get("num_train_images", math.inf)
    if {"num_train_images", "valid_fraction"} <= settings.keys():
        held_out = math.ceil(settings["valid_fraction"] * num_images)
        num_images -= held_out
        if min(held_out, num_images) < 10:
            raise ValueError(
                "valid_fraction must leave 10 images or more, one for each class, on both sides: "
                f"{held_out} would be held out, and {num_images} trained on"
            )
    num_images = min(num_images, settings.get("search_images", math.inf))
    for name in settings.keys() & BATCHES:
        value = settings[name]
        if np.max(value["batch_size"] if isinstance(value, dict) else value) > num_images:
            raise ValueError(
                f"{name} must hold no batch larger than the {num_images} images that are trained "
                f"on, got {value!r}"
            )
