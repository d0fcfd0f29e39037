"""Several models on the same rows: their figures side by side, and whether two of them differ."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from scipy.stats import binomtest

if TYPE_CHECKING:
    import numpy as np

FIGURES = {
    "accuracy": "accuracy",
    "generation_accuracy": "as generated",
    "f1_macro": "macro F1",
    "log_loss": "log loss",
    "expected_calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Evaluation:
    """What one model came to.

    Attributes:
        model: Its name, as the user gave it.
        split: The split that was evaluated.
        results: Figures without a prefix.
        correct: Whether the label with the best score was right, (rows,), in the data set's order.
    """

    model: str
    split: str
    results: dict[str, Any]
    correct: "np.ndarray[Any, Any]"


def mcnemar(first: "np.ndarray[Any, Any]", second: "np.ndarray[Any, Any]") -> dict[str, Any]:
    """McNemar's exact test of two models on the same rows (McNemar 1947, https://doi.org/10.1007/BF02295996).

    Rows that both get right, or both wrong, say nothing about which is better. If neither is, each of the other rows
    is as likely to be one's as the other's: a binomial test.

    Args:
        first: Whether the first model was right, (rows,).
        second: Whether the second one was.

    Returns:
        `only_first_right` and `only_second_right` in rows, and the two-sided `p_value`, 1 if no row tells them apart.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return {"only_first_right": only_first, "only_second_right": only_second, "p_value": p_value}


def compare(evaluations: list[Evaluation]) -> dict[str, Any]:
    """Everything that `comparison.json` keeps: the figures of each model, and a test of each pair."""
    return {
        "split": evaluations[0].split,
        "rows": len(evaluations[0].correct),
        "models": [{"model": one.model, **one.results} for one in evaluations],
        "pairs": [
            {"first": first.model, "second": second.model, **mcnemar(first.correct, second.correct)}
            for first, second in combinations(evaluations, 2)
        ],
    }


def comparison_table(comparison: dict[str, Any]) -> str:
    """What `compare` found, in Markdown, for people."""
    lines = [
        f"{comparison['split']} split, {comparison['rows']} rows",
        "",
        f"| model | {' | '.join(FIGURES.values())} | 95 % interval of the accuracy |",
        "|" + "---|" * (len(FIGURES) + 2),
    ]
    for model in comparison["models"]:
        low, high = model["accuracy_interval"]
        figures = " | ".join(f"{model[name]:.4f}" for name in FIGURES)
        lines.append(f"| {model['model']} | {figures} | {low:.4f} to {high:.4f} |")
    if comparison["pairs"]:
        lines += [
            "",
            "| first | second | only first right | only second right | p (McNemar, exact) |",
            "|" + "---|" * 5,
        ]
    lines += [
        f"| {pair['first']} | {pair['second']} | {pair['only_first_right']} | {pair['only_second_right']} "
        f"| {pair['p_value']:.3g} |"
        for pair in comparison["pairs"]
    ]
    return "\n".join(lines)
