"""A model's preference regardless of the text is measured and subtracted, and `generate` follows."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_sentiment_ft import evaluate
from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.evaluation.calibration import (
    CONTENT_FREE,
    calibrate,
    fit_calibration,
    label_log_prior,
    predict_splits,
    prior_rows,
)
from hf_sentiment_ft.evaluation.predictions import predict
from hf_sentiment_ft.label_words.calibration import Calibration
from hf_sentiment_ft.label_words.model import predict_probabilities
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, label_words_only

from ..architectures import save_tiny
from ..test_architectures import table, train  # noqa: F401
from ..tiny import base_tokenizer, reference_scores, tiny_model

WORDS = Verbalizer(["a", "b", "c"], ["5", "6", "7"], [[5], [6], [7]])


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory):
    from datasets import Dataset
    from transformers import TrainingArguments

    from hf_sentiment_ft.training.trainer import LabelWordTrainer

    prompts = np.random.default_rng(0).integers(1, 600, (30, 8)).tolist()
    rows = {"input_ids": prompts, "labels": [[i % 3, i] for i in range(30)], "length": [8] * 30}
    folder: Path = tmp_path_factory.mktemp("run")
    args = TrainingArguments(output_dir=str(folder), report_to="none", disable_tqdm=True, use_cpu=True)
    return LabelWordTrainer(
        verbalizer=WORDS, precision="fp32", constrained=True, model=tiny_model(), args=args,
        eval_dataset=Dataset.from_dict(rows), processing_class=base_tokenizer("gpt2"),
    )  # fmt: skip


@pytest.mark.parametrize("method", ["contextual", "validation"])
def test_what_is_taken_off_is_the_mean_probability_on_the_texts(method: str, trainer):
    rows = prior_rows(method, {"validation": trainer.eval_dataset}, base_tokenizer("gpt2"))
    prompts = base_tokenizer("gpt2")(list(CONTENT_FREE[:2])).input_ids  # the last is empty without a prompt
    if method == "contextual":
        assert rows["input_ids"][:2] == prompts
        rows = rows.select(range(2))
    scores = reference_scores(trainer.model, rows["input_ids"][:], WORDS.token_ids)
    expected = scores.softmax(-1).mean(0).log()
    np.testing.assert_allclose(label_log_prior(trainer, rows), expected, rtol=1e-4)


def test_generation_says_the_calibrated_word(trainer):
    """With the saved generation config, it generates what `calibrate` predicts."""
    raw = predict(trainer, trainer.eval_dataset)
    prior = np.array([2.0, -2.0, 0.5])
    made = calibrate(raw, Calibration(prior), WORDS)
    bias = json.loads(json.dumps(label_words_only(WORDS, [11], prior)))
    ended = torch.tensor([[*row, 11] for row in trainer.eval_dataset["input_ids"]])
    said = trainer.model.generate(
        ended, attention_mask=torch.ones_like(ended), max_new_tokens=1, do_sample=False, sequence_bias=bias,
        pad_token_id=600, eos_token_id=0,
    )[:, -1]  # fmt: skip
    scores = reference_scores(trainer.model, ended.tolist(), WORDS.token_ids) - torch.tensor(prior)
    assert said.tolist() == [WORDS.token_ids[label][0] for label in scores.argmax(1)]
    assert made.generated_tokens.flatten().tolist() == [WORDS.token_ids[label][0] for label in made.scores.argmax(1)]
    assert (made.generated_tokens != raw.generated_tokens).any(), "calibration changes some answers"
    np.testing.assert_allclose(made.scores, raw.scores - prior, rtol=1e-5)


@pytest.mark.parametrize("method", [None, "contextual", "validation"])
def test_validation_is_predicted_once(method: str | None, trainer, monkeypatch: pytest.MonkeyPatch):
    """For log prior, temperature, thresholds and results together."""
    predicted = []
    monkeypatch.setattr(trainer, "predict", lambda rows, call=trainer.predict: predicted.append(rows) or call(rows))
    tokenized = {"validation": trainer.eval_dataset}
    prior = prior_rows(method, tokenized, base_tokenizer("gpt2"))
    if method == "contextual":
        prior = prior.select(range(2))
    calibration, validation = fit_calibration(trainer, tokenized, prior, ModelArguments(calibration=method))
    predict_splits(trainer, tokenized, calibration, validation)
    assert [len(rows) for rows in predicted] == ([30, 2] if method == "contextual" else [30])
    expected = label_log_prior(trainer, prior)
    assert calibration.log_prior is expected is None or calibration.log_prior == pytest.approx(expected)


def test_none_changes_nothing_and_validation_needs_its_split(trainer):
    raw = predict(trainer, trainer.eval_dataset)
    np.testing.assert_array_equal(calibrate(raw, Calibration(), WORDS).scores, raw.scores)
    assert prior_rows(None, {}, base_tokenizer("gpt2")) is None
    with pytest.raises(UsageError, match="needs a validation split, and there is none"):
        prior_rows("validation", {}, base_tokenizer("gpt2"))


@pytest.fixture(scope="module", params=[" negative, positive", " so bad, so good"])
def calibrated(request, table: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[dict[str, str]], Path]:  # noqa: F811
    """Finish a run that learns almost nothing, so that the model prefers one label; words have one token or more."""
    folder = tmp_path_factory.mktemp("calibrated")
    flags = ["--label_words", request.param, "--calibration", "contextual", "--max_steps", 1, "--learning_rate", 1e-5]
    return *train(save_tiny("gpt2", folder / "base"), table, folder / "output", *flags), folder / "output"


def test_predict_answers_as_evaluated_and_calibration_matters(calibrated):
    saved, rows, _ = calibrated
    texts, labels = [row["text"] for row in rows], saved.verbalizer.labels
    found = predict_probabilities(saved, texts, batch_size=4)
    expected = [[float(row[f"probability_{label}"]) for label in labels] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [labels[best] for best in found.argmax(1)] == [row["prediction"] for row in rows]
    raw = predict_probabilities(dataclasses.replace(saved, calibration=Calibration()), texts, batch_size=4)
    assert (raw.argmax(1) != found.argmax(1)).any(), "otherwise, the tests here would show nothing"


def test_pipeline_says_what_is_reported(calibrated):
    """It generates the calibrated word if words have one token; only then can the generation config express it."""
    from transformers import pipeline

    saved, rows, output = calibrated
    classify = pipeline("text-generation", model=str(output))
    said = [classify(row["text"], return_full_text=False)[0]["generated_text"] for row in rows]
    assert said == [row["generated_text"] for row in rows]
    words = dict(zip(saved.verbalizer.labels, saved.verbalizer.words, strict=True))
    assert (said == [words[row["prediction"]] for row in rows]) == (saved.verbalizer.max_tokens == 1)


def test_evaluation_takes_the_saved_calibration(calibrated, table: str, tmp_path: Path):  # noqa: F811
    _, rows, output = calibrated
    flags = ["--model_name_or_path", output, "--test_file", table, "--output_dir", tmp_path, "--use_cpu"]
    evaluate.run(*evaluate.parse_evaluate_arguments([*map(str, flags)]))
    with (tmp_path / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    for name in ("prediction", "generated_text"):
        assert [row[name] for row in found] == [row[name] for row in rows]
    figures = [json.loads((folder / "test_results.json").read_text()) for folder in (output, tmp_path)]
    for name in ("test_accuracy", "test_uncalibrated_accuracy", "test_generation_accuracy"):
        assert figures[0][name] == figures[1][name]
