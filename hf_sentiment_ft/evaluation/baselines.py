"""The untouched model's answers, which those of the trained one are compared with."""

import copy
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .calibration import calibrate, label_log_prior
from .predictions import Predictions, predict

if TYPE_CHECKING:
    from datasets import Dataset

    from ..training.trainer import LabelWordTrainer

logger = logging.getLogger(__name__)


class ZeroShotBaseline(TrainerCallback):
    """The untouched model's predictions, made before training.

    FSDP2 and DeepSpeed shard a model only together with its optimizer, which is when training begins; going on from a
    checkpoint, it is no longer untouched then, and is not measured.

    Attributes:
        predictions: None until they are made.
        calibrated: The same, calibrated, if it was asked for.
    """

    def __init__(
        self, trainer: "LabelWordTrainer", dataset: "Dataset | None", prior_rows: "Dataset | None" = None
    ) -> None:
        """Predict now if that is possible; None for no data set, and so no prediction."""
        self.trainer, self.dataset, self.prior_rows = trainer, dataset, prior_rows
        self.predictions: Predictions | None = None
        self.calibrated: Predictions | None = None
        if dataset is not None and not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
            # Of a copy with the same weights: Accelerate marks what it has prepared for evaluation, and would then not
            # wrap it in DistributedDataParallel for training.
            model = trainer.model
            trainer.model = trainer.model_wrapped = copy.copy(model)
            self._predict(dataset)
            trainer.model = trainer.model_wrapped = model
            trainer.accelerator.free_memory()

    def _predict(self, dataset: "Dataset") -> None:
        self.predictions = predict(self.trainer, dataset)
        if self.prior_rows is not None:
            log_prior = label_log_prior(self.trainer, self.prior_rows)
            self.calibrated = calibrate(self.predictions, log_prior, self.trainer.verbalizer)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Predict now if it was not possible before."""
        if self.dataset is None or self.predictions:
            return
        if state.global_step:
            logger.warning("The untouched model is not measured: a sharded run that is resumed no longer has it.")
        else:
            self._predict(self.dataset)


def majority_accuracy(train: "Dataset", test: "Dataset") -> float:
    """Accuracy on test of always answering the most frequent label of train."""
    most_frequent = np.bincount(train["label"][:]).argmax()
    return float(np.mean(np.asarray(test["label"][:]) == most_frequent))
