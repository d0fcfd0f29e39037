"""Turn tables into labelled rows: load tables, find their columns, split, sample and stream the rows."""

from .loading import check_files
from .splits import load_evaluation_splits, load_splits

__all__ = [
    "check_files",
    "load_evaluation_splits",
    "load_splits",
]
