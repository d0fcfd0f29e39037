"""Draw rows at random so that each class keeps its share, or gets the same number."""

from typing import Any

import numpy as np

Rows = np.ndarray[Any, Any]


def stratified_sample(labels: Rows, size: int, seed: int, *, rare_first: bool = True) -> Rows:
    """Draw rows so that each class keeps its share.

    Args:
        labels: Class ids, (rows,).
        size: How many rows to draw.
        seed: Decides which.
        rare_first: Whether a class of few rows gets one while there is room, or leaves them to those not drawn.

    Returns:
        Row numbers in ascending order, (size,).
    """
    order, place, counts = _shuffled(labels, seed)
    share = (place + (not rare_first)) / counts  # each row's place within its class, from 0 to 1
    return np.sort(order[np.argsort(share[order], kind="stable")[:size]])


def sample_per_class(labels: Rows, size: int, seed: int) -> Rows:
    """Draw the same number of rows of each class, all of them where a class has fewer.

    Args:
        labels: Class ids, (rows,).
        size: How many rows of a class to draw.
        seed: Decides which. A larger size with the same seed draws the same rows and more.

    Returns:
        Row numbers in ascending order.
    """
    return np.flatnonzero(_shuffled(labels, seed)[1] < size)


def _shuffled(labels: Rows, seed: int) -> tuple[Rows, Rows, Rows]:
    """A random order of the rows; each row's number within its class in that order, and the rows of its class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    _, classes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = order[np.argsort(classes, kind="stable")]
    place, counts = np.empty(len(labels), dtype=int), np.empty(len(labels), dtype=int)
    place[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counts[by_class] = np.repeat(sizes, sizes)
    return order, place, counts
