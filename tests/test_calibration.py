"""What a model prefers whatever the text is, measured and taken off; `generate` follows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_sentiment_ft.calibration import CONTENT_FREE, calibrate, label_log_prior, prior_rows
from hf_sentiment_ft.constraint import label_words_only
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.verbalizer import Verbalizer

from .tiny import base_tokenizer, reference_scores, tiny_model

WORDS = Verbalizer(["a", "b", "c"], ["5", "6", "7"], [[5], [6], [7]])


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory):
    from datasets import Dataset
    from transformers import TrainingArguments

    from hf_sentiment_ft.trainer import LabelWordTrainer

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
    """The same as `calibrate` says of it, by the saved form of the generation config."""
    raw = trainer.predict(trainer.eval_dataset)
    prior = np.array([2.0, -2.0, 0.5])
    made = calibrate(trainer, raw, prior)
    order = np.argsort(made.label_ids[:, 1])
    bias = json.loads(json.dumps(label_words_only(WORDS, [11], prior)))
    ended = torch.tensor([[*row, 11] for row in trainer.eval_dataset["input_ids"]])
    said = trainer.model.generate(
        ended, attention_mask=torch.ones_like(ended), max_new_tokens=1, do_sample=False, sequence_bias=bias,
        pad_token_id=600, eos_token_id=0,
    )[:, -1]  # fmt: skip
    scores = reference_scores(trainer.model, ended.tolist(), WORDS.token_ids) - torch.tensor(prior)
    assert said.tolist() == [WORDS.token_ids[label][0] for label in scores.argmax(1)]
    assert made.predictions[1][order].flatten().tolist() == [
        WORDS.token_ids[label][0] for label in made.predictions[0][order].argmax(1)
    ]
    assert (made.predictions[1] != raw.predictions[1]).any(), "calibration changes some answers"
    np.testing.assert_allclose(made.predictions[0], raw.predictions[0] - prior, rtol=1e-5)


def test_none_changes_nothing_and_validation_needs_its_split(trainer):
    raw = trainer.predict(trainer.eval_dataset)
    assert calibrate(trainer, raw, None) is raw
    assert prior_rows(None, {}, base_tokenizer("gpt2")) is None
    with pytest.raises(UsageError, match="there is no validation split"):
        prior_rows("validation", {}, base_tokenizer("gpt2"))
