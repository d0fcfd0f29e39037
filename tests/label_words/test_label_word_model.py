"""A trained model is prepared to generate its label words, saved, and loaded again."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.model import load_label_word_model, prepare_for_generation
from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, build_verbalizer
from hf_sentiment_ft.model.loading import context_length

from ..tiny import TEMPLATE, base_tokenizer, gpt2, tiny_model


def prepared() -> tuple[Any, Any, Verbalizer]:
    base = base_tokenizer("gpt2")
    prompt = build_prompt(base, TEMPLATE)
    verbalizer = build_verbalizer(base, prompt, ["neg", "pos"], [" negative", " positive!!"])
    verbalizer = replace(verbalizer, order=["neg", "pos"])
    model, tokenizer = tiny_model(), put_prompt_into_tokenizer(base, prompt)
    model.config.use_cache = False
    prepare_for_generation(model, tokenizer, TEMPLATE, verbalizer)
    return model, tokenizer, verbalizer


def test_saved_model_generates_as_its_label_words_need(tmp_path: Path):
    model, tokenizer, verbalizer = prepared()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_label_word_model(str(tmp_path))
    assert loaded.verbalizer == verbalizer
    assert not loaded.model.training
    assert loaded.model.config.id2label == {0: "neg", 1: "pos"}
    assert loaded.model.config.label2id == {"neg": 0, "pos": 1}
    assert loaded.model.config.prompt_template == TEMPLATE
    assert loaded.model.config.use_cache is True
    generation = loaded.model.generation_config
    assert (generation.max_new_tokens, generation.do_sample) == (verbalizer.max_tokens, False)
    assert generation.eos_token_id == tokenizer.eos_token_id
    assert generation.pad_token_id == loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id == 600
    assert loaded.tokenizer.padding_side == "left"


def test_pipeline_cuts_texts_so_that_prompt_and_word_can_be_read(tmp_path: Path):
    model, tokenizer, verbalizer = prepared()
    tokenizer.save_pretrained(tmp_path)
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tmp_path)("film " * 500, truncation=True).input_ids
    assert len(ids) + verbalizer.max_tokens == context_length(model.config)
    assert ids[-len(build_prompt(base_tokenizer("gpt2"), TEMPLATE).ending_ids) :] == tokenizer("").input_ids


def test_foreign_model_is_refused(tmp_path: Path):
    tiny_model(vocab_size=600).save_pretrained(tmp_path)
    gpt2().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} contains a model without label words. Train it with")):
        load_label_word_model(str(tmp_path))


@pytest.mark.parametrize("name", ["./nowhere", "user/nothing"])
def test_label_word_model_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="^" + re.escape(f"no model could be loaded from {name}: ")):
        load_label_word_model(name)
