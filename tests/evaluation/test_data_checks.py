"""Rows in two splits are found, and labels that are probably errors, by models that have not learned them."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
from datasets import Dataset

from hf_sentiment_ft.data.splits import LabelledSplits
from hf_sentiment_ft.evaluation.data_checks import check_rows, near_duplicates, suspected_label_errors


def test_a_label_error_is_a_row_that_another_label_fits_as_well_as_its_own_rows():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.4, 0.6], [0.3, 0.7], [0.05, 0.95]])
    class_ids = np.array([0, 0, 0, 0, 1, 1])  # mean probability of the own label: 0.525 and 0.825
    found, likely = suspected_label_errors(probabilities, class_ids)
    assert (found.tolist(), likely.tolist()) == ([2], [1]), "row 3 is uncertain: label 1 is less probable than usual"


def test_the_most_probable_label_is_no_error():
    """Label 1 is unusually probable for row 0, label 0 unusually improbable, but still the most probable one."""
    found, _ = suspected_label_errors(
        np.array([[0.55, 0.45], [0.95, 0.05], [0.6, 0.4], [0.7, 0.3]]), np.array([0, 0, 1, 1])
    )
    assert not len(found)


def test_the_most_suspicious_come_first_and_labels_without_rows_are_never_likely():
    probabilities = np.array([[0.8, 0.2, 0], [0.2, 0.8, 0], [0.9, 0.1, 0], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    found, likely = suspected_label_errors(probabilities, np.array([0, 1, 1, 0, 0]))
    assert found.tolist() == [2, 3]
    assert likely.tolist() == [0, 1]


def test_near_duplicates_have_almost_the_same_words():
    train = [
        "nothing like it",
        "The plot is thin, the cast is wonderful and the music stays with you.",
        "这部电影很好看",
    ]
    texts = ["the plot is thin , the cast is wonderful , and the music stays with you", "好看很电影这部！", "it", "?"]
    found = near_duplicates(texts, train)
    assert {row: other for row, (other, _) in found.items()} == {0: 1, 1: 2}
    assert all(0.9 <= cosine <= 1 for _, cosine in found.values())
    assert near_duplicates(["?"], ["!"]) == {}


def labelled(stream: Any = None) -> LabelledSplits:
    """Rows whose words say the label, but for row 3 of train and row 1 of test; one test text is also in train."""
    texts = [f"number {number} is {'good' if number % 2 else 'bad'}" for number in range(40)]
    labels = [number % 2 for number in range(40)]
    labels[3] = 0
    test = {"text": [texts[7], "bad, bad", "Number 8: is BAD"], "label": [1, 1, 0]}
    splits = {"train": Dataset.from_dict({"text": texts, "label": labels}), "test": Dataset.from_dict(test)}
    return LabelledSplits(splits, ["bad", "good"], stream=stream)


def test_rows_of_all_splits_are_checked():
    predictions = SimpleNamespace(
        probabilities=np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]]), class_ids=np.array([1, 1, 0])
    )
    found = check_rows(labelled(), {"test": predictions})  # type: ignore[dict-item]
    assert json.loads(json.dumps(found)) == found
    duplicates, errors = found["near_duplicates"]["test"], found["label_errors"]
    assert (duplicates["equal"], duplicates["similar"]) == ([0], [2])
    assert [(pair["row"], pair["train_row"]) for pair in duplicates["pairs"]] == [(0, 7), (2, 8)]
    assert [(row["row"], row["label"], row["likely"]) for row in errors["train"]["rows"]] == [(3, "bad", "good")]
    assert [(row["row"], row["label"], row["likely"]) for row in errors["test"]["rows"]] == [(1, "good", "bad")]
    assert (errors["test"]["checked"], errors["test"]["found"], found["left_out"]) == (3, 1, [])
    streamed = check_rows(labelled(stream=object()), {"test": predictions})  # type: ignore[dict-item]
    assert streamed["near_duplicates"] == {}
    assert set(streamed["label_errors"]) == {"test"}
    assert "streamed and not kept" in streamed["left_out"][0]
