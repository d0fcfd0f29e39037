"""TF-IDF with logistic regression learns from words, in any language, and is left out where there are none."""

import numpy as np
import pytest
from datasets import Dataset

from hf_sentiment_ft.evaluation import tfidf


def rows(texts: list[str], labels: list[int]) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": labels})


TRAIN = rows(
    ["a good film", "so good", "good, really", "bad film", "a bad one", "very bad"] * 2, [1, 1, 1, 0, 0, 0] * 2
)


def test_accuracy_is_of_a_model_that_has_learned_the_train_rows():
    assert tfidf.tfidf_accuracy(TRAIN, rows(["good!", "BAD", "bad"], [1, 0, 1])) == pytest.approx(2 / 3)
    chinese = rows(["这部电影很好看", "我觉得很好", "太差了", "真的很差"], [1, 1, 0, 0])
    assert tfidf.tfidf_accuracy(chinese, rows(["好", "差"], [1, 0])) == 1
    assert tfidf.tfidf_accuracy(rows(["!!", "?"], [0, 1]), TRAIN) is None


@pytest.mark.filterwarnings("error")
def test_rows_are_predicted_by_models_that_have_not_seen_them():
    rare = [*TRAIN["text"], "odd one"]
    probabilities, columns, numbers = tfidf.cross_validated(rows(rare, [2 * label for label in TRAIN["label"]] + [1]))
    assert probabilities.shape == (12, 2), "a label of one row cannot be learned from other rows"
    np.testing.assert_array_equal(numbers, np.arange(12))
    np.testing.assert_array_equal(columns, TRAIN["label"])
    np.testing.assert_array_equal(probabilities.argmax(axis=1), columns)
    assert [len(part) for part in tfidf.cross_validated(rows(["x", "y"], [0, 1]))] == [0, 0, 0]


def test_large_splits_are_sampled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tfidf, "MAX_ROWS", 4)
    texts, labels, numbers = tfidf.sampled(TRAIN)
    assert sorted(labels) == [0, 0, 1, 1]
    assert texts == [TRAIN["text"][int(number)] for number in numbers]
