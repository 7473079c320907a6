"""Parts of a set of images."""

from __future__ import annotations

import torch

from study.subsets import subset


def test_subsets_have_equal_shares_and_differ_by_seed(digits):
    train = digits[0][:2000]
    for number in (100, 333, 1900):
        assert len(subset(train, number, 0)) == number
    first, again, other = (subset(train, 100, seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)
    share = 100 / 2000 * train.labels.bincount()
    assert (first.labels.bincount() - share).abs().max() < 1
    assert torch.equal(subset(train, 2000, 0).images, subset(train, 5000, 1).images)
