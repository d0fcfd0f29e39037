"""Publish a finished run on the Hub with a model card, and verify what was published."""

from .card import add_to_card, card_values, save_card
from .checkpoint_push import CheckpointPush
from .metadata import trace_provenance
from .notebook import NOTEBOOK, save_notebook
from .preflight import check_destination, default_model_name, describe_publication, preflight
from .provenance import save_benchmark_result
from .publication import print_summary, publish_run

__all__ = [
    "add_to_card",
    "card_values",
    "check_destination",
    "CheckpointPush",
    "default_model_name",
    "NOTEBOOK",
    "describe_publication",
    "preflight",
    "print_summary",
    "publish_run",
    "save_benchmark_result",
    "save_card",
    "save_notebook",
    "trace_provenance",
]
