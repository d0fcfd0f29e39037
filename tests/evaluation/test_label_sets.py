"""Texts with several labels: thresholds, metrics that can be checked by hand, and baselines that learn from words."""

import json
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft.evaluation.label_sets import (
    NEVER,
    choose_thresholds,
    labels_summary,
    majority_set_metrics,
    measure_sets,
    tfidf_one_vs_rest,
)

LABELS = ["toxic", "insult", "threat"]
TRUTH = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=bool)  # nothing is a threat
PROBABILITIES = np.array([[0.9, 0.8, 0.1], [0.4, 0.3, 0.2], [0.1, 0.2, 0.1], [0.6, 0.1, 0.1]])


def made_up(rows: int, num_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that know something about sets, of which some are empty."""
    random = np.random.default_rng(seed)
    truth = random.random((rows, num_labels)) < random.uniform(0.01, 0.4, num_labels)
    probabilities = 1 / (1 + np.exp(-(2 * truth - 1.5 + random.normal(0, 1, truth.shape))))
    return probabilities, truth


def f1_at(threshold: float, probabilities: np.ndarray, true: np.ndarray) -> float:
    predicted = probabilities >= threshold
    return 2 * (predicted & true).sum() / max(1, predicted.sum() + true.sum())


def test_thresholds_have_the_best_f1_of_all():
    probabilities, truth = made_up(60, 100)
    probabilities = probabilities.round(2)  # many are equal
    for chosen, column, true in zip(choose_thresholds(probabilities, truth), probabilities.T, truth.T, strict=True):
        if not true.any():
            assert chosen == 0.5
            continue
        best = max(f1_at(tried, column, true) for tried in np.linspace(0, 1.005, 202))
        assert f1_at(chosen, column, true) == pytest.approx(best)
        assert chosen not in column, "it lies between two probabilities"


def test_thresholds_are_in_the_middle_and_ties_go_towards_a_half():
    column = np.array([[0.1], [0.2], [0.7], [0.9]])
    assert choose_thresholds(column, np.array([[0], [0], [1], [1]], bool)) == pytest.approx([0.45])
    tied = np.array([[0.8], [0.5], [0.4], [0.2], [0.1]])  # F1 is 2/3 with the first row, and with the first four
    true = np.array([[1], [0], [0], [1], [0]], bool)
    assert choose_thresholds(tied, true) == pytest.approx([0.65])
    assert choose_thresholds(tied + 0.19, true) == pytest.approx([0.34])


@pytest.mark.parametrize("low", [0.3, np.nextafter(0.3, 1)])  # their middle is rounded down or up
def test_neighboring_probabilities_are_told_apart(low: float):
    column = np.array([[low], [np.nextafter(low, 1)]])
    (threshold,) = choose_thresholds(column, np.array([[0], [1]], bool))
    assert (column[:, 0] >= threshold).tolist() == [False, True]


def test_the_lowest_threshold_that_reaches_a_precision():
    column = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]])
    true = np.array([[1], [0], [1], [1], [0]], bool)
    assert choose_thresholds(column, true, 0.75) == pytest.approx([0.55]), "three of four"
    assert choose_thresholds(column, true, 0.6) == pytest.approx([0.25]), "three of five: all rows"
    assert choose_thresholds(column, true, 0.9) == pytest.approx([0.85]), "one of one"
    assert choose_thresholds(column, ~true, 0.9) == [NEVER]
    assert not (np.ones(1) >= NEVER).any()


@pytest.mark.parametrize("target_precision", [None, 0.9])
def test_labels_that_teach_nothing_keep_a_half(target_precision: float | None):
    same = np.full((3, 2), 0.2)
    truth = np.array([[0, 1], [0, 0], [0, 1]], bool)
    assert choose_thresholds(same, truth, target_precision) == [0.5, 0.5]
    assert choose_thresholds(np.array([[0.1, 0.1], [0.9, 0.9]]), np.zeros((2, 2), bool), target_precision) == [0.5, 0.5]


def test_metrics_of_a_few_rows_by_hand():
    """Of toxic and insult: 2 right, 1 too many (last row), 1 missing (second row)."""
    figures = measure_sets(PROBABILITIES, TRUTH, LABELS, [0.5, 0.5, 0.5])
    assert figures["f1_micro"] == pytest.approx(2 * 2 / (3 + 3))
    assert figures["f1_macro"] == pytest.approx((0.5 + 1) / 2), "nothing is a threat, so it has no F1"
    assert figures["f1_samples"] == pytest.approx((1 + 0 + 1 + 0) / 4), "an empty set that is right counts as 1"
    assert figures["exact_match"] == 0.5
    low, high = figures["exact_match_interval"]
    assert 0.1 < low < 0.5 < high < 0.9
    chosen = np.where(TRUTH, PROBABILITIES, 1 - PROBABILITIES)
    assert figures["log_loss"] == pytest.approx(-np.log(chosen).mean())
    assert figures["brier_score"] == pytest.approx(((1 - chosen) ** 2).mean())
    assert figures["average_precision_macro"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert figures["cooccurrence"] == {
        "true": [[2, 1, 0], [1, 1, 0], [0, 0, 0]],
        "predicted": [[2, 1, 0], [1, 1, 0], [0, 0, 0]],
    }
    assert figures["frequent_pairs"] == [{"labels": ["toxic", "insult"], "true": 1, "predicted": 1}]
    assert figures["labels_per_row"] == {"true": 0.75, "predicted": 0.75}
    assert figures["empty_sets"] == {"true": 2, "predicted": 2}


def test_labels_that_are_absent_or_never_predicted():
    figures = measure_sets(PROBABILITIES, TRUTH, LABELS, [0.5, NEVER, 0.15])
    toxic, insult, threat = (figures["per_label"][label] for label in LABELS)
    assert figures["f1_macro"] == (0.5 + 0) / 2, "what is wrong about an absent label counts in the micro F1 only"
    assert figures["f1_micro"] == pytest.approx(2 * 1 / (3 + 3))
    assert (toxic["precision"], toxic["recall"], toxic["support"], toxic["predicted"]) == (0.5, 0.5, 2, 2)
    assert toxic["precision_interval"] == toxic["recall_interval"]
    assert insult | {"threshold": 0} == {
        "precision": None,
        "precision_interval": None,
        "recall": 0.0,
        "recall_interval": pytest.approx([0, 0.79], abs=0.01),
        "f1": 0.0,
        "support": 1,
        "predicted": 0,
        "threshold": 0,
    }
    assert (threat["precision"], threat["recall"], threat["f1"]) == (0.0, None, None)


def test_nothing_is_divided_by_zero():
    nothing = np.zeros((3, 2), bool)
    right = measure_sets(np.full((3, 2), 0.1), nothing, ["a", "b"], [0.5, 0.5])
    assert right["f1_micro"] == right["f1_macro"] == right["f1_samples"] == right["exact_match"] == 1
    assert right["average_precision_macro"] is None
    assert right["empty_sets"] == {"true": 3, "predicted": 3}
    wrong = measure_sets(np.full((3, 2), 0.9), nothing, ["a", "b"], [0.5, 0.5])
    assert wrong["f1_micro"] == wrong["f1_macro"] == wrong["exact_match"] == 0
    sure = measure_sets(np.ones((1, 2)), np.ones((1, 2), bool), ["a", "b"], [0.5, 0.5])
    assert sure["f1_micro"] == 1
    assert sure["log_loss"] < 1e-6


def test_probabilities_that_are_right_have_no_calibration_error():
    random = np.random.default_rng(0)
    probabilities = random.random((20_000, 2))
    figures = measure_sets(probabilities, random.random((20_000, 2)) < probabilities, ["a", "b"], [0.5, 0.5])
    assert figures["expected_calibration_error"] < 0.01
    inverted = measure_sets(probabilities, random.random((20_000, 2)) >= probabilities, ["a", "b"], [0.5, 0.5])
    assert inverted["expected_calibration_error"] > 0.3


@pytest.mark.filterwarnings("error")
def test_a_hundred_labels_can_be_saved_and_read_back():
    probabilities, truth = made_up(50, 100)
    labels = [f"label {number}" for number in range(100)]
    figures = measure_sets(probabilities, truth, labels, choose_thresholds(probabilities, truth))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    pairs = [pair["true"] for pair in figures["frequent_pairs"]]
    assert len(pairs) == 10
    assert pairs == sorted(pairs, reverse=True)
    assert pairs[0] == np.triu(figures["cooccurrence"]["true"], 1).max()


def test_the_same_labels_for_every_row():
    train = np.array([[1, 1, 0]] * 6 + [[1, 0, 0]] * 3 + [[0, 0, 1]], bool)  # 90 %, 60 % and 10 %
    figures = majority_set_metrics(train, TRUTH, LABELS)
    assert [figures["per_label"][label]["predicted"] for label in LABELS] == [4, 4, 0]
    assert figures["exact_match"] == 0.25
    assert figures["log_loss"] > 0
    rare = np.array([[1, 0, 0]] * 2 + [[0, 1, 0]] + [[0, 0, 0]] * 7, bool)
    figures = majority_set_metrics(rare, TRUTH, LABELS)
    assert [figures["per_label"][label]["predicted"] for label in LABELS] == [4, 0, 0], "the most frequent one"


def rows(*texts_and_labels: tuple[str, str], repeated: int = 6) -> tuple[list[str], np.ndarray]:
    texts = [text for text, _ in texts_and_labels] * repeated
    return texts, np.array([[label in labels for label in "abc"] for _, labels in texts_and_labels] * repeated)


@pytest.mark.filterwarnings("error")
def test_words_are_learned_for_each_label():
    """Label c is in all train rows, so it teaches nothing, and must not break anything."""
    train = rows(("good film", "ac"), ("bad weather", "bc"), ("good or bad", "abc"), ("neither", "c"))
    test = rows(("good", "a"), ("bad", "b"), ("bad and good", "ab"), ("nothing", ""), repeated=1)
    figures = tfidf_one_vs_rest(*train, *train, *test, ["a", "b", "c"])
    assert figures is not None
    assert figures["per_label"]["a"]["f1"] == figures["per_label"]["b"]["f1"] == 1
    assert figures["per_label"]["c"]["threshold"] == 0.5
    never = rows(("good film", "a"), ("bad weather", "b"), ("good or bad", "ab"), ("neither", ""))
    figures = tfidf_one_vs_rest(*never, *never, *test, ["a", "b", "c"])
    assert figures is not None
    assert figures["exact_match"] == 1
    assert figures["per_label"]["c"]["predicted"] == 0
    assert tfidf_one_vs_rest(*rows(("!", "a"), ("?", "b")), *train, *test, ["a", "b", "c"]) is None


def test_large_splits_are_sampled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hf_sentiment_ft.evaluation.label_sets.MAX_ROWS", 2)
    train = rows(("good", "a"), ("bad", "b"), ("ugly", "c"), repeated=20)
    figures = tfidf_one_vs_rest(*train, *train, *train, ["a", "b", "c"])
    assert figures is not None
    assert figures["exact_match"] < 1, "at most two of three labels can be learned from two rows"


def prefixed(prefix: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in figures.items()}


def test_closing_lines_fit_the_terminal():
    figures = measure_sets(PROBABILITIES, TRUTH, ["toxic", "x" * 100, "threat"], [0.5, 0.5, 0.5])
    results = prefixed("test_", figures) | prefixed("zero_shot_test_", figures) | prefixed("majority_test_", figures)
    assert labels_summary(results) == [
        "test micro F1 0.667, macro F1 0.750",
        "all labels right in 50.0% of texts (95 % interval 15.0% to 85.0%)",
        "  zero-shot: micro F1 0.667, macro F1 0.750, all right 50.0%",
        "  always the same labels: micro F1 0.667, macro F1 0.750, all right 50.0%",
        "  toxic: F1 0.500 (rows: 2)",
        f"  {'x' * 39}…: F1 1.000 (rows: 1)",
    ]
    assert "validation micro F1" in labels_summary(prefixed("eval_", figures))[0]


def test_of_many_labels_the_weakest_are_named():
    probabilities, truth = made_up(200, 100)
    labels = [f"label {number}" for number in range(100)]
    figures = measure_sets(probabilities, truth, labels, [0.5] * 100)
    lines = labels_summary(prefixed("test_", figures))
    assert lines[2] == "weakest of 100 labels:"
    known = [one["f1"] for one in figures["per_label"].values() if one["f1"] is not None]
    assert [float(line.split("F1 ")[1][:5]) for line in lines[3:]] == pytest.approx(sorted(known)[:3], abs=6e-4)
    assert all(len(line) <= 80 for line in lines)
