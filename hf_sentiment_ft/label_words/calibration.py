"""Scores → probabilities, and which of them are high enough to trust: measured after training, kept in the config."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """What is done to a model's scores before they become probabilities.

    Attributes:
        log_prior: Value that `--calibration` subtracts from the score of each label, (num_labels,); None without it.
        temperature: Divisor of the scores; 1 leaves them unchanged. It never changes which label is best.
        thresholds: Smallest probability of a decided answer, by target error (`"0.05"`); targets that could not be
            reached are missing. None if there are no thresholds.
        label_thresholds: For a model of several questions, see `Questions.thresholds`.
    """

    log_prior: "Sequence[float] | np.ndarray[Any, Any] | None" = None
    temperature: float = 1.0
    thresholds: dict[str, float] | None = None
    label_thresholds: list[float] | None = None

    @classmethod
    def saved_in(cls, config: "PretrainedConfig") -> "Calibration":
        """Return the calibration stored in a model's config; models of earlier versions lack parts of it."""
        return cls(
            getattr(config, "label_log_prior", None),
            getattr(config, "label_temperature", 1.0),
            getattr(config, "label_thresholds", None),
            (getattr(config, "label_questions", None) or {}).get("thresholds"),
        )

    def store(self, config: "PretrainedConfig") -> None:
        """Store the calibration in a model's config."""
        config.label_log_prior = None if self.log_prior is None else [float(value) for value in self.log_prior]
        config.label_temperature = self.temperature
        config.label_thresholds = self.thresholds

    def without_prior(self, scores: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Return the scores minus the log prior, in float64, (rows, num_labels)."""
        import numpy as np

        wide = scores.astype(np.float64)
        return wide if self.log_prior is None else wide - np.asarray(self.log_prior)

    def threshold(self, target_error: float) -> float:
        """Return the smallest probability at which at most this share of the decided texts should be wrong.

        Args:
            target_error: Value of `--target_error`. If there is no threshold for it, the next stricter one is used.

        Raises:
            UsageError: If there is no threshold that is strict enough.
        """
        if self.thresholds is None:
            raise UsageError(
                "--target_error is given, but the model has no thresholds, which training chooses on the validation "
                "split. Use --min_probability, or train the model with this version."
            )
        known = {float(target): threshold for target, threshold in self.thresholds.items()}
        strict = [target for target in known if target <= target_error]
        if not strict:
            reached = f"the model has thresholds for {', '.join(self.thresholds)}" if known else "the model has none"
            raise UsageError(
                f"--target_error is {target_error:g}, which the validation split was too small or the model not "
                f"accurate enough to show; {reached}. Raise --target_error, train with more validation rows, or use "
                "--min_probability."
            )
        if max(strict) < target_error:
            logger.warning(
                "There is no threshold for --target_error %g; that for %g is used.", target_error, max(strict)
            )
        return known[max(strict)]


UNCALIBRATED = Calibration()
