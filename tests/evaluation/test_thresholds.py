"""Thresholds keep their promise, and say where there is none to keep."""

import numpy as np
import pytest

from hf_sentiment_ft.evaluation.thresholds import TRIED, choose_thresholds, decided_rows


def draw(num_rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of two labels that are as they should be, and labels drawn accordingly."""
    probability = 1 / (1 + np.exp(-generator.normal(0, 2.6, num_rows)))
    rows = np.stack([1 - probability, probability], axis=1)
    return rows, (generator.random(num_rows) < probability).astype(int)


def test_the_error_is_kept_in_nine_of_ten_cases():
    """In each case, other validation rows; the share of errors behind a threshold is counted on a million others."""
    generator = np.random.default_rng(0)
    rows, class_ids = draw(1_000_000, generator)
    found: dict[str, list[bool]] = {"0.05": [], "0.1": [], "0.2": []}
    best, wrong = rows.max(axis=1), rows.argmax(axis=1) != class_ids
    errors = {float(threshold): wrong[best >= threshold].mean() for threshold in TRIED}
    for _ in range(400):
        for target, threshold in choose_thresholds(*draw(400, generator)).items():
            found.setdefault(target, []).append(errors[threshold] > float(target))
    for target in ("0.05", "0.1", "0.2"):
        assert len(found[target]) > 150, "this often, there is a threshold"
    for target, broken in found.items():
        assert sum(broken) / 400 <= 0.1, target


def test_worked_example():
    """Of 100 rows, the upper 60 are right and a fifth of the lower ones wrong; so 8 % of all are wrong."""
    rows = np.array([[0.95, 0.05]] * 60 + [[0.7, 0.3]] * 40)
    class_ids = np.array([0] * 60 + ([0] * 4 + [1]) * 8)
    found = choose_thresholds(rows, class_ids)
    assert found == {"0.1": min(TRIED[TRIED > 0.7]), "0.2": 0.0}, "60 rows do not suffice for less than 10 %"


def test_no_wrong_answer_decides_all_rows_and_few_rows_none():
    def all_right(num_rows: int) -> dict[str, float]:
        return choose_thresholds(np.array([[1.0, 0.0]] * num_rows), np.zeros(num_rows, int))

    assert all_right(400) == dict.fromkeys(("0.01", "0.02", "0.05", "0.1", "0.2"), 0.0)
    assert all_right(380) == dict.fromkeys(("0.02", "0.05", "0.1", "0.2"), 0.0), "388 would be needed for 1 %"
    assert all_right(10) == {}
    always_wrong = choose_thresholds(np.array([[1.0, 0.0]] * 400), np.ones(400, int))
    assert always_wrong == {}


def test_nothing_is_tested_after_a_failure():
    """The most probable answers are the worst here, so that even a good threshold further down is not reached."""
    rows = np.array([[0.99, 0.01]] * 100 + [[0.6, 0.4]] * 5000)
    class_ids = np.array([1] * 50 + [0] * 5050)
    assert "0.05" not in choose_thresholds(rows, class_ids)


def test_what_thresholds_do_to_rows():
    rows, class_ids = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.5, 0.5]]), np.array([0, 1, 1, 1])
    found = decided_rows(rows, class_ids, {"0.1": 0.95, "0.2": 0.7, "0.5": 0.0})
    assert found == {
        "0.1": {"threshold": 0.95, "decided": 0.0, "error": 0.0},
        "0.2": {"threshold": 0.7, "decided": 0.75, "error": pytest.approx(1 / 3)},
        "0.5": {"threshold": 0.0, "decided": 1.0, "error": 0.5},
    }
