"""How many images does a support vector machine need? It learns from 100 to 48,000 of them.

Each machine classifies the 12,000 images that the study holds out. For each number of images there
are three machines, which learn from different images. In train_with_augmentation.ipynb, networks
learn from the same images. The script takes about ten minutes on one core.

    python -m experiments.how_many_images --report FOLDER
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.svm import SVC

from study import data
from study.exploration import flatten
from study.files import write_whole
from study.subsets import subset

ROOT = Path(__file__).parent.parent
TABLE = "svm_by_images.csv"
NUMBERS, SEEDS = (100, 300, 1_000, 3_000, 10_000, 48_000), (0, 1, 2)
COST, GAMMA = 10, 0.02  # of scikit-learn's machine with a Gaussian kernel; not searched for
HELD_OUT, SPLIT_SEED = 0.2, 0  # of the split, as everywhere in the study


def errors(train: data.Digits, held_out: data.Digits) -> int:
    """Train a support vector machine on some images; return how many others it misclassifies."""
    machine = SVC(C=COST, gamma=GAMMA, cache_size=1000)  # megabytes
    machine.fit(flatten(train.images), train.labels.numpy())
    answers = machine.predict(flatten(held_out.images))
    return int((answers != held_out.labels.numpy()).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000, help="use only the first N")
    parser.add_argument("--report", type=Path, required=True, help="gets the table")
    arguments = parser.parse_args()
    digits = data.load(ROOT / "data")[0][: arguments.images]
    train, held_out = data.split(digits, HELD_OUT, SPLIT_SEED)
    rows = []
    for number in NUMBERS:
        for seed in SEEDS if number < len(train) else SEEDS[:1]:  # all images are one subset
            wrong = errors(subset(train, number, seed), held_out)
            rows.append({"images": number, "seed": seed, "held_out": len(held_out)})
            rows[-1]["errors"] = wrong
            print(rows[-1], flush=True)
    write_whole(arguments.report / TABLE, pd.DataFrame(rows).to_csv(index=False).encode())


if __name__ == "__main__":
    main()
