"""A run's text classification model gives the same predictions and probabilities as its own model."""

import csv
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_sentiment_ft import text_classification
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.calibration import Calibration
from hf_sentiment_ft.label_words.classifier import classifier_of, export_text_classification
from hf_sentiment_ft.label_words.model import (
    LabelWordModel,
    load_label_word_model,
    predict_probabilities,
    prepare_for_generation,
)
from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.label_words.verbalizer import build_verbalizer
from hf_sentiment_ft.model.loading import ModelSource, load_model, load_tokenizer
from hf_sentiment_ft.runtime.run_files import published_files
from hf_sentiment_ft.train import run

from ..architectures import ARCHITECTURES, save_tiny
from ..conftest import REVIEWS
from ..tiny import TEMPLATE, TEXTS, base_tokenizer, tiny_model

WORDS: list[str | list[str]] = [" negative", " positive"]
NO_CLASS = "no sequence classification model for"
REFUSED = {
    "gemma2": "final_logit_softcapping",
    "phi": "adds a bias",
    "xglm": "' negative' has several tokens",
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv"), NO_CLASS),
}


def finish_run(base: Path) -> Path:
    """Turn a base model's folder into that of a finished run, with weights that distinguish texts."""
    tokenizer = load_tokenizer(ModelSource(str(base), {}))
    prompt = build_prompt(tokenizer, TEMPLATE)
    verbalizer = build_verbalizer(tokenizer, prompt, ["neg", "pos"], WORDS)
    tokenizer = put_prompt_into_tokenizer(tokenizer, prompt)
    model = load_model(ModelSource(str(base), {}), "float32", tokenizer)
    with torch.no_grad():
        model.get_output_embeddings().weight *= 3
    prepare_for_generation(model, tokenizer, TEMPLATE, verbalizer, calibration=Calibration(temperature=1.7))
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    return base


def classify(labels: list[str], texts: list[str], batch_size: int = 1, **options: Any) -> np.ndarray:
    """Return the probabilities of a bare pipeline in the order of the labels, (rows, labels)."""
    from transformers import pipeline

    answers = pipeline("text-classification", top_k=None, batch_size=batch_size, **options)(texts, truncation=True)
    rows = [{one["label"]: one["score"] for one in answer} for answer in answers]
    return np.array([[row[label] for label in labels] for row in rows])


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_each_architecture_is_exact_or_refused(model_type: str, tmp_path: Path):
    """This also holds in padded batches, and for texts as long as the model can read, and longer."""
    torch.set_num_threads(1)
    folder = finish_run(save_tiny(model_type, tmp_path))
    if model_type in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[model_type]):
            export_text_classification(folder)
        return
    exported = export_text_classification(folder)
    texts = [*TEXTS, "bad </s> [PAD] <|endoftext|> film", "long " * 200]
    expected = predict_probabilities(load_label_word_model(str(folder)), texts, batch_size=4)
    assert expected.std(axis=0).max() > 0.005, "the model distinguishes the texts"
    for batch_size in (1, 4):
        assert classify(["neg", "pos"], texts, batch_size, model=str(exported)) == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def trained(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with --export_text_classification."""
    output = tmp_path_factory.mktemp("trained") / "output"
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", output, "--max_steps", 8]
    flags += ["--learning_rate", 0.003, "--eval_strategy", "no", "--save_strategy", "no", "--disable_tqdm", True]
    flags += ["--load_best_model_at_end", False, "--zero_shot_baseline", False, "--export_text_classification"]
    run(parse_train_arguments([str(flag) for flag in flags]))
    return output


def test_every_test_row_gets_the_probabilities_of_the_evaluation(trained: Path):
    with (trained / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = ["negative", "positive"]
    found = classify(labels, [row["text"] for row in rows], 8, model=str(trained / "text-classification"))
    expected = [[float(row[f"probability_{label}"]) for label in labels] for row in rows]
    assert found == pytest.approx(np.array(expected), abs=1e-4)
    assert [labels[best] for best in found.argmax(axis=1)] == [row["prediction"] for row in rows]


def test_it_is_published_and_loads_as_the_card_says(trained: Path, tmp_path: Path):
    card = (trained / "README.md").read_text(encoding="utf-8")
    options = {"model": str(trained), "model_kwargs": {"subfolder": "text-classification"}}
    assert 'model_kwargs={"subfolder": "text-classification"}' in card
    texts = ["a moving, funny film"]
    found = classify(["negative", "positive"], texts, **options)
    assert found == pytest.approx(predict_probabilities(load_label_word_model(str(trained)), texts, 1), abs=1e-4)
    published = {path.relative_to(trained).as_posix() for path in published_files(trained)}
    there = {f"text-classification/{path.name}" for path in (trained / "text-classification").iterdir()}
    assert there <= published


def test_a_finished_run_is_exported_by_its_own_command(run_dir: Path, tmp_path: Path, monkeypatch):
    folder = shutil.copytree(run_dir, tmp_path / "output", ignore=shutil.ignore_patterns("checkpoint-*"))
    assert "text-classification" not in (folder / "README.md").read_text(encoding="utf-8").split("# How to use")[-1]
    monkeypatch.setattr(sys, "argv", ["text_classification", str(folder)])
    text_classification.main()
    expected = predict_probabilities(load_label_word_model(str(folder)), list(TEXTS), 1)
    found = classify(["negative", "positive"], list(TEXTS), model=str(folder / "text-classification"))
    assert found == pytest.approx(expected, abs=1e-4)


def loaded(words: list[str | list[str]] = WORDS, template: str = TEMPLATE, pad: str = "[PAD]") -> LabelWordModel:
    """Return a tiny GPT-2 with these label words, as if it had been loaded."""
    tokenizer = base_tokenizer("gpt2")
    if pad != tokenizer.pad_token:
        from ..tiny import BUILDERS

        tokenizer = BUILDERS["gpt2"]()
        tokenizer.pad_token = pad
    prompt = build_prompt(tokenizer, template)
    verbalizer = build_verbalizer(tokenizer, prompt, ["neg", "pos"], words)
    tokenizer, model = put_prompt_into_tokenizer(tokenizer, prompt), tiny_model()
    prepare_for_generation(model, tokenizer, template, verbalizer)
    return LabelWordModel(model, tokenizer, verbalizer)


def test_what_stands_between_body_and_logits_is_noticed():
    changed = loaded()
    assert classifier_of(changed).num_labels == 2
    changed.model.lm_head.register_forward_hook(lambda module, arguments, logits: logits.tanh())
    with pytest.raises(UsageError, match=r"its probabilities would differ by 0\.\d+ \(expected at most 0.0001\)"):
        classifier_of(changed)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"words": [" not good", " positive"]}, "' not good' has several tokens"),
        ({"words": [[" negative", " x"], " positive"]}, "a label has several words"),
        ({"template": "{text}{eos_token}{label_word}", "pad": "<|endoftext|>"}, "the prompt ends in '<|endoftext|>'"),
    ],
)
def test_what_cannot_be_exact_is_refused(options: dict[str, Any], reason: str):
    with pytest.raises(UsageError) as refusal:
        classifier_of(loaded(**options))
    assert reason in str(refusal.value)
    assert "Leave out this export (in training, --export_text_classification and --push_space), or " in str(
        refusal.value
    )


def test_training_does_not_begin_where_the_export_would_be_refused(tiny_gpt2: Path, tmp_path: Path):
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", tmp_path / "output"]
    flags += ["--label_words", " not good, fine", "--export_text_classification"]
    with pytest.raises(UsageError, match="has several tokens"):
        run(parse_train_arguments([str(flag) for flag in flags]))
    assert {path.name for path in (tmp_path / "output").iterdir()} == {".lock"}
