"""Multi-label classification: a text has a set of labels, and the model answers `yes` or `no` for each of them.

Arrays are (rows, num_labels): probabilities of `yes`, and the truth as booleans. A text gets the labels whose
probability is at least the label's threshold.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .tfidf import MAX_ROWS, MAX_WEIGHTS, almost_converged, counted_words, regression

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER = 2.0  # a threshold that no probability reaches
MOST_PAIRS = 10
LISTED_LABELS = 10  # in the terminal; of more, only the weakest are
WEAKEST = 3
LONGEST_NAME = 40  # characters of a label in the terminal
BASELINES = {"zero_shot": "zero-shot", "tfidf": "TF-IDF one-vs-rest", "majority": "always the same labels"}


def choose_thresholds(
    probabilities: "np.ndarray[Any, Any]", truth: "np.ndarray[Any, Any]", target_precision: float | None = None
) -> list[float]:
    """Choose the threshold of each label, (num_labels,), on the validation split.

    Thresholds lie in the middle between two observed probabilities. They are as good as they can be on these rows, and
    a label of few rows may do worse on others.

    Args:
        probabilities: Probabilities of `yes`, (rows, num_labels).
        truth: Which labels each row has, (rows, num_labels).
        target_precision: Smallest share of right answers among those with the label. None for the best F1.

    Returns:
        For each label, the threshold with the best F1 or, if several have it, the one nearest to 0.5. With a target
        precision, the lowest threshold that reaches it, or `NEVER` if none does. 0.5 for labels that no row has, or
        that are equally probable for all rows, since there is nothing to choose from.
    """
    columns = zip(probabilities.T, truth.T, strict=True)
    return [_choose_threshold(column, true, target_precision) for column, true in columns]


def _choose_threshold(
    probabilities: "np.ndarray[Any, Any]", true: "np.ndarray[Any, Any]", target_precision: float | None
) -> float:
    from sklearn.metrics import precision_recall_curve

    if not true.any() or probabilities.min() == probabilities.max():
        return 0.5
    precision, recall, observed = precision_recall_curve(true, probabilities)
    precision, recall = precision[:-1], recall[:-1]  # the last point has no threshold
    below = np.concatenate([[0.0], observed[:-1]])
    middle = (below + observed) / 2
    thresholds = np.where(middle > below, middle, observed)  # neighbors may be too close for a number between them
    if target_precision is not None:
        reached = np.flatnonzero(precision >= target_precision)
        return float(thresholds[reached[0]]) if reached.size else NEVER
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    best = thresholds[np.isclose(f1, f1.max(), rtol=1e-9)]
    return float(best[np.abs(best - 0.5).argmin()])


def measure_sets(
    probabilities: "np.ndarray[Any, Any]",
    truth: "np.ndarray[Any, Any]",
    labels: list[str],
    thresholds: "Sequence[float]",
) -> dict[str, Any]:
    """Compute all metrics of the labels of each row.

    Args:
        probabilities: Probabilities of `yes`, (rows, num_labels).
        truth: Which labels each row has, (rows, num_labels).
        labels: Label names, at least two.
        thresholds: Return value of `choose_thresholds`.

    Returns:
        Metrics that can be saved as JSON. `f1_micro` counts the labels of all rows together, `f1_macro` is the mean
        over the labels that occur in the truth (if none does, it is the micro F1), and `f1_samples` the mean over rows,
        in which an empty set that was predicted as such counts as 1. `exact_match` is the share of rows of which all
        labels are right, `exact_match_interval` its 95 % Wilson interval. `log_loss`, `brier_score` and
        `expected_calibration_error` are of all answers: whether a row has a label, and the probability of `yes`.
        `average_precision_macro` is the mean over the labels that occur in the truth, None if there are none.

        `per_label` has, by label, `precision`, `recall`, `f1`, the Wilson intervals of the first two, the rows that
        have it (`support`) and get it (`predicted`), and the `threshold`. What would be a division by zero is None: the
        precision of a label that was never predicted, and the recall and F1 of one that no row has. `cooccurrence`
        counts the rows with both of two labels, (num_labels, num_labels), in the `true` and the `predicted` sets, and
        `frequent_pairs` lists the most frequent of them. `labels_per_row` and `empty_sets` are of both kinds of sets.
    """
    from sklearn.metrics import average_precision_score, f1_score, log_loss, precision_recall_fscore_support

    from .metrics import accuracy_interval, calibration_error  # imports evaluate, which takes seconds

    predicted = probabilities >= np.asarray(thresholds)
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, zero_division=np.nan)
    present = np.flatnonzero(support)
    micro = float(f1_score(truth, predicted, average="micro", zero_division=1.0))
    exact = float((predicted == truth).all(axis=1).mean())
    answers, right = probabilities.ravel(), truth.ravel()
    ranked = [average_precision_score(truth[:, label], probabilities[:, label]) for label in present]

    def share(value: float, rows: int) -> tuple[float | None, list[float] | None]:
        return (float(value), accuracy_interval(value, rows)) if rows else (None, None)

    per_label = {}
    for number, label in enumerate(labels):
        rows, answered = int(support[number]), int(predicted[:, number].sum())
        own_precision, precision_interval = share(precision[number], answered)
        own_recall, recall_interval = share(recall[number], rows)
        per_label[label] = {
            "precision": own_precision,
            "precision_interval": precision_interval,
            "recall": own_recall,
            "recall_interval": recall_interval,
            "f1": float(f1[number]) if rows else None,
            "support": rows,
            "predicted": answered,
            "threshold": float(thresholds[number]),
        }
    sets = {"true": truth.astype(float), "predicted": predicted.astype(float)}  # NumPy is slow at products of integers
    together = {kind: (members.T @ members).astype(int) for kind, members in sets.items()}
    return {
        "f1_micro": micro,
        "f1_macro": float(np.mean(f1[present])) if present.size else micro,
        "f1_samples": float(f1_score(truth, predicted, average="samples", zero_division=1.0)),
        "exact_match": exact,
        "exact_match_interval": accuracy_interval(exact, len(truth)),
        "log_loss": float(log_loss(right, answers, labels=[False, True])),
        "brier_score": float(np.mean((answers - right) ** 2)),
        "expected_calibration_error": calibration_error(answers, right),
        "average_precision_macro": float(np.mean(ranked)) if ranked else None,
        "per_label": per_label,
        "cooccurrence": {kind: counts.tolist() for kind, counts in together.items()},
        "frequent_pairs": _frequent_pairs(together, labels),
        "labels_per_row": {kind: float(members.sum(axis=1).mean()) for kind, members in sets.items()},
        "empty_sets": {kind: int((~members.any(axis=1)).sum()) for kind, members in sets.items()},
    }


def _frequent_pairs(together: "dict[str, np.ndarray[Any, Any]]", labels: list[str]) -> list[dict[str, Any]]:
    """Return the pairs of labels that most rows have, with the counts in the true and in the predicted sets."""
    first, second = np.triu_indices(len(labels), k=1)
    true, predicted = (together[kind][first, second] for kind in ("true", "predicted"))
    return [
        {"labels": [labels[first[pair]], labels[second[pair]]]}
        | {"true": int(true[pair]), "predicted": int(predicted[pair])}
        for pair in np.lexsort((-predicted, -true))[:MOST_PAIRS]
        if true[pair] or predicted[pair]
    ]


def majority_set_metrics(
    train_truth: "np.ndarray[Any, Any]", truth: "np.ndarray[Any, Any]", labels: list[str]
) -> dict[str, Any]:
    """Return the metrics of always the same labels, with their shares in train as probabilities.

    They are the labels that more than half of the train rows have, or the most frequent one alone: whichever has the
    better micro F1 on train. It is never the empty set, although that may have more exact matches.

    Args:
        train_truth: Which labels each train row has, (train_rows, num_labels).
        truth: The same for the rows to measure on, (rows, num_labels).
        labels: Label names.
    """
    from sklearn.metrics import f1_score

    shares = train_truth.mean(axis=0)
    sets = shares > 0.5, np.arange(len(labels)) == shares.argmax()

    def on_train(chosen: "np.ndarray[Any, Any]") -> float:
        everywhere = np.broadcast_to(chosen, train_truth.shape)
        return float(f1_score(train_truth, everywhere, average="micro", zero_division=0.0))

    chosen = max(sets, key=on_train)
    return measure_sets(np.broadcast_to(shares, truth.shape), truth, labels, np.where(chosen, 0.0, NEVER).tolist())


def tfidf_one_vs_rest(
    train_texts: list[str],
    train_truth: "np.ndarray[Any, Any]",
    validation_texts: list[str],
    validation_truth: "np.ndarray[Any, Any]",
    texts: list[str],
    truth: "np.ndarray[Any, Any]",
    labels: list[str],
) -> dict[str, Any] | None:
    """Return the metrics of TF-IDF with a logistic regression for each label, whose thresholds have the best F1.

    Args:
        train_texts: Texts to train on; `MAX_ROWS` of them, drawn at random, if there are more.
        train_truth: Which labels each of them has, (train_rows, num_labels).
        validation_texts: Texts to choose the thresholds on.
        validation_truth: The same for these, (validation_rows, num_labels).
        texts: Texts to measure on.
        truth: The same for these, (rows, num_labels).
        labels: Label names.

    Returns:
        The metrics; None if no train text contains a word.
    """
    from sklearn.multiclass import OneVsRestClassifier

    rows = np.sort(np.random.default_rng(0).permutation(len(train_texts))[:MAX_ROWS])
    sampled = [train_texts[row] for row in rows]
    features = counted_words(sampled, (1, 2), MAX_WEIGHTS // len(labels))
    if features is None:
        return None
    with almost_converged(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Label .* is present in all training examples", UserWarning)
        model = OneVsRestClassifier(regression()).fit(features.transform(sampled), train_truth[rows].astype(int))
    on_validation, measured = (model.predict_proba(features.transform(some)) for some in (validation_texts, texts))
    return measure_sets(measured, truth, labels, choose_thresholds(on_validation, validation_truth))


def labels_summary(results: dict[str, Any]) -> list[str]:
    """Summarize the results of a multi-label run in lines of up to 80 columns.

    Args:
        results: Metrics of `measure_sets` with prefixes, as in `all_results.json`: `test_` or, without a test split,
            `eval_`, and `zero_shot_test_`, `tfidf_test_` and `majority_test_` for the baselines.
    """
    split, prefix = ("test", "test_") if "test_f1_micro" in results else ("validation", "eval_")
    low, high = results[f"{prefix}exact_match_interval"]
    lines = [
        f"{split} micro F1 {results[f'{prefix}f1_micro']:.3f}, macro F1 {results[f'{prefix}f1_macro']:.3f}",
        f"all labels right in {results[f'{prefix}exact_match']:.1%} of texts (95 % interval {low:.1%} to {high:.1%})",
    ]
    for key, name in BASELINES.items():
        if f"{key}_{prefix}f1_micro" in results:
            micro, macro, exact = (
                results[f"{key}_{prefix}{figure}"] for figure in ("f1_micro", "f1_macro", "exact_match")
            )
            lines.append(f"  {name}: micro F1 {micro:.3f}, macro F1 {macro:.3f}, all right {exact:.1%}")
    if prefix == "eval_":
        lines.append("no test split with labels; the thresholds were chosen on these rows")
    per_label = results[f"{prefix}per_label"]
    listed = {label: one for label, one in per_label.items() if one["f1"] is not None}
    if len(per_label) > LISTED_LABELS:
        listed = dict(sorted(listed.items(), key=lambda item: item[1]["f1"])[:WEAKEST])
        lines.append(f"weakest of {len(per_label)} labels:")
    for label, one in listed.items():
        name = label if len(label) <= LONGEST_NAME else label[: LONGEST_NAME - 1] + "…"
        lines.append(f"  {name}: F1 {one['f1']:.3f} (rows: {one['support']:,})")
    return lines
