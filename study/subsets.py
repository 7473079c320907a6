"""Parts of a set of images, to learn from fewer of them."""

from study.data import Digits, split


def subset(train: Digits, number: int, seed: int) -> Digits:
    """Return ``number`` images with the same shares of classes, different ones for each seed.

    If there are no more than ``number``, all are returned, in their order.

    Raises:
        ValueError: fewer than ten, one of each class, would be left or taken.
    """
    if number >= len(train):
        return train
    return split(train, number / len(train), seed)[1][:number]  # the share may round up
