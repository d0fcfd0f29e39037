"""Turn tables into labelled rows: load tables, find their columns, split, sample and stream the rows."""

from .splits import load_evaluation_splits, load_splits

__all__ = [
    "load_evaluation_splits",
    "load_splits",
]
