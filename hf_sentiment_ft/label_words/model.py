"""A trained model loaded for inference."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..model.loading import ModelSource, context_length, find_adapter, load_config, load_model, load_tokenizer
from .calibration import UNCALIBRATED, Calibration
from .questions import Questions
from .verbalizer import Verbalizer

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from .verbalizer import SequenceBias


def saved_verbalizer(config: "PretrainedConfig") -> Verbalizer | None:
    """Return the label words stored in a model's config, or None if this package did not train the model."""
    if not hasattr(config, "label_words"):
        return None
    labels = [config.id2label[index] for index in range(len(config.label_words))]
    synonyms = getattr(config, "label_synonyms", []), getattr(config, "label_synonym_ids", [])
    order = getattr(config, "label_order", [])
    return Verbalizer(labels, config.label_words, config.label_token_ids, *synonyms, order=order)


@dataclass(frozen=True)
class LabelWordModel:
    """A trained model loaded for inference.

    Attributes:
        model: Causal language model, in evaluation mode.
        tokenizer: Tokenizer that contains the prompt.
        verbalizer: Label words.
        calibration: What turns its scores into probabilities.
        questions: What it is asked about every text; None for a single question.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    verbalizer: Verbalizer
    calibration: Calibration = UNCALIBRATED
    questions: Questions | None = None


def load_label_word_model(path: str, revision: str = "main") -> LabelWordModel:
    """Load a trained model from a run's folder or from the Hub.

    Args:
        path: Folder or Hub id.
        revision: Branch, tag or commit on the Hub.

    Raises:
        UsageError: If there is no model, or this package did not train it.
    """
    base = find_adapter(ModelSource(path, {"revision": revision, "trust_remote_code": False}))
    config = load_config(base)
    verbalizer = saved_verbalizer(config)
    if verbalizer is None:
        raise UsageError(f"{path} contains a model without label words. Train it with hf_sentiment_ft.train first.")
    tokenizer = load_tokenizer(base)
    model = load_model(base, "auto", tokenizer)
    questions = Questions.saved_in(config)
    return LabelWordModel(model.eval(), tokenizer, verbalizer, Calibration.saved_in(config), questions)


def place(loaded: LabelWordModel, device: str | None) -> None:
    """Move a model to a device, by default to the GPU if there is one.

    Raises:
        UsageError: If there is no such device, or the model cannot be used on it.
    """
    import torch

    from ..model.inputs import check_attention

    try:
        loaded.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (AssertionError, RuntimeError) as error:
        if device is None or isinstance(error, torch.OutOfMemoryError):
            raise
        raise UsageError(f"--device is {device}, which cannot be used: {error}") from error
    check_attention(loaded.model, loaded.tokenizer, cure="--device cpu")


def prepare_for_generation(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt_template: str,
    verbalizer: Verbalizer,
    sequence_bias: "SequenceBias | None" = None,
    calibration: Calibration = UNCALIBRATED,
) -> None:
    """Set up a model so that a bare `pipeline("text-generation", model=...)` generates the label word and stops.

    The tokenizer's `model_max_length` is set to the longest prompt that the model can read; `pipeline(...,
    truncation=True)` truncates longer texts to it. The labels, their words and the prompt template are stored in the
    model's config, for `predict` and for human readers.

    Args:
        model: Model whose config and generation config are changed in place.
        tokenizer: Its tokenizer, whose `model_max_length` is changed in place.
        prompt_template: Prompt template, to be stored in the config.
        verbalizer: Label words.
        sequence_bias: Return value of `label_words_only`; None to generate over the whole vocabulary.
        calibration: What turns its scores into probabilities, to be stored in the config.
    """
    from transformers import GenerationConfig

    config = model.config
    tokenizer.model_max_length = context_length(model.config) - verbalizer.max_tokens
    config.pad_token_id = tokenizer.pad_token_id
    config.use_cache = True  # Trainer disables it
    config.id2label = dict(enumerate(verbalizer.labels))
    config.label2id = {label: index for index, label in enumerate(verbalizer.labels)}
    config.label_words = verbalizer.words
    config.label_token_ids = verbalizer.token_ids
    config.label_order = verbalizer.order
    config.label_synonyms, config.label_synonym_ids = verbalizer.synonyms, verbalizer.synonym_ids
    calibration.store(config)
    config.prompt_template = prompt_template
    model.generation_config = GenerationConfig(
        max_new_tokens=verbalizer.max_tokens,
        do_sample=False,
        sequence_bias=sequence_bias,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def predict_probabilities(
    loaded: "LabelWordModel", texts: list[str], batch_size: int, precision: str = "fp32"
) -> "np.ndarray[Any, Any]":
    """Return the probability of each label for each text, in the order of `loaded.verbalizer.labels`.

    Of a model of several questions, these are the probabilities of the answers to one of them: `texts` then end in a
    question (see `Questions.ask`). `answers.answer_questions` asks them all.

    Texts of similar length are batched together. A text that is too long for the model is truncated; its prompt never
    is.

    Args:
        loaded: Trained model.
        texts: Texts without the prompt.
        batch_size: Number of texts in one forward pass.
        precision: `bf16` for matrix products in bf16, which are faster on some CPUs; `fp32` for those in the data type
            of the weights, as evaluation and `pipeline` have them.

    Returns:
        Probabilities, (rows, num_labels).
    """
    import numpy as np
    import torch

    from ..model.inputs import forward_arguments, left_pad_prompts
    from .scoring import label_probabilities, score_label_words

    model, tokenizer = loaded.model, loaded.tokenizer
    prompts = tokenizer(texts, truncation=True).input_ids
    order = sorted(range(len(texts)), key=lambda row: len(prompts[row]))
    accepted = forward_arguments(model)
    scores = np.empty((len(texts), len(loaded.verbalizer.labels)))
    # One context for all batches: autocast keeps the converted weights until it ends.
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = left_pad_prompts([prompts[row] for row in rows], tokenizer.pad_token_id)
            input_ids, mask = (values.to(model.device) for values in batch)
            scores[rows] = score_label_words(model, input_ids, mask, loaded.verbalizer, accepted)[0].cpu().numpy()
    return label_probabilities(loaded.calibration.without_prior(scores) / loaded.calibration.temperature)
