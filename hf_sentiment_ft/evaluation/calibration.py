"""Contextual calibration: subtract from the scores what a model prefers regardless of the text.

Zero-shot and few-shot, a model may give almost all texts the same label. Zhao et al. 2021
(https://arxiv.org/abs/2102.09690) measure this preference on texts without content and divide the probabilities by it;
Zhou et al. 2023 (https://arxiv.org/abs/2309.17249) measure it as the mean over real texts, whose labels are not needed.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.arguments import ModelArguments
from ..errors import UsageError
from ..label_words.calibration import Calibration
from ..label_words.questions import YES
from ..label_words.scoring import label_probabilities
from ..label_words.verbalizer import Verbalizer, calibrates_generation
from . import label_sets
from .predictions import Predictions, predict
from .temperature import fit_temperature
from .thresholds import choose_thresholds

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from ..training.trainer import LabelWordTrainer

CONTENT_FREE = ("N/A", "[MASK]", "")


def prior_rows(
    method: str | None, tokenized: "dict[str, Dataset]", tokenizer: "PreTrainedTokenizerBase"
) -> "Dataset | None":
    """Return the prompts on which the preference is measured, in the format of `tokenize`.

    Args:
        method: `contextual` for texts without content, `validation` for the validation split, or None for no
            calibration.
        tokenized: Tokenized splits by name.
        tokenizer: Tokenizer that contains the prompt.

    Returns:
        Dataset with at least the columns `input_ids`, `labels` and `length`; None for no calibration.

    Raises:
        UsageError: If the method is `validation` and there is no validation split.
    """
    from datasets import Dataset

    if method == "validation" and "validation" not in tokenized:
        raise UsageError(
            "--calibration validation needs a validation split, and there is none; use --calibration contextual."
        )
    if method == "validation":
        return tokenized["validation"]
    if method is None:
        return None
    prompts = tokenizer(list(CONTENT_FREE)).input_ids
    labels = [[0, number] for number in range(len(prompts))]
    return Dataset.from_dict({"input_ids": prompts, "labels": labels, "length": list(map(len, prompts))})


def label_log_prior(trainer: "LabelWordTrainer", rows: "Dataset | None") -> "np.ndarray[Any, Any] | None":
    """Return the logarithm of the mean probability of each label over these rows.

    Args:
        trainer: Trainer whose model predicts.
        rows: Return value of `prior_rows`; None for no calibration.

    Returns:
        Log-probabilities, (num_labels,); None for no rows.
    """
    return None if rows is None else _log_mean(predict(trainer, rows))


def _log_mean(predictions: Predictions) -> "np.ndarray[Any, Any]":
    return np.log(np.maximum(label_probabilities(predictions.scores).mean(axis=0), np.finfo(float).tiny))


def fit_calibration(
    trainer: "LabelWordTrainer", tokenized: "dict[str, Dataset]", prior_rows: "Dataset | None", args: ModelArguments
) -> tuple[Calibration, Predictions]:
    """Measure what turns the model's scores into probabilities, and which of these are high enough to trust.

    Args:
        trainer: Trainer whose model predicts.
        tokenized: Tokenized splits by name, with `validation` among them.
        prior_rows: Return value of `prior_rows`; None to subtract nothing.
        args: Model arguments, for `--temperature_scaling` and `--target_precision`.

    Returns:
        The calibration, and the uncalibrated predictions for the validation split from which it was made.
    """
    validation = predict(trainer, tokenized["validation"])
    on_validation = prior_rows is tokenized["validation"]
    log_prior = _log_mean(validation) if on_validation else label_log_prior(trainer, prior_rows)
    scores, class_ids = Calibration(log_prior).without_prior(validation.scores), validation.class_ids
    temperature = fit_temperature(scores, class_ids, validation.shares) if args.temperature_scaling else 1.0
    probabilities, questions = label_probabilities(scores / temperature), trainer.questions
    if questions is None:
        return Calibration(log_prior, temperature, choose_thresholds(probabilities, class_ids)), validation
    of_labels = None
    if questions.multi_label:
        yes, truth = (values.reshape(-1, len(questions.names)) for values in (probabilities[:, YES], class_ids == YES))
        of_labels = label_sets.choose_thresholds(yes, truth, args.target_precision)
    return Calibration(None, temperature, None, of_labels), validation


def calibrate(predictions: Predictions, calibration: Calibration, verbalizer: Verbalizer) -> Predictions:
    """Subtract the model's preference from the scores, and set the temperature and the thresholds.

    The tokens that `pipeline` generates change as well if the constraint can express it (see `calibrates_generation`).
    The accuracy before the subtraction is added to the metrics.

    Args:
        predictions: Uncalibrated predictions.
        calibration: From `fit_calibration`, or saved with a model.
        verbalizer: Label words.
    """
    predictions = replace(
        predictions,
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        label_thresholds=calibration.label_thresholds,
    )
    if calibration.log_prior is None:
        return predictions
    scores = calibration.without_prior(predictions.scores)
    generated = predictions.generated_tokens
    if predictions.free_tokens is not None and calibrates_generation(verbalizer):
        generated = np.asarray(verbalizer.token_ids)[scores.argmax(axis=1)]
    right = predictions.scores.argmax(axis=1) == predictions.class_ids
    metrics = predictions.metrics | {"test_uncalibrated_accuracy": float(right.mean())}
    return replace(predictions, scores=scores, generated_tokens=generated, metrics=metrics)


def predict_splits(
    trainer: "LabelWordTrainer",
    tokenized: "dict[str, Dataset]",
    calibration: Calibration,
    validation: Predictions | None = None,
) -> dict[str, Predictions]:
    """Predict all splits except train with the trainer's model, and calibrate the scores.

    Args:
        trainer: Trainer of the model.
        tokenized: Tokenized splits by name.
        calibration: From `fit_calibration`, or saved with a model.
        validation: Predictions for the validation split, uncalibrated, if they were already made.

    Returns:
        Predictions by split.
    """
    made = {"validation": validation} if validation else {}
    return {
        split: calibrate(made.get(split) or predict(trainer, rows), calibration, trainer.verbalizer)
        for split, rows in tokenized.items()
        if split != "train"
    }
