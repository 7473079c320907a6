"""Images -> what can be said of them before any network is trained.

Everything here works on pixels alone. Distances are Euclidean distances between images scaled to
unit length, so that a thick pen and a thin one are compared by what they drew: 0 for the same
drawing, sqrt(2) for two images without a pixel of ink in common.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from sklearn.base import ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from study.augmentation import NODES, transform
from study.evaluation import wilson_interval
from study.mnist import Digits


def flatten(images: torch.Tensor) -> np.ndarray:
    """Turn uint8 images (N, 28, 28) into what scikit-learn takes: float32 (N, 784) in [0, 1]."""
    return images.numpy().reshape(len(images), -1).astype(np.float32) / 255


def ink_positions(images: torch.Tensor) -> pd.DataFrame:
    """Return where the ink of each image lies, in pixels; one row for each image.

    Args:
        images: uint8, shape (N, 28, 28), none of them blank.

    Returns:
        ``row`` and ``column`` of the centre of mass, counted from the centre of the upper left
        pixel (the middle of the image is at 13.5), and ``height`` and ``width`` of the smallest
        box around all ink.
    """
    positions = []
    for image in images.numpy():
        rows, columns = ndimage.find_objects((image > 0).astype(np.uint8))[0]
        size = (rows.stop - rows.start, columns.stop - columns.start)
        positions.append((*ndimage.center_of_mass(image), *size))
    return pd.DataFrame(positions, columns=["row", "column", "height", "width"])


def strangeness(vectors: np.ndarray, labels: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Return each image's mean distance to its nearest neighbours of the same class, shape (N,).

    Small where many have written the same, large where nobody else has. Unlike the distance to
    the mean of the class it knows that a class may have several ways of writing (Ramaswamy et al.
    2000, "Efficient algorithms for mining outliers", use it to find outliers).

    Args:
        vectors: float, shape (N, D).
        labels: int, shape (N,).
        num_neighbours: fewer than the images of the smallest class.
    """
    scores = np.empty(len(vectors))
    for label in np.unique(labels):
        members = labels == label
        search = NearestNeighbors(n_neighbors=num_neighbours, algorithm="brute")
        distances, _ = search.fit(vectors[members]).kneighbors()  # each without itself
        scores[members] = distances.mean(1)
    return scores


def neighbour_agreement(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share (0 to 1) of points (N, D) whose nearest other point has the same label."""
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)
    return float((labels[nearest[:, 0]] == labels).mean())


def shift_distances(images: torch.Tensor, pixels: float) -> np.ndarray:
    """Return the distance, shape (N,), of each image to itself moved right by some ``pixels``.

    Between pixels values are interpolated linearly.
    """
    moved = ndimage.shift(images.numpy() / 255.0, (0, 0, pixels), order=1)
    return _lengths(normalize(flatten(images)) - normalize(moved.reshape(len(moved), -1)))


def nearest_others(
    vectors: np.ndarray, projected: np.ndarray, num_candidates: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and indices, both (N, num_candidates), of each vector's nearest others.

    The candidates are the nearest in a projection, where the search is an order of magnitude
    faster. They are then compared in full and sorted, nearest first.

    Args:
        vectors: float, shape (N, D).
        projected: float, shape (N, fewer), an orthogonal projection of ``vectors``.
    """
    search = NearestNeighbors(n_neighbors=num_candidates, algorithm="brute").fit(projected)
    candidates = search.kneighbors(return_distance=False)  # each without itself
    distances = np.stack([_lengths(vectors - vectors[column]) for column in candidates.T], axis=1)
    order = distances.argsort(axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(candidates, order, 1)


def close_pairs(
    distances: np.ndarray, indices: np.ndarray, labels: np.ndarray, num_train: int
) -> pd.DataFrame:
    """Return the pairs that ``nearest_others`` found, closest first, each once.

    Args:
        distances, indices: float and int, shape (N, num_candidates).
        labels: int, shape (N,): those of the training images, then those of the test images.
        num_train: how many of the N are training images.

    Returns:
        ``first``, ``second`` (from 0 to N - 1), ``distance``, ``first_label``, ``second_label``
        and ``sets``: "train-train", "train-test" or "test-test".
    """
    one, other = np.repeat(np.arange(len(indices)), indices.shape[1]), indices.ravel()
    first, second = np.minimum(one, other), np.maximum(one, other)
    pairs = pd.DataFrame({"first": first, "second": second, "distance": distances.ravel()})
    pairs = pairs.drop_duplicates(["first", "second"]).sort_values("distance", kind="stable")
    names = np.array(["train-train", "train-test", "test-test"])
    num_test = (pairs["first"] >= num_train).astype(int) + (pairs["second"] >= num_train)
    return pairs.assign(
        first_label=labels[pairs["first"]],
        second_label=labels[pairs["second"]],
        sets=names[num_test],
    ).reset_index(drop=True)


def distortion_strip(image: torch.Tensor, name: str, amounts: list[float]) -> torch.Tensor:
    """Return one image under one transform of each strength, float (len(amounts), 1, 28, 28).

    Args:
        image: float, shape (1, 1, 28, 28).
        name: an argument of ``augmentation.transform``. A shift is to the right; an elastic
            distortion is a fixed random one, scaled.
        amounts: in the unit of that argument.
    """
    values, zeros = torch.tensor(amounts, dtype=torch.float), torch.zeros(len(amounts))
    settings = {
        "rotation": zeros,
        "scale": zeros + 1,
        "shear": zeros,
        "shift": zeros,
        "elastic": None,
    }
    if name == "elastic":
        field = torch.randn(1, 2, NODES, NODES, generator=torch.Generator().manual_seed(0))
        values = values[:, None, None, None] * field
    settings[name] = values
    settings["shift"] = torch.stack([settings["shift"], zeros], dim=1)
    return transform(image.expand(len(amounts), -1, -1, -1), **settings)


def fit_and_predict(
    model: ClassifierMixin, train: Digits, test: Digits
) -> tuple[np.ndarray, float]:
    """Fit a scikit-learn classifier and return its labels for ``test``, and processor seconds.

    Processor seconds are summed over all cores: they depend less on what else the machine does.
    """
    start = time.process_time()
    model.fit(flatten(train.images), train.labels.numpy())
    predictions = model.predict(flatten(test.images))
    return predictions, time.process_time() - start


def score(predictions: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Return accuracy (%) with its 95 % Wilson interval, and errors in both halves of the set.

    Args:
        predictions, labels: int, shape (N,).
    """
    wrong = predictions != labels
    low, high = wilson_interval(int((~wrong).sum()), len(labels))
    half = len(labels) // 2
    return {
        "test accuracy (%)": f"{100 * (1 - wrong.mean()):.2f}",
        "95 % interval": f"{100 * low:.2f} to {100 * high:.2f}",
        "errors": int(wrong.sum()),
        "in first half": int(wrong[:half].sum()),
        "in second half": int(wrong[half:].sum()),
    }


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length of each row."""
    return np.linalg.norm(vectors, axis=1)
