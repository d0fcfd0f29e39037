"""Load base models and adapters, and prepare their inputs; this package does not know about label words."""

from .loading import find_model_to_train, load_config, load_model, load_tokenizer
from .lora import check_lora

__all__ = [
    "check_lora",
    "find_model_to_train",
    "load_config",
    "load_model",
    "load_tokenizer",
]
