"""Baselines for the trained model: its zero-shot predictions before fine-tuning, and the majority class."""

import copy
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..label_words.calibration import Calibration
from ..label_words.questions import YES, Questions
from ..runtime.device import keep_random_state
from .calibration import calibrate, label_log_prior
from .label_sets import majority_set_metrics, tfidf_one_vs_rest
from .predictions import Predictions, predict
from .tfidf import tfidf_accuracy

if TYPE_CHECKING:
    from datasets import Dataset

    from ..data.splits import LabelledSplits
    from ..training.trainer import LabelWordTrainer

logger = logging.getLogger(__name__)


class ZeroShotBaseline(TrainerCallback):
    """Zero-shot predictions of the model before fine-tuning.

    FSDP2 and DeepSpeed shard a model only together with its optimizer, when training begins. When a sharded run resumes
    from a checkpoint, the model is already partly trained at that point, so no baseline is measured.

    Attributes:
        predictions: Predictions before fine-tuning; None until they are made.
        calibrated: The same after calibration, if requested; otherwise None.
    """

    def __init__(
        self, trainer: "LabelWordTrainer", dataset: "Dataset | None", prior_rows: "Dataset | None" = None
    ) -> None:
        """Predict now or, if the engine shards the model, when training begins.

        Args:
            trainer: Trainer of the model.
            dataset: Tokenized rows to predict; None for no baseline.
            prior_rows: Return value of `prior_rows`; None for no calibration.
        """
        self.trainer, self.dataset, self.prior_rows = trainer, dataset, prior_rows
        self.predictions: Predictions | None = None
        self.calibrated: Predictions | None = None
        if dataset is None:
            return
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            trainer.add_callback(self)
        else:
            # Predict with a shallow copy that shares the weights: Accelerate marks a model that it has prepared for
            # evaluation, and would then not wrap it in DistributedDataParallel for training.
            model = trainer.model
            trainer.model = trainer.model_wrapped = copy.copy(model)
            self._predict(dataset)
            trainer.model = trainer.model_wrapped = model
            trainer.accelerator.free_memory()

    def _predict(self, dataset: "Dataset") -> None:
        with keep_random_state(self.trainer.args.device):  # the baseline changes nothing about training
            self.predictions = predict(self.trainer, dataset)
            if self.prior_rows is not None:
                log_prior = label_log_prior(self.trainer, self.prior_rows)
                self.calibrated = calibrate(self.predictions, Calibration(log_prior), self.trainer.verbalizer)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Predict now, since the model is sharded but not trained yet."""
        if self.dataset is None or self.predictions:
            return
        if state.global_step:
            logger.warning("No zero-shot baseline: a resumed sharded run no longer has the original model.")
        else:
            self._predict(self.dataset)


def majority_accuracy(train: "Dataset", test: "Dataset") -> float:
    """Return the test accuracy of always predicting the most frequent label of the train split."""
    most_frequent = np.bincount(train["label"][:]).argmax()
    return float(np.mean(np.asarray(test["label"][:]) == most_frequent))


def baselines_of_answers(data: "LabelledSplits", questions: Questions, trained: bool) -> dict[str, Any]:
    """Return the test metrics of always the most frequent labels and, if a model was trained, of TF-IDF.

    Args:
        data: Rows, with train and test among them.
        questions: What is asked.
        trained: Whether a model was trained on the train rows.

    Returns:
        Metrics that begin with `majority_test_` and `tfidf_test_`.
    """
    train, test = data.splits["train"], data.splits["test"]
    if not questions.multi_label:
        return _baselines_of_columns(data, questions, trained)
    truth = {
        split: np.asarray(rows["answers"][:]) == YES
        for split, rows in data.splits.items()
        if "answers" in rows.column_names
    }
    found = {"majority": majority_set_metrics(truth["train"], truth["test"], questions.names)}
    if trained and "validation" in truth:
        counted = tfidf_one_vs_rest(
            train["text"][:],
            truth["train"],
            data.splits["validation"]["text"][:],
            truth["validation"],
            test["text"][:],
            truth["test"],
            questions.names,
        )
        found |= {} if counted is None else {"tfidf": counted}
    kept = ("f1_micro", "f1_macro", "f1_samples", "exact_match")
    return {f"{name}_test_{key}": figures[key] for name, figures in found.items() for key in kept}


def _baselines_of_columns(data: "LabelledSplits", questions: Questions, trained: bool) -> dict[str, Any]:
    found: dict[str, dict[str, float]] = {"majority_test_columns": {}, "tfidf_test_columns": {}}
    for question, name in enumerate(questions.names):
        train, test = (_column(data.splits[split], question) for split in ("train", "test"))
        found["majority_test_columns"][name] = majority_accuracy(train, test)
        if trained and (counted := tfidf_accuracy(train, test)) is not None:
            found["tfidf_test_columns"][name] = counted
    return {name: figures for name, figures in found.items() if figures}


def _column(rows: "Dataset", question: int) -> "Dataset":
    """Return the rows with the answers to one question as their label."""
    answers = [answer[question] for answer in rows["answers"]]
    return rows.select_columns(["text"]).add_column("label", answers)
