"""A trained model as it was saved, ready to answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError
from .modeling import BaseModel, find_adapter, load_config, load_model, load_tokenizer
from .verbalizer import Verbalizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def saved_verbalizer(config: "PretrainedConfig") -> Verbalizer | None:
    """The label words of a model that this package has trained, None for any other model."""
    if not hasattr(config, "label_words"):
        return None
    labels = [config.id2label[index] for index in range(len(config.label_words))]
    synonyms = getattr(config, "label_synonyms", []), getattr(config, "label_synonym_ids", [])
    return Verbalizer(labels, config.label_words, config.label_token_ids, *synonyms)


@dataclass(frozen=True)
class LabelWordModel:
    """A trained model as it was saved, ready to answer; `log_prior` is what calibration takes off the scores."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    verbalizer: Verbalizer
    log_prior: list[float] | None = None


def load_label_word_model(path: str, revision: str = "main") -> LabelWordModel:
    """Load what a training run saved, from its folder or from the Hub.

    Raises:
        UsageError: If there is no model, or it was not made by this package.
    """
    base = find_adapter(BaseModel(path, {"revision": revision, "trust_remote_code": False}))
    config = load_config(base)
    verbalizer = saved_verbalizer(config)
    if verbalizer is None:
        raise UsageError(f"{path} holds a model without label words; train it with hf_sentiment_ft.train first.")
    tokenizer = load_tokenizer(base)
    model = load_model(base, "auto", tokenizer)
    return LabelWordModel(model.eval(), tokenizer, verbalizer, getattr(config, "label_log_prior", None))
