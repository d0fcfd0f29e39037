"""Thresholds for doubt: from which probability on are few enough of the answers wrong?

Chosen on the validation split by fixed-sequence testing (Learn then Test, Angelopoulos et al. 2021,
https://arxiv.org/abs/2110.01052): from the highest threshold down, an exact binomial test of each asks whether more of
the decided texts may be wrong than the target says, and the last threshold before the first that fails is kept. The
number of tests needs no correction, since nothing is tested after a failure. Geifman and El-Yaniv 2017
(https://arxiv.org/abs/1705.08500) search for the threshold by bisection instead, and correct for each step.

The thresholds to try are fixed. Those at which too few texts are decided for one error to pass are skipped; that
depends on the texts, not on whether the answers are right. The guarantee holds if texts with higher probabilities are
not wrong more often, and if new texts are like those of the validation split.
"""

from typing import Any

import numpy as np

TARGET_ERRORS = (0.01, 0.02, 0.05, 0.1, 0.2)
CONFIDENCE = 0.9  # that the share of errors is at most the target, for each target by itself
TRIED = np.round(1 - np.geomspace(0.001, 1, 50), 4)  # 0.999 to 0


def choose_thresholds(probabilities: "np.ndarray[Any, Any]", class_ids: "np.ndarray[Any, Any]") -> dict[str, float]:
    """Return the smallest probability of a decided answer for each target error that can be reached.

    Args:
        probabilities: Probabilities of the labels, (rows, num_labels).
        class_ids: True class ids, (rows,).

    Returns:
        Thresholds by target error, such as `{"0.05": 0.8321}`; 0 if all texts may be decided.
    """
    from scipy.stats import binom

    wrong = probabilities.argmax(axis=1) != class_ids
    decided = probabilities.max(axis=1) >= TRIED[:, None]  # (thresholds, rows)
    rows, errors = decided.sum(axis=1), (decided & wrong).sum(axis=1)
    thresholds = {}
    for target in TARGET_ERRORS:
        tested = binom.cdf(1, rows, target) <= 1 - CONFIDENCE
        passed = binom.cdf(errors, rows, target) <= 1 - CONFIDENCE
        kept = TRIED[tested][np.logical_and.accumulate(passed[tested])]
        if kept.size:
            thresholds[str(target)] = float(kept[-1])
    return thresholds


def decided_rows(
    probabilities: "np.ndarray[Any, Any]", class_ids: "np.ndarray[Any, Any]", thresholds: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Measure what thresholds do to the rows of a split.

    Args:
        probabilities: Probabilities of the labels, (rows, num_labels).
        class_ids: True class ids, (rows,).
        thresholds: Return value of `choose_thresholds`.

    Returns:
        By target error: the `threshold`, the share of `decided` rows, and the `error`, which is the share of these that
        are wrong, 0 if none is decided.
    """
    wrong, best = probabilities.argmax(axis=1) != class_ids, probabilities.max(axis=1)
    return {
        target: {
            "threshold": threshold,
            "decided": float((best >= threshold).mean()),
            "error": float(wrong[best >= threshold].mean()) if (best >= threshold).any() else 0.0,
        }
        for target, threshold in thresholds.items()
    }
