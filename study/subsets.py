"""Parts of a set of images, to learn from fewer of them."""

from study.data import Digits, split


def subset(train: Digits, number: int, seed: int) -> Digits:
    """Return ``number`` images with equal shares of each class, other ones for each seed.

    If there are no more than ``number``, these are all, in their order.

    Raises:
        ValueError: fewer than ten would be left, or taken: one of each class.
    """
    if number >= len(train):
        return train
    return split(train, number / len(train), seed)[1][:number]  # the share may round up
