"""Where the ink is, what is strange, and what is nearly the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize

from study import exploration


def test_ink_positions():
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[0, 4:8, 10:20] = 255
    images[1, 0, 0] = 1
    positions = exploration.ink_positions(images)
    assert positions.loc[0].tolist() == [5.5, 14.5, 4, 10]
    assert positions.loc[1].tolist() == [0, 0, 1, 1]


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


def test_a_slanted_stroke_is_set_upright():
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    for row in range(5, 24):
        images[0, row, 4 + row // 2] = 255  # a column to the right for two rows down
        images[1, row, 13] = 255  # upright already
    images[2, 10, 8:20] = 200  # a single row has no slant
    upright = exploration.deskewed(images)
    assert upright.dtype == torch.uint8 and torch.equal(upright[1:], images[1:])
    columns = upright[0].sum(0, dtype=torch.int64)
    assert columns.topk(2).values.sum() >= 0.99 * images[0].sum(dtype=torch.int64)
    assert exploration.ink_positions(upright)["height"].tolist() == [19, 19, 1]


def test_images_are_deskewed_alike_in_any_company(few):
    images = few[0].images
    several = torch.cat([images] * 8)  # more than one block
    assert torch.equal(exploration.deskewed(several)[-600:], exploration.deskewed(images))
