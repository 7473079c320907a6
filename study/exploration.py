"""Statistics of images, without any network.

Distances are Euclidean, between images scaled to unit length, so that it does not matter how
dark the ink is: 0 for the same drawing, sqrt(2) for two images that share no pixel of ink.
"""

import time

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from sklearn.base import ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from study.data import Digits
from study.statistics import accuracy_columns

SETS = ["train-train", "train-test", "test-test"]  # which sets the images of a pair come from


def flatten(images: torch.Tensor) -> np.ndarray:
    """Turn uint8 images (N, 28, 28) into what scikit-learn takes: float32 (N, 784) in [0, 1]."""
    return images.numpy().reshape(len(images), -1).astype(np.float32) / 255


def unit_vectors(images: torch.Tensor) -> np.ndarray:
    """Turn uint8 images (N, 28, 28) into float32 vectors (N, 784) of length 1."""
    return normalize(flatten(images))


def ink_positions(images: torch.Tensor) -> pd.DataFrame:
    """Return where the ink of each image lies, in pixels; one row an image, none of them blank.

    Args:
        images: uint8, shape (N, 28, 28).

    Returns:
        ``row`` and ``column`` of the centre of mass, counted from the centre of the upper left
        pixel, and ``height`` and ``width`` of the smallest box around all ink.
    """
    values, pixels = images.numpy(), np.arange(28)
    mass = values.sum((1, 2), dtype=np.int64)
    rows, columns = (values.sum(axis, dtype=np.int64) for axis in (2, 1))  # (N, 28) each
    return pd.DataFrame(
        {
            "row": rows @ pixels / mass,
            "column": columns @ pixels / mass,
            "height": 28 - (rows > 0).argmax(1) - (rows[:, ::-1] > 0).argmax(1),
            "width": 28 - (columns > 0).argmax(1) - (columns[:, ::-1] > 0).argmax(1),
        }
    )


def strangeness(vectors: np.ndarray, labels: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Return each image's mean distance to its nearest neighbours of the same class, shape (N,).

    It is large for a form that nobody else has. Unlike the distance to the mean of the class, it
    allows for several forms in one class. Ramaswamy et al. (2000, "Efficient algorithms for mining
    outliers") use it to find outliers.

    Args:
        vectors: float, shape (N, D).
        labels: int, shape (N,).
        num_neighbours: fewer than the images of the smallest class.
    """
    scores = np.empty(len(vectors))
    for label in np.unique(labels):
        members = labels == label
        search = NearestNeighbors(n_neighbors=num_neighbours, algorithm="brute")
        distances, _ = search.fit(vectors[members]).kneighbors()  # excludes the image itself
        scores[members] = distances.mean(1)
    return scores


def neighbour_agreement(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share (0 to 1) of points (N, D) whose nearest other point has the same label."""
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)
    return float((labels[nearest[:, 0]] == labels).mean())


def shift_distances(images: torch.Tensor, pixels: float) -> np.ndarray:
    """Return the distance (N,) from each image to its own copy moved right by ``pixels``."""
    moved = ndimage.shift(images.numpy() / 255.0, (0, 0, pixels), order=1)  # linear between pixels
    return np.linalg.norm(unit_vectors(images) - normalize(moved.reshape(len(moved), -1)), axis=1)


def nearest_others(
    vectors: np.ndarray, projected: np.ndarray, num_candidates: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and indices, both (N, num_candidates), of each vector's nearest others.

    The candidates are the nearest in a projection, where the search is ten times as fast. Their
    distances are then computed in full, and they are sorted, nearest first.

    Args:
        vectors: float, shape (N, D).
        projected: float, shape (N, fewer), an orthogonal projection of ``vectors``.
    """
    search = NearestNeighbors(n_neighbors=num_candidates, algorithm="brute").fit(projected)
    candidates = search.kneighbors(return_distance=False)  # excludes the vector itself
    distances = np.empty(candidates.shape, dtype=vectors.dtype)
    for start in range(0, len(vectors), 512):  # few enough to stay in the processor's cache
        block = slice(start, start + 512)
        for column in range(num_candidates):
            others = vectors[candidates[block, column]]
            distances[block, column] = np.linalg.norm(vectors[block] - others, axis=1)
    order = distances.argsort(axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(candidates, order, 1)


def close_pairs(
    distances: np.ndarray, indices: np.ndarray, labels: np.ndarray, num_train: int
) -> pd.DataFrame:
    """Return the pairs that ``nearest_others`` found, each once, closest first.

    Args:
        distances, indices: float and int, shape (N, num_candidates).
        labels: int, shape (N,), of the training images and then of the test images.
        num_train: number of training images among the N.

    Returns:
        ``first``, ``second`` (from 0 to N - 1), ``distance``, ``first_label``, ``second_label``
        and ``sets``: "train-train", "train-test" or "test-test".
    """
    one, other = np.repeat(np.arange(len(indices)), indices.shape[1]), indices.ravel()
    first, second = np.minimum(one, other), np.maximum(one, other)
    pairs = pd.DataFrame({"first": first, "second": second, "distance": distances.ravel()})
    pairs = pairs.drop_duplicates(["first", "second"]).sort_values("distance", kind="stable")
    num_test = (pairs["first"] >= num_train).astype(int) + (pairs["second"] >= num_train)
    return pairs.assign(
        first_label=labels[pairs["first"]],
        second_label=labels[pairs["second"]],
        sets=np.array(SETS)[num_test],
    ).reset_index(drop=True)


def fit_and_score(model: ClassifierMixin, train: Digits, test: Digits) -> tuple[np.ndarray, dict]:
    """Fit a scikit-learn classifier; return its labels for ``test``, and its row of a table.

    The row has the accuracy with its interval, the errors, also those in each half of the set, and
    the processor seconds of all cores: they depend less than elapsed time on what else is running.
    """
    start = time.process_time()
    model.fit(flatten(train.images), train.labels.numpy())
    predictions = model.predict(flatten(test.images))
    seconds = time.process_time() - start
    wrong, half = predictions != test.labels.numpy(), len(test) // 2
    return predictions, accuracy_columns(int((~wrong).sum()), len(test)) | {
        "in first half": int(wrong[:half].sum()),
        "in second half": int(wrong[half:].sum()),
        "seconds": round(seconds, 1),
    }
