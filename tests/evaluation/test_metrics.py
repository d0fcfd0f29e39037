"""The metrics, compared with values computed by hand, by scikit-learn, and in the literature."""

import numpy as np
import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, read_order

ORDER = ["low", "medium", "high"]
LABELS = ["neg", "neu", "pos"]
REFERENCES = np.array([0, 0, 0, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 2, 1, 2, 2, 0, 0])


def scores_for(predicted: np.ndarray, num_labels: int, margin: float = 2.0) -> np.ndarray:
    """Return log-probabilities of which the given class has the highest."""
    return np.where(np.eye(num_labels, dtype=bool)[predicted], -1.0, -1.0 - margin).astype(np.float32)


def figures(predicted=PREDICTED, references=REFERENCES, generated=None, labels=LABELS) -> dict:
    from hf_sentiment_ft.evaluation.metrics import measure

    generated = predicted if generated is None else generated
    return measure(scores_for(predicted, len(labels)), np.asarray(generated), references, labels)


def test_worked_example():
    """Counted by hand: 5 of 8 are right; precision and recall are 2/4 and 2/3 for neg, 2/3 and 2/4 for pos."""
    found = figures()
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["confusion_matrix"] == [[2, 0, 1], [0, 1, 0], [2, 0, 2]], "rows are true labels"
    assert found["per_class"]["neg"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7, "support": 3})
    assert found["per_class"]["neu"] == pytest.approx({"precision": 1, "recall": 1, "f1": 1, "support": 1})
    assert found["per_class"]["pos"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "support": 4})
    assert found["f1_macro"] == pytest.approx((4 / 7 + 1 + 4 / 7) / 3)


def test_class_that_is_never_predicted_counts_as_zero():
    found = figures(predicted=np.array([0, 0, 0, 0, 2, 2, 2, 2]))
    assert found["per_class"]["neu"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert found["f1_macro"] == pytest.approx((6 / 7 + 0 + 1) / 3)


def test_class_that_a_split_lacks_is_still_listed():
    found = figures(predicted=np.array([0, 2, 2]), references=np.array([0, 0, 2]))
    assert list(found["per_class"]) == LABELS
    assert found["per_class"]["neu"]["support"] == 0
    assert np.shape(found["confusion_matrix"]) == (3, 3)
    assert np.isfinite(found["log_loss"])


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (["1", "2", "3"], (1 + 1) / 4),
        (["1 star", "2 stars", "5 stars"], (1 + 3) / 4),
        (["-1.5", "0", "10"], (1.5 + 10) / 4),
        (["bad", "2", "3"], None),
    ],
)
def test_mean_absolute_error_where_labels_are_numbers(labels: list[str], error: float | None):
    true, said = np.array([0, 1, 1, 2]), np.array([1, 1, 2, 2])
    found = figures(said, true, labels=labels)
    assert found.get("mean_absolute_error") == error
    assert ("expected_value_error" in found) == (error is not None)


def test_error_of_the_expected_value():
    from hf_sentiment_ft.evaluation.metrics import measure

    scores = np.log([[0.5, 0.5, 1e-9], [0.1, 0.2, 0.7]])
    found = measure(scores, np.array([0, 2]), np.array([1, 2]), ["1", "2", "4"])
    assert found["mean_absolute_error"] == pytest.approx((1 + 0) / 2)
    assert found["expected_value_error"] == pytest.approx((0.5 + (4 - 3.3)) / 2)


def test_steps_are_those_of_the_order_of_the_numbers():
    """Wherever the labels are in the list; the distance between two of them does not matter."""
    labels, true, said = (
        ["5 stars", "1 star", "3 stars", "2 stars"],
        np.array([0, 0, 1, 1, 3]),
        np.array([2, 3, 3, 1, 3]),
    )
    found = figures(said, true, labels=labels)
    assert found["within_one_accuracy"] == pytest.approx(4 / 5)
    steps = {0: 3, 1: 0, 2: 2, 3: 1}
    rated, given = ([steps[label] for label in one.tolist()] for one in (true, said))
    off = sum((one - other) ** 2 for one, other in zip(rated, given, strict=True)) / 5
    by_chance = sum((one - other) ** 2 for one in rated for other in given) / 25
    assert found["quadratic_weighted_kappa"] == pytest.approx(1 - off / by_chance)


def test_labels_in_words_may_have_an_order():
    from hf_sentiment_ft.evaluation.metrics import measure

    labels, true, said = ["high", "low", "medium"], np.array([0, 1, 2, 1]), np.array([1, 1, 0, 2])
    scores = scores_for(said, 3)
    named = measure(scores, said, true, labels, numbers=Verbalizer(labels, [], [], order=ORDER).numbers)
    numbered = measure(scores, said, true, ["3", "1", "2"])
    for name in ("mean_absolute_error", "expected_value_error", "within_one_accuracy", "quadratic_weighted_kappa"):
        assert named[name] == numbered[name]
    assert "mean_absolute_error" not in measure(scores, said, true, labels)


@pytest.mark.parametrize("given", ["low,medium", "low,medium,high,highest", "low,low,high"])
def test_an_order_names_each_label_once(given: str):
    assert read_order(["high", "low", "medium"], " low, medium,high") == ORDER
    with pytest.raises(UsageError, match=f"--ordered_labels is '{given}'; expected each of these labels once"):
        read_order(["high", "low", "medium"], given)


def test_two_labels_need_no_order():
    with pytest.raises(UsageError, match="the order of two labels changes nothing"):
        read_order(["high", "low"], "low,high")


def test_kappa_of_one_label_is_not_defined():
    found = figures(np.array([1, 1]), np.array([1, 1]), labels=["1", "2", "3"])
    assert found["within_one_accuracy"] == 1
    assert "quadratic_weighted_kappa" not in found


def test_two_numbers_have_no_distance_but_one():
    assert "mean_absolute_error" not in figures(np.array([0, 1]), np.array([1, 1]), labels=["0", "1"])


def test_generation_accuracy_counts_other_words_as_wrong():
    generated = [0, -1, -1, 1, 2, -1, 0, 2]
    found = figures(generated=generated)
    assert found["generation_accuracy"] == pytest.approx(4 / 8)
    assert found["accuracy"] == pytest.approx(5 / 8), "over the label words alone"


def test_agrees_with_scikit_learn_on_random_scores():
    from sklearn import metrics

    from hf_sentiment_ft.evaluation.metrics import measure
    from hf_sentiment_ft.label_words.scoring import label_probabilities

    generator = np.random.default_rng(0)
    scores = generator.normal(size=(300, 4)).astype(np.float32) * 3 - 5
    references = generator.integers(0, 4, 300)
    found = measure(scores, references, references, list("abcd"))
    best = scores.argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(references, best))
    assert found["f1_macro"] == pytest.approx(metrics.f1_score(references, best, average="macro"))
    assert found["confusion_matrix"] == metrics.confusion_matrix(references, best).tolist()
    rows = label_probabilities(scores)
    assert found["log_loss"] == pytest.approx(-np.log(rows[np.arange(300), references]).mean())
    assert found["log_loss"] == pytest.approx(metrics.log_loss(references, rows))


def test_probabilities_are_normalised_over_the_labels():
    from hf_sentiment_ft.label_words.scoring import label_probabilities

    scores = np.log(np.array([[0.02, 0.06], [1e-30, 1e-30]]))
    np.testing.assert_allclose(label_probabilities(scores), [[0.25, 0.75], [0.5, 0.5]])
    far = label_probabilities(np.array([[-1000.0, -1003.0, -5000.0]], dtype=np.float32))
    np.testing.assert_allclose(far, [[1 / (1 + np.exp(-3)), 1 / (1 + np.exp(3)), 0]], rtol=1e-6)


def calibration(probabilities: list[list[float]], references: list[int]) -> dict[str, float]:
    from hf_sentiment_ft.evaluation.metrics import LabelWordMetrics

    metric = LabelWordMetrics([str(label) for label in range(len(probabilities[0]))], keep_in_memory=True)
    found = metric.compute(predictions=probabilities, references=references)
    return {name: found[name] for name in ("log_loss", "expected_calibration_error")}


def test_calibration_error_of_a_worked_example():
    """Bins of 1/15: 0.81 and 0.86 share one (half right); 0.87 (right), 0.6 (right) and 1.0 (wrong) are alone."""
    rows = [[0.81, 0.19], [0.86, 0.14], [0.87, 0.13], [0.4, 0.6], [1.0, 0.0]]
    error = calibration(rows, [0, 1, 0, 1, 1])["expected_calibration_error"]
    assert error == pytest.approx((abs(0.81 + 0.86 - 1) + abs(0.87 - 1) + abs(0.6 - 1) + abs(1.0 - 0)) / 5)


def test_calibrated_probabilities_have_no_error():
    assert calibration([[0.75, 0.25]] * 4, [0, 0, 0, 1])["expected_calibration_error"] == pytest.approx(0)
    assert calibration([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == pytest.approx(
        {"expected_calibration_error": 0, "log_loss": 0}, abs=1e-9
    )


def test_log_loss_of_a_worked_example():
    found = calibration([[0.8, 0.2], [0.5, 0.5]], [0, 1])["log_loss"]
    assert found == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2)


def test_certain_and_wrong_is_a_large_number_not_infinity():
    assert 30 < calibration([[1.0, 0.0]], [1])["log_loss"] < 1e3


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_interval_is_wilsons(right: int, rows: int, low: float, high: float):
    """The four examples of Newcombe 1998, table I, method 3 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857)."""
    from hf_sentiment_ft.evaluation.metrics import accuracy_interval

    assert accuracy_interval(right / rows, rows) == pytest.approx([low, high], abs=5e-5)


def test_every_figure_can_be_written_as_json():
    import json

    found = figures()
    assert json.loads(json.dumps(found)) == found
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high
