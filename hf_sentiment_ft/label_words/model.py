"""A trained model as it was saved, ready to answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..model.loading import ModelSource, context_length, find_adapter, load_config, load_model, load_tokenizer
from .verbalizer import Verbalizer

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from .verbalizer import SequenceBias


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
    base = find_adapter(ModelSource(path, {"revision": revision, "trust_remote_code": False}))
    config = load_config(base)
    verbalizer = saved_verbalizer(config)
    if verbalizer is None:
        raise UsageError(f"{path} holds a model without label words; train it with hf_sentiment_ft.train first.")
    tokenizer = load_tokenizer(base)
    model = load_model(base, "auto", tokenizer)
    return LabelWordModel(model.eval(), tokenizer, verbalizer, getattr(config, "label_log_prior", None))


def prepare_for_generation(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt_template: str,
    verbalizer: Verbalizer,
    sequence_bias: "SequenceBias | None" = None,
    log_prior: "np.ndarray[Any, Any] | None" = None,
) -> None:
    """Set what a bare `pipeline("text-generation", model=...)` needs in order to say the label word and stop.

    Its texts are at most as long as the model can read; `pipeline(..., truncation=True)` cuts longer ones to that.
    The labels, their words and the prompt template are kept in the model's config, for `predict` and for readers.
    `sequence_bias` is what `label_words_only` returns, or None for generation over the whole vocabulary; `log_prior`
    what `label_log_prior` does.
    """
    from transformers import GenerationConfig

    config = model.config
    tokenizer.model_max_length = context_length(model.config) - verbalizer.max_tokens
    config.pad_token_id = tokenizer.pad_token_id
    config.use_cache = True  # Trainer turns it off
    config.id2label = dict(enumerate(verbalizer.labels))
    config.label2id = {label: index for index, label in enumerate(verbalizer.labels)}
    config.label_words = verbalizer.words
    config.label_token_ids = verbalizer.token_ids
    config.label_synonyms, config.label_synonym_ids = verbalizer.synonyms, verbalizer.synonym_ids
    config.label_log_prior = None if log_prior is None else log_prior.tolist()
    config.prompt_template = prompt_template
    model.generation_config = GenerationConfig(
        max_new_tokens=verbalizer.max_tokens,
        do_sample=False,
        sequence_bias=sequence_bias,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def predict_probabilities(loaded: "LabelWordModel", texts: list[str], batch_size: int) -> "np.ndarray[Any, Any]":
    """Probability of each label for each text, (rows, num_labels), in the order of `loaded.verbalizer.labels`.

    Texts of similar length go together. A text that the model cannot read whole is cut, its prompt never.
    """
    import numpy as np
    import torch

    from ..model.inputs import forward_arguments, left_pad
    from .scoring import label_probabilities, score_label_words

    model, tokenizer = loaded.model, loaded.tokenizer
    prompts = tokenizer(texts, truncation=True).input_ids
    order = sorted(range(len(texts)), key=lambda row: len(prompts[row]))
    accepted = forward_arguments(model)
    scores = np.empty((len(texts), len(loaded.verbalizer.labels)))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        input_ids = left_pad([prompts[row] for row in rows], tokenizer.pad_token_id).to(model.device)
        mask = left_pad([[1] * len(prompts[row]) for row in rows], 0).to(model.device)
        with torch.inference_mode():
            scores[rows] = score_label_words(model, input_ids, mask, loaded.verbalizer, accepted)[0].cpu().numpy()
    return label_probabilities(scores if loaded.log_prior is None else scores - loaded.log_prior)
