"""Statistics of images, without any network.

Distances are Euclidean, between images scaled to unit length, so that it does not matter how
dark the ink is: 0 for the same drawing, sqrt(2) for two images whose ink shares no pixel.
"""

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

SETS = ["train-train", "train-test", "test-test"]  # which sets the images of a pair come from


def flatten(images: torch.Tensor) -> np.ndarray:
    """Turn uint8 images (N, 28, 28) into what scikit-learn takes: float32 (N, 784) in [0, 1]."""
    return images.numpy().reshape(len(images), -1).astype(np.float32) / 255


def unit_vectors(images: torch.Tensor) -> np.ndarray:
    """Turn uint8 images (N, 28, 28) into float32 vectors (N, 784) of length 1."""
    return normalize(flatten(images))


def ink_positions(images: torch.Tensor) -> pd.DataFrame:
    """Return where the ink of each image lies, in pixels: one row per image. None may be blank.

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


def deskewed(images: torch.Tensor) -> torch.Tensor:
    """Shear each image, uint8 (N, 28, 28), so that its ink stands upright, not slanted.

    Each row is moved sideways by its distance from the centre of mass times the slope of the ink,
    the regression of its columns on its rows (LeCun et al. 1998, "Gradient-Based Learning Applied
    to Document Recognition", section III.C, deskew their images in this way).
    """
    return torch.cat([_deskewed(block) for block in images.split(4096)])


def _deskewed(images: torch.Tensor) -> torch.Tensor:
    ink, pixels = images.numpy().astype(np.float32), np.arange(28)
    centre = ink_positions(images)
    rows, columns = (pixels - centre[[name]].to_numpy() for name in ("row", "column"))  # (N, 28)
    covariance = np.einsum("nij,ni,nj->n", ink, rows, columns)
    variance = np.einsum("nij,ni->n", ink, rows**2)
    slope = covariance / np.maximum(variance, 1e-6)  # of ink in a single row: 0
    source = pixels + (slope[:, None] * rows)[:, :, None]  # the column that each pixel comes from
    left = np.floor(source).astype(int)
    padded = np.pad(ink, ((0, 0), (0, 0), (1, 1)))
    ink = [np.take_along_axis(padded, (at + 1).clip(0, 29), axis=2) for at in (left, left + 1)]
    part = source - left
    return torch.from_numpy(np.rint((1 - part) * ink[0] + part * ink[1]).astype(np.uint8))


def shift_distances(images: torch.Tensor, pixels: float) -> np.ndarray:
    """Return the distance (N,) from each image to a copy of it moved right by ``pixels``."""
    moved = ndimage.shift(images.numpy() / 255.0, (0, 0, pixels), order=1)  # linear between pixels
    return np.linalg.norm(unit_vectors(images) - normalize(moved.reshape(len(moved), -1)), axis=1)


def nearest_others(
    vectors: np.ndarray, projected: np.ndarray, num_candidates: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and indices, both (N, num_candidates), of each vector's nearest others.

    The candidates are the nearest in a projection, where the search is ten times as fast. Their
    full distances are then computed, and they are sorted, nearest first.

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
