"""Turn tables into labelled rows: load them, find their columns, split, sample and stream them."""

from .splits import load_evaluation_splits, load_splits

__all__ = [
    "load_evaluation_splits",
    "load_splits",
]
