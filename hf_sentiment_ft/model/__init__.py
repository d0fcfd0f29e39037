"""Load base models and adapters, and hand them their inputs; label words are not known here."""

from .loading import find_whole_model, load_config, load_model, load_tokenizer
from .lora import check_lora

__all__ = [
    "check_lora",
    "find_whole_model",
    "load_config",
    "load_model",
    "load_tokenizer",
]
