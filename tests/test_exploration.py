"""Where the ink is, what is strange, and what is nearly the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import normalize

from study import exploration


def test_ink_positions():
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[0, 4:8, 10:20] = 255
    images[1, 0, 0] = 1
    positions = exploration.ink_positions(images)
    assert positions.loc[0].tolist() == [5.5, 14.5, 4, 10]
    assert positions.loc[1].tolist() == [0, 0, 1, 1]


def test_strange_is_what_nobody_else_of_the_class_has():
    vectors = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2], [5.0]])
    labels = np.array([0, 0, 0, 1, 1, 1, 0])
    scores = exploration.strangeness(vectors, labels, num_neighbours=2)
    assert scores.argmax() == 6
    assert scores[1] == pytest.approx(0.1)


def test_neighbour_agreement():
    points = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert exploration.neighbour_agreement(points, np.array([0, 0, 1, 2])) == 0.5


def test_shift_distances(few):
    images = few[0].images[:20]
    near, far = (exploration.shift_distances(images, pixels) for pixels in (0.25, 1.0))
    assert np.allclose(exploration.shift_distances(images, 0.0), 0, atol=1e-6)
    assert (near > 0).all() and (near < far).all()


def test_nearest_others_and_close_pairs_by_brute_force(few):
    vectors = normalize(exploration.flatten(few[0].images[:60]))
    labels = few[0].labels[:60].numpy()
    distances, indices = exploration.nearest_others(vectors, vectors, num_candidates=59)
    full = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(full, np.inf)
    assert np.allclose(distances[:, 0], full.min(1), atol=1e-5)
    pairs = exploration.close_pairs(distances, indices, labels, num_train=40)
    assert len(pairs) == 60 * 59 // 2
    assert pairs["distance"].is_monotonic_increasing
    assert pairs["distance"][0] == pytest.approx(full.min(), abs=1e-5)
    assert pairs["sets"].value_counts().to_dict() == {
        "train-train": 40 * 39 // 2,
        "train-test": 40 * 20,
        "test-test": 20 * 19 // 2,
    }
    assert (pairs["first_label"] == labels[pairs["first"]]).all()


def test_nearest_others_are_found_in_a_projection(few):
    """Whatever the block that a vector lies in, its distances are those of the full vectors."""
    vectors = exploration.unit_vectors(few[0].images)  # more than one block
    projected = vectors[:, 300:500]
    distances, indices = exploration.nearest_others(vectors, projected, num_candidates=3)
    assert len(vectors) > 512
    assert (np.diff(distances, axis=1) >= 0).all()
    full = np.linalg.norm(vectors[:, None] - vectors[indices], axis=2)
    assert np.array_equal(distances, full)
    assert (indices != np.arange(len(vectors))[:, None]).all()


def test_fit_and_score(few):
    train, test = few
    predictions, row = exploration.fit_and_score(DummyClassifier(), train, test)
    assert set(predictions) == {train.labels.mode().values.item()}
    wrong = predictions != test.labels.numpy()
    half = len(test) // 2
    assert row["errors"] == wrong.sum()
    assert (row["in first half"], row["in second half"]) == (wrong[:half].sum(), wrong[half:].sum())
    assert row["seconds"] >= 0
