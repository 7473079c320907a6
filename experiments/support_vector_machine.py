"""A support vector machine on pixels: the strongest classifier in this study that is not a network.

Its two settings are chosen on the 12,000 images that the study holds out: a machine is trained with
each pair of a grid on 12,000 others, and with the pair that makes the fewest errors on all 60,000
training images. Only that machine classifies the test set, once. Pixels are scaled to [0, 1]. Each
two of the ten classes have a machine of their own, with a Gaussian kernel, and these vote
(Cortes and Vapnik 1995, "Support-Vector Networks"; Hsu and Lin 2002 compare votes).

It takes half an hour on one core, and nothing is random. Interrupt it whenever you like: rows that
are in the table are not trained again.

    python -m experiments.support_vector_machine --report FOLDER
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.svm import SVC

from study import data
from study.exploration import flatten
from study.files import write_whole

ROOT = Path(__file__).parent.parent
TABLE, MISCLASSIFIED = "svm.csv", "svm_errors.csv"
COSTS = (1, 3, 10)  # of a training image on the wrong side, scikit-learn's C
GAMMAS = (0.005, 0.01, 0.02, 0.03, 0.05)  # the kernel is exp(-gamma * squared distance)
HELD_OUT, SEED = 0.2, 0  # of the split, as everywhere in the study
NUM_SEARCH = 12_000  # images that each pair of the grid is trained on


def fit(train: data.Digits, cost: float, gamma: float) -> SVC:
    """Train a support vector machine, whose ``predict`` takes what ``flatten`` gives."""
    machine = SVC(C=cost, kernel="rbf", gamma=gamma, cache_size=1000)  # megabytes
    return machine.fit(flatten(train.images), train.labels.numpy())


def judge(
    train: data.Digits, unseen: data.Digits, cost: float, gamma: float
) -> tuple[dict, np.ndarray]:
    """Train on some images and classify others; return numbers for a row, and the answers.

    Its parameters are all the numbers that it needs to answer: the images that it keeps, which are
    its support vectors, with their weights in each of the 45 machines, and the machines' biases.
    """
    machine = fit(train, cost, gamma)
    answers = machine.predict(flatten(unseen.images))
    errors = int((answers != unseen.labels.numpy()).sum())
    parts = (machine.support_vectors_, machine.dual_coef_, machine.intercept_)
    row = {"errors": errors, "accuracy": 1 - errors / len(unseen)}
    row |= {
        "support_vectors": len(machine.support_),
        "parameters": sum(part.size for part in parts),
    }
    return row, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000, help="use only the first N")
    parser.add_argument("--report", type=Path, required=True, help="gets the two tables")
    arguments = parser.parse_args()
    all_train, test = data.load(ROOT / "data")
    all_train = all_train[: arguments.images]
    train, valid = data.split(all_train, HELD_OUT, SEED)
    train, path = train[:NUM_SEARCH], arguments.report / TABLE
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()

    def run(part: data.Digits, unseen: data.Digits, judged_on: str, *pair: float) -> dict:
        """Return a row of the table, trained unless it is there; write the results."""
        nonlocal table
        key = {"cost": pair[0], "gamma": pair[1], "num_images": len(part), "judged_on": judged_on}
        if len(table) and (known := (table[[*key]] == pd.Series(key)).all(axis=1)).any():
            return table[known].iloc[0].to_dict()
        row, answers = judge(part, unseen, *pair)
        if judged_on == "test":
            told = {"image": range(len(unseen)), "label": unseen.labels, "answer": answers}
            wrong = pd.DataFrame(told).query("answer != label").to_csv(index=False)
            write_whole(arguments.report / MISCLASSIFIED, wrong.encode())
        table = pd.concat([table, pd.DataFrame([key | row])], ignore_index=True)
        write_whole(path, table.to_csv(index=False).encode())
        print(key | row, flush=True)
        return key | row

    rows = [run(train, valid, "held out", *pair) for pair in product(COSTS, GAMMAS)]
    best = min(rows, key=lambda row: row["errors"])  # of equal ones the first, with the lowest cost
    run(all_train, test, "test", best["cost"], best["gamma"])


if __name__ == "__main__":
    main()
