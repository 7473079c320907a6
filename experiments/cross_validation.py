"""Which training makes the fewest errors on unseen images? Cross-validation on MNIST.

Each trial is trained on four fifths of the 60,000 training images, with one seed and to its last
epoch, and classifies the fifth that it has not seen. Over five folds, every training image is
classified by a network not trained on it, and two trials are compared on 60,000 images. A trial
that is behind after two folds is not worth the other three. The test set is not used.

It takes hours. Every run is kept in ``runs/cross_validation``, so the script can be interrupted.

    python -m experiments.cross_validation [TRIAL ...] --report FOLDER [--folds 0 1]
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from network import Network
from study import data, evaluation, search, statistics
from study.distillation import soft_labels
from study.files import write_whole
from study.workers import default_number

ROOT = Path(__file__).parent.parent
NUM_FOLDS, SEED, NUM_VIEWS = 5, 0, 4
RUNS, MISCLASSIFIED = "cross_validation.csv", "cross_validation_errors.csv"
KEY = ["split", "trial", "fold"]  # of a run


@dataclass(frozen=True)
class Trial:
    """Settings of ``search.search``, and what else is done to the images or labels.

    Attributes:
        settings: by name; the network by the name of its class.
        teachers: trials whose networks, trained on the same four fifths, label the images anew.
        judges: trials, run before, whose unanimous answers make a label suspect. Such images are
            left out of training, but still classified. Every network that judges a training image
            was itself trained on the images classified afterwards: a leak, if a small one.
    """

    settings: dict
    teachers: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()


SETTINGS = {"network": "DeepCNN", "lr": 0.003, "batch_size": 128, "weight_decay": 0.01}
# A strength multiplies 10 degrees of rotation and what goes with it; from 1 on, more is added.
HALF = {"rotation": 5, "scale": 0.05, "shear": 2.5, "shift": 1.4, "elastic": 0.0}
ONE = {"rotation": 10, "scale": 0.1, "shear": 5, "shift": 2.8, "elastic": 0.5}
MORE = {"rotation": 15, "scale": 0.15, "shear": 8, "shift": 2.8, "elastic": 0.8}
MORE |= {"aspect": 0.15, "thickness": 0.3}
TWO = {"rotation": 20, "scale": 0.2, "shear": 12, "shift": 3.5, "elastic": 0.8, "aspect": 0.3}
TWO |= {"thickness": 0.7, "coarseness": 0.6, "hardness": 4.0, "noise": 0.3, "paleness": 0.7}
WITH_HALF = SETTINGS | {"num_epochs": 16, "augmentation": HALF}
WITH_ONE = SETTINGS | {"num_epochs": 24, "augmentation": ONE}
BOTH = ("strength 0.5", "strength 1")
# Later trials build on earlier ones.
TRIALS = {
    "strength 0.5": Trial(WITH_HALF),
    "strength 1": Trial(WITH_ONE),
    "strength 1.5": Trial(WITH_ONE | {"augmentation": MORE}),
    "strength 2, strokes and noise": Trial(WITH_ONE | {"augmentation": TWO}),
    "strength 1, width 48": Trial(WITH_ONE | {"width": 48}),
    "strength 1, distilled": Trial(WITH_ONE, teachers=BOTH),
    "strength 1, distilled, longer": Trial(
        WITH_ONE | {"num_epochs": 36, "lr": 0.01}, teachers=BOTH
    ),
    "strength 0.5, cleaned": Trial(WITH_HALF, judges=("strength 0.5",)),
    "strength 1, distilled, cleaned": Trial(WITH_ONE, teachers=BOTH, judges=("strength 0.5",)),
}


@cache
def folds(split: str, num_images: int) -> tuple[data.Digits, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the training images and, for each fold, the indices to train on and to classify.

    Args:
        split: "random", stratified by class; or "by writer", where no writer's digits are on both
            sides, and the classes keep their shares only roughly.
    """
    digits = data.load(ROOT / "data")[0][:num_images]
    options = {"n_splits": NUM_FOLDS, "shuffle": True, "random_state": SEED}
    if split == "random":
        return digits, list(StratifiedKFold(**options).split(digits.images, digits.labels))
    writers = data.writers(ROOT / "data")[0]["writer"].to_numpy()[:num_images]
    return digits, list(
        StratifiedGroupKFold(**options).split(digits.images, digits.labels, writers)
    )


@dataclass(frozen=True)
class Job:
    """A trial on one fold; ``train`` and ``classify`` run in any process."""

    split: str
    trial: str
    fold: int
    num_images: int
    epochs: int | None  # in place of the trial's, for a short look
    runs_dir: Path
    left_out: tuple[int, ...] = ()  # images whose labels are suspect

    def settings(self) -> dict:
        """Return the settings of the trial, as used in training and written to the table."""
        changed = {} if self.epochs is None else {"num_epochs": self.epochs}
        return TRIALS[self.trial].settings | changed

    def train(self) -> pd.Series:
        """Train on four fifths of the images, unless this has been done; return the run."""
        digits, all_folds = folds(self.split, self.num_images)
        part = digits[np.setdiff1d(all_folds[self.fold][0], self.left_out)]
        settings, teachers = self.settings(), TRIALS[self.trial].teachers
        if teachers:
            runs = [Job(**vars(self) | {"trial": t, "left_out": ()}).train() for t in teachers]
            networks = [search.load_model(run) for run in runs]
            views = {"num_views": NUM_VIEWS, "seed": SEED}
            part = soft_labels(networks, part, settings["augmentation"], **views)
        settings |= {"network": Network.known[settings["network"]], "seed": SEED}
        keep = {"study": "cross_validation", "runs_dir": self.runs_dir, "tensorboard": False}
        return search.search(settings, part, **keep, num_workers=1, progress=False).iloc[0]

    def classify(self) -> tuple[dict, pd.DataFrame]:
        """Train; return a row about the run, and a table of the images that it misclassifies."""
        model = search.load_model(self.train())
        digits, all_folds = folds(self.split, self.num_images)
        indices = all_folds[self.fold][1]
        unseen = digits[indices]
        logits = evaluation.predict(model, unseen.images)
        confidence, answers = logits.softmax(1).max(1)
        wrong = (answers != unseen.labels).numpy()
        row = {"images": len(unseen), "errors": wrong.sum()}
        row["loss"], _ = evaluation.loss_and_accuracy(logits, unseen.labels)
        row["parameters"] = evaluation.num_parameters(model)
        trial = asdict(TRIALS[self.trial]) | {"settings": self.settings()}
        row["settings"] = json.dumps(trial)
        table = {"image": indices, "label": unseen.labels, "answer": answers}
        return row, pd.DataFrame(table | {"confidence": confidence})[wrong]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "trials", nargs="*", metavar="TRIAL", help="names in TRIALS; by default all"
    )
    parser.add_argument("--folds", type=int, nargs="+", choices=range(NUM_FOLDS))
    parser.add_argument("--split", choices=("random", "by writer"), default="random")
    parser.add_argument("--images", type=int, default=60_000, help="use only the first N")
    parser.add_argument("--epochs", type=int, help="of every trial, in place of its own")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs", help="keeps the runs")
    parser.add_argument("--report", type=Path, required=True, help="gets the two tables")
    arguments = parser.parse_args()
    if unknown := set(arguments.trials) - set(TRIALS):
        parser.error(f"no trial {', '.join(unknown)}; there are {', '.join(TRIALS)}")
    names = arguments.trials or list(TRIALS)
    for later in (False, True):  # first those that other trials need
        trials = [n for n in names if bool(TRIALS[n].teachers or TRIALS[n].judges) == later]
        _run(trials, arguments)
    runs, misclassified = (
        table[table["split"] == arguments.split]
        for table in (_read(arguments.report / RUNS), _read(arguments.report / MISCLASSIFIED))
    )
    print(statistics.compare_trials(runs, misclassified, runs["trial"].iloc[0]))


def _run(trials: list[str], arguments: argparse.Namespace) -> None:
    """Run each trial on each fold; add what comes out to the tables."""
    how = arguments.images, arguments.epochs, arguments.runs_dir
    jobs = []
    for trial in trials:
        left_out = _suspected(arguments.report, arguments.split, TRIALS[trial].judges)
        keys = [(arguments.split, trial, fold) for fold in arguments.folds or range(NUM_FOLDS)]
        jobs += [Job(*key, *how, left_out) for key in keys]
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    num_workers = default_number()
    with ProcessPoolExecutor(num_workers, get_context("spawn"), **one_thread) as pool:
        futures = {pool.submit(job.classify): job for job in jobs}
        try:
            for future in as_completed(futures):
                key = {name: getattr(futures[future], name) for name in KEY}
                row, misclassified = future.result()
                _add(arguments.report / RUNS, key, pd.DataFrame([row]))
                _add(arguments.report / MISCLASSIFIED, key, misclassified)
                print(f"{key}: {row['errors']} errors on {row['images']} images", flush=True)
        finally:  # interrupted, or one failed: nobody will collect the results of waiting jobs
            pool.shutdown(cancel_futures=True)


def _suspected(report: Path, split: str, judges: tuple[str, ...]) -> tuple[int, ...]:
    """Return the images whose labels the judges take to be wrong."""
    if not judges:
        return ()
    tables = (_read(report / RUNS), _read(report / MISCLASSIFIED))
    runs, errors = (t[(t["split"] == split) & t["trial"].isin(judges)] for t in tables)
    if len(runs) < NUM_FOLDS * len(judges):
        raise ValueError(f"run all {NUM_FOLDS} folds of {', '.join(judges)} first")
    return tuple(statistics.suspected_labels(errors)["image"])


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=KEY)


def _add(path: Path, key: dict, rows: pd.DataFrame) -> None:
    """Write a run's rows to a table, replacing any that the same run has."""
    old, new = _read(path), pd.DataFrame(rows.assign(**key), columns=[*key, *rows.columns])
    old = old[(old[KEY] != pd.Series(key)).any(axis=1)]
    table = pd.concat([old, new]) if len(old) else new
    order = {trial: number for number, trial in enumerate(TRIALS)}
    table = table.iloc[np.lexsort([table["fold"], table["trial"].map(order), table["split"]])]
    write_whole(path, table.to_csv(index=False).encode())


if __name__ == "__main__":
    main()
