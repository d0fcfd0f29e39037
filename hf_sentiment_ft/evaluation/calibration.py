"""Contextual calibration: what a model prefers whatever the text is, taken off its scores.

Zero-shot and few-shot, a model may give one label to nearly all texts. Zhao et al. 2021
(https://arxiv.org/abs/2102.09690) measure that preference on texts that say nothing and divide the probabilities by it;
Zhou et al. 2023 (https://arxiv.org/abs/2309.17249) measure it as the mean over real texts, whose labels are not needed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from .constraint import calibrates_generation
from .errors import UsageError
from .scoring import label_probabilities

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from transformers.trainer_utils import PredictionOutput

    from .trainer import LabelWordTrainer

CONTENT_FREE = ("N/A", "[MASK]", "")


def prior_rows(
    method: str | None, tokenized: "dict[str, Dataset]", tokenizer: "PreTrainedTokenizerBase"
) -> "Dataset | None":
    """The prompts on which the preference is measured, in the form of `tokenize`; None for no calibration.

    Args:
        method: `contextual`, `validation`, or None.
        tokenized: Splits as the model reads them.
        tokenizer: It puts the prompt around a text.

    Raises:
        UsageError: If there is no validation split.
    """
    from datasets import Dataset

    if method == "validation" and "validation" not in tokenized:
        raise UsageError("--calibration is validation, but there is no validation split; --calibration contextual.")
    if method == "validation":
        return tokenized["validation"]
    if method is None:
        return None
    prompts = tokenizer(list(CONTENT_FREE)).input_ids
    labels = [[0, number] for number in range(len(prompts))]
    return Dataset.from_dict({"input_ids": prompts, "labels": labels, "length": list(map(len, prompts))})


def label_log_prior(trainer: "LabelWordTrainer", rows: "Dataset | None") -> "np.ndarray[Any, Any] | None":
    """Logarithm of the mean probability of each label over these rows, (num_labels,); None for no rows."""
    if rows is None:
        return None
    scores = trainer.predict(rows).predictions[0]
    return np.log(np.maximum(label_probabilities(scores).mean(axis=0), np.finfo(float).tiny))


def calibrate(trainer: "LabelWordTrainer", prediction: "PredictionOutput", log_prior: Any) -> "PredictionOutput":
    """Take the preference off the scores of a prediction; None takes nothing.

    What `pipeline` says follows, where its constraint can (see `calibrates_generation`). The accuracy from before is
    one more metric.
    """
    if log_prior is None:
        return prediction
    raw, said, free = prediction.predictions
    scores = raw - np.asarray(log_prior, dtype=raw.dtype)
    if trainer.constrained and calibrates_generation(trainer.verbalizer):
        said = np.asarray(trainer.verbalizer.token_ids)[scores.argmax(axis=1)]
    right = raw.argmax(axis=1) == np.asarray(prediction.label_ids)[:, 0]
    metrics = {**prediction.metrics, "test_uncalibrated_accuracy": float(right.mean())}
    return prediction._replace(predictions=(scores, said, free), metrics=metrics)
