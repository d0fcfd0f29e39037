"""McNemar's test, and the table of several models."""

import numpy as np
import pytest

from hf_sentiment_ft.evaluation.metrics import mcnemar
from hf_sentiment_ft.evaluation.results import FIGURES, Evaluation, compare, comparison_table


def answers(*groups: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Expand groups of rows: whether the first model is right, whether the second one is, and how many rows."""
    first, second = zip(*((a, b) for a, b, count in groups for _ in range(count)), strict=True)
    return np.array(first, dtype=bool), np.array(second, dtype=bool)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 10, 2 * 0.5**10),
        (1, 9, 2 * (1 + 10) * 0.5**10),
        (9, 1, 2 * (1 + 10) * 0.5**10),
    ],
)
def test_only_rows_that_tell_the_models_apart_count(only_first: int, only_second: int, p_value: float):
    both = [(1, 1, 50), (0, 0, 30)]
    found = mcnemar(*answers((1, 0, only_first), (0, 1, only_second), *both))
    assert found == {
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p_value": pytest.approx(p_value),
    }


def test_every_pair_is_tested_and_every_model_shown():
    results = dict.fromkeys(FIGURES, 0.5) | {"accuracy_interval": [0.25, 0.75]}
    right = [np.array(rows, dtype=bool) for rows in ([1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1])]
    models = [Evaluation(name, "test", results, rows) for name, rows in zip("abc", right, strict=True)]
    comparison = compare(models)
    assert [(pair["first"], pair["second"]) for pair in comparison["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert comparison["pairs"][1]["only_second_right"] == 2
    assert comparison["rows"] == 4
    lines = comparison_table(comparison).splitlines()
    assert lines[0] == "test split, 4 rows"
    assert "| b | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.2500 to 0.7500 |" in lines
    assert "| a | c | 0 | 2 | 0.5 |" in lines
    assert len({line.count("|") for line in lines if line.startswith("| a | c") or "McNemar" in line}) == 1
    assert "McNemar" not in comparison_table(compare(models[:1])), "a single model has nothing to compare with"
