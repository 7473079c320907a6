"""Combine several runs of a search into one network that averages their probabilities."""

from contextlib import suppress
from pathlib import Path

import pandas as pd

from network import Ensemble
from study import runs as kept_runs
from study import search, weights


def keep(runs: pd.DataFrame, path: str | Path, hyperparameters: dict) -> Ensemble:
    """Write the networks of several runs as one ``Ensemble``, and return it, in eval mode.

    A file that holds exactly these networks is left as it is; the weights of the runs are then not
    needed. The history of the ensemble consists of theirs, one after the other.

    Args:
        runs: rows of the table that ``search.search`` returned, of ``DeepCNN`` with the same
            arguments, and a column ``seed``.
        path: of the weights file.
        hyperparameters: to be written with the weights, as in the file of a single network.

    Raises:
        runs.RunError: the weights of a run are not on this machine; see ``search.load_model``.
    """
    digests = [kept_runs.read_settings(Path(folder))["weights"] for folder in runs["folder"]]
    with suppress(weights.ModelFileError):
        kept = weights.load_model(path)
        if isinstance(kept, Ensemble) and list(map(weights.version, kept.members)) == digests:
            return kept
    members = [search.load_model(run) for _, run in runs.iterrows()]
    ensemble = Ensemble(len(members), **members[0].arguments).eval()
    for member, trained in zip(ensemble.members, members, strict=True):
        member.load_state_dict(trained.state_dict())
    seeds = [int(seed) for seed in runs["seed"]]
    columns = kept_runs.read_history(Path(runs.iloc[0]["folder"])).columns
    history = search.histories(runs)[["seed", *columns]]
    told = {"hyperparameters": hyperparameters | {"seeds": seeds}, "seed": seeds[0]}
    weights.save_model(path, ensemble, **told, history=history)
    return ensemble
