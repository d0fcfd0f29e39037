"""Training on soft labels, and what is measured of how far annotators disagree."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hf_sentiment_ft import evaluate
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.evaluation.disagreement import measure_disagreement
from hf_sentiment_ft.evaluation.predictions import predict, report
from hf_sentiment_ft.evaluation.temperature import fit_temperature
from hf_sentiment_ft.label_words.verbalizer import Verbalizer
from hf_sentiment_ft.train import run
from hf_sentiment_ft.training.loss import label_targets, label_word_loss

from ..tiny import tiny_model, write_csv
from .test_trainer import MIXED, VERBALIZERS, make_trainer, reference_loss  # noqa: F401


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("verbalizer", VERBALIZERS)
def test_loss_is_the_cross_entropy_against_the_shares(verbalizer: Verbalizer, smoothing: float, make_trainer: Any):  # noqa: F811
    trainer = make_trainer(verbalizer, soft=True, label_smoothing_factor=smoothing, per_device_train_batch_size=12)
    expected = reference_loss(tiny_model(), trainer.train_dataset, verbalizer, smoothing).item()
    assert expected != pytest.approx(
        reference_loss(tiny_model(), trainer.train_dataset.remove_columns("shares"), verbalizer, smoothing).item()
    ), "the shares matter"
    assert trainer.train().training_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("batch", "accumulation", "max_tokens"), [(4, 3, 0), (12, 1, 70), (4, 3, 40)])
def test_parts_of_a_batch_add_up(batch: int, accumulation: int, max_tokens: int, make_trainer: Any):  # noqa: F811
    sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    trainer = make_trainer(MIXED, soft=True, max_tokens=max_tokens, **sizes)
    expected = reference_loss(tiny_model(), trainer.train_dataset, MIXED).item()
    assert trainer.train().training_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("verbalizer", VERBALIZERS)
def test_a_share_of_1_is_a_label(verbalizer: Verbalizer, smoothing: float):
    """Exactly, with the weights of the classes, and also in a row that a process has too many."""
    words, classes = verbalizer.token_ids, len(verbalizer.token_ids)
    width = max(map(len, words))
    labels = torch.tensor([[-100] * (width - len(word)) + word for word in [*words, []]])
    shares = torch.eye(classes)[[*range(classes), 0]]
    logits = torch.randn(len(labels), width, 12, generator=torch.Generator().manual_seed(0))
    weights = [0.5, 1.75, 3.0][:classes]
    hard, soft = (
        label_word_loss(
            SimpleNamespace(logits=logits),
            labels,
            label_targets(words, smoothing, weights, soft=given is not None),
            shares=given,
        )
        for given in (None, shares)
    )
    assert hard == soft


def test_the_class_with_the_largest_share_weights_a_row():
    targets = label_targets([[5], [6]], 0.0, [2.0, 3.0], soft=True)
    logits, shares = torch.randn(1, 1, 8), torch.tensor([[0.25, 0.75]])
    loss = label_word_loss(SimpleNamespace(logits=logits), torch.tensor([[6]]), targets, shares=shares)
    expected = -3 * logits[0, 0].log_softmax(-1) @ torch.tensor([0, 0, 0, 0, 0, 0.25, 0.75, 0])
    assert loss == pytest.approx(expected.item(), rel=1e-6)


def test_evaluation_keeps_rows_and_shares_together(make_trainer: Any):  # noqa: F811
    """It sorts rows by length."""
    trainer = make_trainer(MIXED, soft=True, per_device_eval_batch_size=5)
    found = predict(trainer, trainer.eval_dataset)
    assert found.shares == pytest.approx(np.array(trainer.eval_dataset["shares"]), abs=1e-6)
    figures = report(found, MIXED)
    losses = -(np.array(trainer.eval_dataset["shares"]) * np.log(found.probabilities)).sum(axis=1)
    assert figures["soft_log_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert trainer.evaluate()["eval_soft_log_loss"] == pytest.approx(figures["soft_log_loss"])
    assert "soft_log_loss" not in make_trainer(MIXED).evaluate()


def test_disagreement_is_measured_where_it_is():
    shares = np.array([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.25, 0.25]])
    scores = np.log([[0.6, 0.2, 0.2], [0.6, 0.2, 0.2], [0.5, 0.25, 0.25]])
    found = measure_disagreement(scores, np.array([0, 1, 0]), shares)
    entropy = np.log(2) * (0.5 + 2 * 0.25 * 2)
    assert found["label_entropy"] == pytest.approx(entropy / 3)
    assert found["soft_log_loss"] == pytest.approx((-np.log(0.6) - np.log(0.2) + entropy) / 3)
    assert found["disagreement"] == {
        "majority_share": pytest.approx(2.5 / 3),
        "unanimous_rows": 2,
        "unanimous_accuracy": 0.5,
        "disputed_rows": 1,
        "disputed_accuracy": 1.0,
    }
    only = measure_disagreement(scores[:2], np.array([0, 1]), shares[:2])["disagreement"]
    assert (only["disputed_rows"], only["disputed_accuracy"]) == (0, None)


def test_temperature_makes_probabilities_those_of_the_votes():
    """With hard labels, it would make them as certain as the majority is."""
    shares = np.random.default_rng(0).dirichlet([2, 2, 2], 2000)
    scores, majority = 3 * np.log(shares), shares.argmax(axis=1)
    assert fit_temperature(scores, majority, shares) == pytest.approx(3, rel=0.02)
    assert fit_temperature(scores, majority) < 1
    hard = np.eye(3)[majority]
    assert fit_temperature(scores, majority, hard) == pytest.approx(fit_temperature(scores, majority))


def test_a_run_says_how_far_annotators_disagree(
    tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    votes = ["aaa", "aab", "bbb", "bba", "bcc", "ccc"]
    rows = [(f"{vote} {number}", *vote) for number in range(6) for vote in votes]
    names = ["body", "rater_a", "rater_b", "rater_c"]
    labels = ["--text_column_name", "body", "--label_column_name", "rater_a,rater_b,rater_c"]
    given = ["--train_file", write_csv(tmp_path / "votes.csv", rows, names), *labels]
    flags = ["--model_name_or_path", str(tiny_gpt2), "--use_cpu", "--max_steps", "1"]
    run(parse_train_arguments([*given, *flags, "--metric_for_best_model", "soft_log_loss"]))
    results = json.loads(Path("output/all_results.json").read_text())
    best = f"log loss against the shares of votes {results['test_soft_log_loss']:.4f}; at best"
    assert best in capsys.readouterr().out
    assert results["zero_shot_test_soft_log_loss"] > results["test_label_entropy"] > 0
    card = Path("output/README.md").read_text()
    assert "### Disagreement" in card
    assert f"| disputed | {results['test_disagreement']['disputed_rows']} | " in card
    assert f"against the shares is {results['test_soft_log_loss']:.4f}" in card
    assert "Log loss against the shares of votes" in Path("output/report.html").read_text()

    few = write_csv(tmp_path / "few.csv", [(f"{vote} x", *vote) for vote in ("cbc", "ccb", "bbb")], names)
    flags = ["--model_name_or_path", "output", "--test_file", few, *labels, "--use_cpu", "--output_dir", "evaluated"]
    evaluate.run(*evaluate.parse_evaluate_arguments(flags))
    measured = json.loads(Path("evaluated/all_results.json").read_text())
    share = np.array([1 / 3, 2 / 3])
    assert measured["test_label_entropy"] == pytest.approx(-(share * np.log(share)).sum() * 2 / 3)
    assert measured["test_soft_log_loss"] > measured["test_label_entropy"], "the labels are those of the model"


def test_soft_log_loss_needs_soft_labels(tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    table = write_csv(tmp_path / "table.csv", [(f"{text} {number}", text) for number in range(20) for text in "ab"])
    flags = ["--train_file", table, "--model_name_or_path", str(tiny_gpt2), "--metric_for_best_model", "soft_log_loss"]
    with pytest.raises(UsageError, match="soft_log_loss, but each row has a single label. Use log_loss"):
        run(parse_train_arguments([*flags, "--use_cpu"]))
