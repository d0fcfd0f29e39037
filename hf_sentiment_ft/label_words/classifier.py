"""Export the label words' rows of the language model head as a classifier for `pipeline("text-classification")`.

If every label word is a single token, this needs no training. The logits of a causal language model at the decision
position are its last hidden state times the rows of its head, and the softmax denominator over the vocabulary is the
same for all labels. A `...ForSequenceClassification` of the same architecture computes the same with fewer rows, at the
last token that is not padding. A temperature divides the rows.
"""

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..runtime.distributed import without_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from .model import LabelWordModel
    from .questions import Questions
    from .verbalizer import Verbalizer

logger = logging.getLogger(__name__)

FOLDER = "text-classification"
TOLERANCE = 1e-4  # largest difference between two probabilities that count as equal, in float32
TRIED_TEXTS = ("a", "a moving, funny film", "Two hours of it, and not one minute that I would want to see again.")


def check_text_classification(
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    verbalizer: "Verbalizer",
    questions: "Questions | None",
) -> None:
    """Refuse models that cannot be exported exactly, as far as this is known without the weights.

    Args:
        config: Configuration of the causal language model.
        tokenizer: Tokenizer that already contains the prompt.
        verbalizer: Label words.
        questions: What the model is asked about every text; None for a single question.

    Raises:
        UsageError: If the model cannot be exported; the message gives the reason.
    """
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForCausalLM

    kind = config.model_type
    if questions:
        raise _refusal("the model is asked several questions about each text, but a classifier reads it only once")
    several = [word for word, ids in zip(verbalizer.words, verbalizer.token_ids, strict=True) if len(ids) > 1]
    if several:
        raise _refusal(
            f"the label word {several[0]!r} has several tokens, but a classifier has only one row of weights per label",
            "use --label_words auto, or pass words of one token each",
        )
    if verbalizer.synonyms:
        raise _refusal(
            "a label has several words, but a classifier has only one row of weights per label",
            "give each label a single word with --label_words",
        )
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise _refusal(f"transformers has no sequence classification model for {kind}")
    if tokenizer("a").input_ids[-1] == tokenizer.pad_token_id:
        raise _refusal(
            f"the prompt ends in {tokenizer.pad_token!r}, which is also this model's padding token, and a classifier "
            "reads the last token that is not padding",
            "use a --prompt_template with a different ending",
        )
    if getattr(config.get_text_config(), "final_logit_softcapping", None):
        raise _refusal(
            f"{kind} applies soft-capping to its logits (final_logit_softcapping), but its sequence classification "
            "model does not"
        )
    with without_weights():
        head = AutoModelForCausalLM.from_config(config).get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise _refusal(f"the language model head of {kind} adds a bias, but its sequence classification model has none")


def classifier_of(loaded: "LabelWordModel") -> "PreTrainedModel":
    """Build a sequence classifier from the same body and a `score` layer made of the label words' rows.

    Only the label words' rows are copied; all other weights are shared. Both models are compared on a few texts, which
    the classifier gets in one batch, padded the way its tokenizer pads.

    Args:
        loaded: Trained model, tokenizer and label words.

    Returns:
        Classifier whose logits have the shape (batch, num_labels).

    Raises:
        UsageError: If the model cannot be exported, or the two models' probabilities differ.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from .model import predict_probabilities

    model, tokenizer, verbalizer = loaded.model, loaded.tokenizer, loaded.verbalizer
    if loaded.calibration.log_prior is not None:
        raise _refusal("a classifier cannot store the values that calibration subtracts from the scores")
    if model._hf_peft_config_loaded:
        raise _refusal("this is an adapter without its base model, but a classifier needs the full weights")
    check_text_classification(model.config, tokenizer, verbalizer, loaded.questions)
    config = copy.deepcopy(model.config)
    config.problem_type = "single_label_classification"
    with without_weights():
        classifier = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    setattr(classifier, classifier.base_model_prefix, model.base_model)
    rows = model.get_output_embeddings().weight[[ids[0] for ids in verbalizer.token_ids]]  # (num_labels, hidden)
    classifier.score.weight = torch.nn.Parameter(rows.detach() / loaded.calibration.temperature)
    batch = tokenizer(list(TRIED_TEXTS), padding=True, padding_side="right", return_tensors="pt")
    with torch.inference_mode():
        logits = classifier.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = torch.tensor(predict_probabilities(loaded, list(TRIED_TEXTS), batch_size=1))
    difference = float((logits.double().softmax(-1) - expected).abs().max())
    exact = max(TOLERANCE, 4 * torch.finfo(model.dtype).eps)
    if not difference <= exact:  # written this way, it also refuses NaN
        raise _refusal(
            f"its probabilities would differ by {difference:.2g} (expected at most {exact:.2g}), since this "
            f"{config.model_type} model computes its logits with more than a single matrix product"
        )
    return classifier


def _refusal(reason: str, remedy: str = "") -> UsageError:
    remedies = "Leave out this export (in training, --export_text_classification and --push_space)" + (
        f", or {remedy}." if remedy else "."
    )
    return UsageError(f"cannot export an exact text classification model: {reason}. {remedies}")


def export_text_classification(folder: Path) -> Path:
    """Write the classifier of a finished run to a subfolder of the run's folder, and return that subfolder.

    The subfolder is complete: it has the weights and a tokenizer that contains the prompt. The tokenizer pads on the
    right, where padding does not shift any model's positions.

    Args:
        folder: Folder of the finished run.

    Raises:
        UsageError: If `folder` does not contain a model trained by this package, or the model has no exact classifier.
    """
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from .model import load_label_word_model

    unset_hf_deepspeed_config()  # otherwise ZeRO-3 would shard the model across the training processes
    loaded = load_label_word_model(str(folder))
    classifier = classifier_of(loaded)
    loaded.tokenizer.padding_side = "right"
    classifier.save_pretrained(folder / FOLDER)
    loaded.tokenizer.save_pretrained(folder / FOLDER)
    logger.info("Text classification model saved in %s", folder / FOLDER)
    return folder / FOLDER
