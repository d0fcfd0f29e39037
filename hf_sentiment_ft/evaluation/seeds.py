"""Runs with several seeds: which one is kept, and how much their results differ."""

import json
import statistics
from pathlib import Path
from typing import Any


def compare_seeds(folders: dict[int, Path], metric: str, greater_is_better: bool) -> dict[str, Any]:
    """Choose the best run by its validation metric, never by test, and describe how much the runs differ.

    A single seed can be a point better or worse than the next (Dodge et al. 2020, https://arxiv.org/abs/2002.06305).

    Args:
        folders: Output folder of each seed.
        metric: Validation metric, such as `accuracy`; equal values are decided by log loss.
        greater_is_better: Whether the metric is better when greater.

    Returns:
        The `kept` seed, the `metric`, the `split` that results are reported on, the figures of all `runs`, and their
        `mean_accuracy` with the standard deviation `std_accuracy`.
    """
    results = {
        seed: json.loads((folder / "all_results.json").read_text(encoding="utf-8")) for seed, folder in folders.items()
    }
    metric, sign = metric.removeprefix("eval_"), 1 if greater_is_better else -1
    kept = max(results, key=lambda seed: (sign * results[seed][f"eval_{metric}"], -results[seed]["eval_log_loss"]))
    prefix = "test" if "test_accuracy" in results[kept] else "eval"
    runs = [
        {
            "seed": seed,
            "validation_accuracy": found["eval_accuracy"],
            "validation_log_loss": found["eval_log_loss"],
            "accuracy": found[f"{prefix}_accuracy"],
            "log_loss": found[f"{prefix}_log_loss"],
            "expected_calibration_error": found[f"{prefix}_expected_calibration_error"],
        }
        for seed, found in results.items()
    ]
    accuracies = [run["accuracy"] for run in runs]
    return {
        "kept": kept,
        "metric": metric,
        "split": {"test": "test", "eval": "validation"}[prefix],
        "runs": runs,
        "mean_accuracy": statistics.mean(accuracies),
        "std_accuracy": statistics.stdev(accuracies),
    }
