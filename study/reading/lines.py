"""Boxes of digits -> lines in reading order."""

import numpy as np

STEEPEST = 40  # degrees: lines slope no more than this
LEAST = 3  # digits: with fewer, no slope is looked for
OVERLAP = 0.35  # of the lower of two digits: with more, they stand in one line
LOW = 0.4  # of the median height: a lower digit need not overlap, only be near the middle


def lines_of(boxes: np.ndarray) -> list[list[int]]:
    """Arrange digits in lines.

    Args:
        boxes: (N, 4): left, top, right and bottom of each digit.

    Returns:
        The numbers of the digits of each line, from left to right; the uppermost line comes first.
    """
    if not len(boxes):
        return []
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 1)
    tangent = np.tan(np.radians(slope(x, y, heights)))
    y = y - tangent * x
    median = np.median(heights)
    lines: list[list[int]] = []
    for digit in np.argsort(x, kind="stable").tolist():
        overlaps = [_overlap(y, heights, digit, line[-1], median) for line in lines]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] > OVERLAP:
            lines[best].append(digit)
        else:
            lines.append([digit])
    return sorted(lines, key=lambda line: y[line].mean())


def _overlap(y: np.ndarray, heights: np.ndarray, one: int, other: int, median: float) -> float:
    """How much of the lower of two digits is beside the other."""
    lower = min(heights[one], heights[other])
    if lower < LOW * median:
        return 1 - abs(y[one] - y[other]) / median
    top = max(y[one] - heights[one] / 2, y[other] - heights[other] / 2)
    bottom = min(y[one] + heights[one] / 2, y[other] + heights[other] / 2)
    return (bottom - top) / lower


def slope(x: np.ndarray, y: np.ndarray, heights: np.ndarray) -> float:
    """Return by how many degrees lines fall to the right.

    Along the right slope, the middles of digits gather in few narrow bands: the sum of squares of
    their density is largest. Lines for which no slope gains much stay level.

    Args:
        x, y: middles of the digits, (N,).
        heights: of the digits, (N,).
    """
    if len(x) < LEAST:
        return 0.0
    angles = np.arange(-STEEPEST, STEEPEST + 1)
    unit = np.median(heights)
    turned = (y[None] - np.tan(np.radians(angles))[:, None] * (x - x.mean())[None]) / unit
    turned *= np.cos(np.radians(angles))[:, None]
    gaps = turned[:, :, None] - turned[:, None, :]
    # Digits far apart in a line say little about its slope, since the line may bend.
    near = np.exp(-(((x[:, None] - x) / (6 * unit)) ** 2))
    density = (np.exp(-((gaps / 0.25) ** 2)) * near).sum((1, 2)) / near.sum()
    return float(angles[np.argmax(density - 0.0015 * np.abs(angles))])
