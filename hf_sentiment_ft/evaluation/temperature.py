"""Temperature scaling: divide all scores by one number, so that probabilities are neither too high nor too low.

Guo et al. 2017 (https://arxiv.org/abs/1706.04599) fit this number on the validation split, by log loss. It changes
probabilities, but never which label has the highest.
"""

import logging
from typing import Any

import numpy as np

MIN_ROWS = 50  # with fewer, the number would say more about these rows than about the model
BOUNDS = (1 / 20, 20.0)

logger = logging.getLogger(__name__)


def fit_temperature(
    scores: "np.ndarray[Any, Any]", class_ids: "np.ndarray[Any, Any]", shares: "np.ndarray[Any, Any] | None" = None
) -> float:
    """Return the temperature with the lowest log loss.

    Where all answers are right, the log loss would be lowest at temperature 0, with all probabilities 0 or 1. So the
    true label of a row counts as (n + 1) / (n + 2), n being the number of rows with this label, and the other labels
    share the rest (Platt 1999, "Probabilistic outputs for support vector machines"). Soft labels count by their shares
    as far as this: the mean of what each label would count.

    Args:
        scores: Log-probabilities of the labels, (rows, num_labels); minus infinity for those that cannot be it.
        class_ids: True class ids, (rows,).
        shares: Share of each label in each row, (rows, num_labels), if the labels are soft.

    Returns:
        The temperature; 1 if there are fewer than `MIN_ROWS` rows.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    num_rows, num_labels = scores.shape
    if num_rows < MIN_ROWS:
        logger.info(
            "No temperature: the validation split has %d rows, and fewer than %d are too few to fit it.",
            num_rows,
            MIN_ROWS,
        )
        return 1.0
    true = np.eye(num_labels)[class_ids] if shares is None else shares  # (rows, num_labels)
    counts = true.sum(axis=0)
    of_labels = np.repeat((1 / (counts + 2) / (num_labels - 1))[:, None], num_labels, axis=1)  # each label's targets
    np.fill_diagonal(of_labels, (counts + 1) / (counts + 2))
    targets = true @ of_labels
    possible = np.isfinite(scores)
    targets *= possible / (targets * possible).sum(axis=1, keepdims=True)

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -float((targets * np.where(possible, log_probabilities, 0)).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x))
