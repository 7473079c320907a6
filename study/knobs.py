"""What the settings of the notebooks may be: a rule by name, checked before anything is trained.

A notebook calls ``check(globals())`` once, in its imports cell. A rule of ``training.Settings`` is
taken from there; it stands here again only where a notebook asks for more than ``fit`` does.
"""

from __future__ import annotations

import math
from typing import get_type_hints

from study.augmentation import Augmentation
from study.settings import Rule, number, whole
from study.training import Settings

NETWORKS = ("RNN", "GRU", "LSTM", "BiLSTM")  # of train_with_rnns.ipynb
SEED = whole(0, 2**32 - 1)  # what NumPy takes
FRACTION = number(above=0, below=1)
FOLDER = Rule("the name of a folder", lambda x: isinstance(x, str) and x.strip() != "")
FILE = Rule("the name of a file", FOLDER.holds)


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


def _is_augmentation(values: object) -> bool:
    return bool(values) and Augmentation(**values, elastic=0.0) is not None


FIT = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Settings, include_extras=True).items()
}
SIZES = dict.fromkeys(("hidden_size", "num_layers", "width"), whole(1))
HYPERPARAMETERS = FIT | SIZES | {"dropout": number(least=0, below=1)}
GROUPS = {
    whole(1): (
        "num_film_strips num_samples num_extremes num_close_neighbours num_candidates num_shifted "
        "num_conflicts knn_neighbours num_mistakes num_bins num_non_digits search_images"
    ),
    FIT["num_epochs"]: "search_epochs short_epochs long_epochs",
    SEED: "seed split_seed",
    several(SEED, 2): "seeds step_seeds final_seeds",
    several(FIT["lr"]): "learning_rates search_learning_rates",
    several(FIT["batch_size"]): "batch_sizes",
    FRACTION: "valid_fraction ema_decay digits_refused",
    Rule("a dict of hyperparameters, lr and batch_size among them", _are_hyperparameters): (
        "cnn_settings deep_settings small_settings"
    ),
    FOLDER: "runs_dir models_dir figures_dir",
    FILE: "readme refusal_file",
    several(FILE): "models",
}
RULES = (
    HYPERPARAMETERS
    | {name: rule for rule, names in GROUPS.items() for name in names.split()}
    | {
        "num_train_images": whole(100, 60_000),
        "num_test_images": whole(50, 10_000),
        "retrain": Rule("True or False", lambda x: isinstance(x, bool)),
        "num_epochs": by_network(FIT["num_epochs"]),
        "clip_norm": number(above=0),
        "augmentation": Rule("a dict of rotation, scale, shear and shift", _is_augmentation),
        "strengths": several(number(above=0)),
        "elastics": several(number(least=0)),
        "num_components": whole(2, 784),
        "num_map_images": whole(50),
        "tsne_perplexity": number(least=1),
        "tsne_iterations": whole(250),
        "near_duplicate": number(above=0, below=math.sqrt(2)),
        "shifts": several(number(above=0, below=28)),
        "logistic_strength": number(above=0),
    }
)
# A setting, and how large it may be beside another. Of the first N training images, at least
# N // 20 are of the rarest class.
LIMITS = (
    ("num_components", 1, "num_train_images"),
    ("num_samples", 1 / 20, "num_train_images"),
    ("num_extremes", 1 / 20, "num_train_images"),
    ("num_close_neighbours", 1 / 25, "num_train_images"),
    ("num_candidates", 1, "num_train_images"),
    ("knn_neighbours", 1, "num_train_images"),
    ("tsne_perplexity", 1 / 3, "num_train_images"),
    ("tsne_perplexity", 1 / 3, "num_map_images"),
)
BATCHES = {"batch_size", "batch_sizes", "cnn_settings", "deep_settings", "small_settings"}


def check(values: dict) -> None:
    """Check every setting that has a rule; other names, such as those of imports, are ignored.

    Args:
        values: settings by name, as ``globals()`` of a notebook holds them.

    Raises:
        ValueError: a setting makes no sense, by itself or beside another; the message names it.
    """
    settings = {name: values[name] for name in RULES if name in values}
    for name, value in settings.items():
        RULES[name].check(name, value)
    for name, share, other in LIMITS:
        if name in settings and other in settings and settings[name] > share * settings[other]:
            limit = f"{share * settings[other]:g} ({share:.2g} of {other})"
            raise ValueError(f"{name} must be at most {limit}, got {settings[name]!r}")
    _check_split_and_batches(settings)


def _check_split_and_batches(settings: dict) -> None:
    """Both parts of the split have every class, and no batch is larger than the set."""
    num_images = settings.get("num_train_images", math.inf)
    if num_images < math.inf and "valid_fraction" in settings:
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
        sizes = value if isinstance(value, list | tuple) else [value]
        largest = max(size["batch_size"] if isinstance(size, dict) else size for size in sizes)
        if largest > num_images:
            raise ValueError(
                f"{name} must hold no batch larger than the {num_images} images that are trained "
                f"on, got {value!r}"
            )
