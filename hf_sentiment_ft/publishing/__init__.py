"""Publish a finished run on the Hub, with its card, and look at what was published."""

from .card import card_values, prepare_card, save_card
from .checkpoint_push import CheckpointPush
from .preflight import check_destination, default_model_name, describe_publication, resolve_hub_options
from .provenance import save_benchmark_result
from .publication import print_summary, publish_run

__all__ = [
    "print_summary",
    "card_values",
    "check_destination",
    "CheckpointPush",
    "default_model_name",
    "describe_publication",
    "prepare_card",
    "publish_run",
    "save_benchmark_result",
    "save_card",
    "resolve_hub_options",
]
