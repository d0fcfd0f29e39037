"""Soft labels: how far annotators disagree, and how well a model predicts the shares of their votes."""

from typing import Any

import numpy as np


def measure_disagreement(
    scores: "np.ndarray[Any, Any]", class_ids: "np.ndarray[Any, Any]", shares: "np.ndarray[Any, Any]"
) -> dict[str, Any]:
    """Compare predictions with soft labels.

    Args:
        scores: Log-probabilities of the labels, divided by the temperature, (rows, num_labels).
        class_ids: Ids of the labels with the largest share, (rows,).
        shares: Share of each label in each row, (rows, num_labels).

    Returns:
        `soft_log_loss`, the cross-entropy of the predictions against the shares; `label_entropy`, which a prediction of
        these very shares would have, and none can go below; and `disagreement`: the mean `majority_share`, and how many
        rows are unanimous and how many disputed, each with the accuracy on them, None if there are none.
    """
    from scipy.special import log_softmax
    from scipy.stats import entropy

    shares = shares.astype(np.float64)
    right, unanimous = scores.argmax(axis=1) == class_ids, (shares > 0).sum(axis=1) == 1
    log_probabilities = log_softmax(scores.astype(np.float64), axis=1)
    return {
        "soft_log_loss": float(-(shares * log_probabilities).sum(axis=1).mean()),
        "label_entropy": float(entropy(shares, axis=1).mean()),
        "disagreement": {
            "majority_share": float(shares.max(axis=1).mean()),
            **_accuracy("unanimous", right[unanimous]),
            **_accuracy("disputed", right[~unanimous]),
        },
    }


def _accuracy(rows: str, right: "np.ndarray[Any, Any]") -> dict[str, Any]:
    return {f"{rows}_rows": len(right), f"{rows}_accuracy": float(right.mean()) if len(right) else None}
