"""Classify with a causal language model by asking it for label words: prompt, verbalizer, scores."""

from .classifier import check_text_classification, export_text_classification
from .task import build_task, prepare_task
from .tokenization import tokenize_splits

__all__ = [
    "build_task",
    "check_text_classification",
    "export_text_classification",
    "prepare_task",
    "tokenize_splits",
]
