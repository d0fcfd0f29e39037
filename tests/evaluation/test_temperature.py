"""The temperature is the one with the lowest log loss, stays within reason, and changes no answer."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from hf_sentiment_ft.evaluation.metrics import measure
from hf_sentiment_ft.evaluation.temperature import BOUNDS, fit_temperature

from ..conftest import REVIEWS
from ..test_evaluate import call


def rows_of(temperature: float, num_rows: int, num_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores that are right after division by a temperature, and labels drawn accordingly."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(num_rows, num_labels)) * 2
    drawn = [generator.choice(num_labels, p=row) for row in softmax(scores, axis=1)]
    return log_softmax(scores * temperature, axis=1).astype(np.float32), np.array(drawn)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("num_labels", [2, 5])
def test_the_temperature_that_was_put_in_is_found(temperature: float, num_labels: int):
    scores, class_ids = rows_of(temperature, 6000, num_labels)
    assert fit_temperature(scores, class_ids) == pytest.approx(temperature, rel=0.07)


def test_no_other_temperature_has_a_lower_log_loss():
    """On many rows, on which smoothing hardly matters."""
    scores, class_ids = rows_of(2.0, 6000, 3)
    found = fit_temperature(scores, class_ids)
    losses = {t: -log_softmax(scores / t, axis=1)[np.arange(6000), class_ids].mean() for t in np.linspace(0.5, 5, 200)}
    assert found == pytest.approx(min(losses, key=losses.__getitem__), abs=0.03)


@pytest.mark.parametrize("num_rows", [50, 1000])
@pytest.mark.parametrize("margin", [2.0, 12.0])
def test_answers_that_are_all_right_do_not_make_it_run_away(num_rows: int, margin: float):
    """The probability is then what Platt's targets say, and not 1."""
    class_ids = np.arange(num_rows) % 2
    scores = log_softmax(np.eye(2)[class_ids] * margin, axis=1)
    found = fit_temperature(scores, class_ids)
    assert BOUNDS[0] * 2 < found < BOUNDS[1] / 2
    right = (num_rows / 2 + 1) / (num_rows / 2 + 2)
    assert softmax(scores / found, axis=1).max() == pytest.approx(right, abs=1e-3)


def test_few_rows_leave_the_scores_as_they_are(caplog: pytest.LogCaptureFixture):
    scores, class_ids = rows_of(3.0, 49, 2)
    with caplog.at_level(logging.INFO):
        assert fit_temperature(scores, class_ids) == 1.0
    assert "No temperature: the validation split has 49 rows, and fewer than 50 are too few" in caplog.text
    assert fit_temperature(*rows_of(3.0, 50, 2)) > 1.2


@pytest.mark.parametrize("temperature", BOUNDS)
def test_no_answer_changes_however_close_two_scores_are(temperature: float):
    scores = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32) - 5
    scores[:, 1] = np.nextafter(scores[:, 0], np.float32(np.inf))
    best, labels = scores.argmax(axis=1), ["a", "b", "c"]
    figures = measure(scores, best, best, labels, temperature=temperature)
    assert figures["accuracy"] == 1.0


def test_figures_before_and_after():
    """Log loss, Brier score and calibration error by hand; the accuracy is the same."""
    scores = np.log([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    class_ids, labels = np.array([0, 1, 1, 1]), ["a", "b"]
    before, after = (measure(scores, class_ids, class_ids, labels, temperature=t) for t in (1.0, 2.0))
    assert "temperature" not in before
    assert not any(name.startswith("unscaled_") for name in before)
    assert after["temperature"] == 2
    for name in ("log_loss", "brier_score", "expected_calibration_error"):
        assert after[f"unscaled_{name}"] == before[name]
    assert before["brier_score"] == pytest.approx((3 * 0.1**2 + 0.9**2) / 4)
    assert before["log_loss"] == pytest.approx(-(3 * np.log(0.9) + np.log(0.1)) / 4)
    assert after["brier_score"] == pytest.approx((3 * 0.25**2 + 0.75**2) / 4), "the root of 9 is 3, so 3 in 4"
    assert after["log_loss"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert after["expected_calibration_error"] == pytest.approx(0)
    assert after["accuracy"] == before["accuracy"] == 0.75


def test_a_run_keeps_its_temperature_and_reports_both(run_dir: Path, results: dict):
    """Config, results and predictions have the same number, and the card says what it does."""
    temperature = json.loads((run_dir / "config.json").read_text())["label_temperature"]
    assert temperature == results["test_temperature"] == results["eval_temperature"] != 1
    assert results["eval_log_loss"] <= results["eval_unscaled_log_loss"] + 0.01, "on which it was fitted"
    with (run_dir / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = [float(row[f"probability_{row['label']}"]) for row in rows]
    assert results["test_log_loss"] == pytest.approx(-np.mean(np.log(right)), abs=1e-4)
    odds = np.log(right) - np.log1p(-np.array(right))
    assert results["test_unscaled_log_loss"] == pytest.approx(np.mean(np.log1p(np.exp(-odds * temperature))), abs=1e-4)
    card = " ".join((run_dir / "README.md").read_text(encoding="utf-8").split())
    assert f"divided by a temperature of {temperature:.4f}, which was fitted on the validation split" in card
    figures = " | ".join(f"{results[f'test_unscaled_{name}']:.4f}" for name in ("log_loss", "brier_score"))
    assert figures in card.partition("| this model, before temperature scaling |")[2].partition("the base model")[0]


def test_a_run_without_temperature(run_dir: Path, tiny_gpt2: Path, tmp_path: Path):
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    flags = ["--model_name_or_path", run_dir, "--dataset_name", REVIEWS, "--output_dir", tmp_path / "output"]
    flags += ["--max_steps", 1, "--temperature_scaling", False, "--zero_shot_baseline", False, "--disable_tqdm", True]
    run(parse_train_arguments([str(flag) for flag in flags]))
    assert json.loads((tmp_path / "output" / "config.json").read_text())["label_temperature"] == 1, "not the one before"
    assert "temperature" not in (tmp_path / "output" / "README.md").read_text(encoding="utf-8")
    assert "test_temperature" not in (tmp_path / "output" / "all_results.json").read_text()


def test_evaluation_takes_the_saved_temperature_and_fits_none(run_dir: Path, tiny_gpt2: Path, results: dict, tmp_path):
    call("--model_name_or_path", run_dir, tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", tmp_path)
    ours, other = json.loads((tmp_path / "comparison.json").read_text())["models"]
    for name in ("temperature", "log_loss", "unscaled_log_loss", "brier_score"):
        assert ours[name] == pytest.approx(results[f"test_{name}"], abs=1e-5)
    assert ours["target_errors"] == results["test_target_errors"]
    assert "temperature" not in other
