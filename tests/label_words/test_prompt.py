"""The prompt becomes part of a tokenizer of any kind, and stays part of it after saving and loading."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.prompt import (
    Prompt,
    build_prompt,
    put_prompt_into_tokenizer,
    remove_prompt,
    split_template,
)

from ..tiny import KINDS, TEMPLATE, TEXTS, base_tokenizer

WITH_BEGINNING = "Review: {text}\nSentiment:{label_word}"
TEMPLATES = (TEMPLATE, WITH_BEGINNING)


@cache
def wrap(kind: str, template: str = TEMPLATE) -> tuple[Any, Prompt]:
    """Return a tokenizer that contains the prompt, and the prompt."""
    prompt = build_prompt(base_tokenizer(kind), template)
    return put_prompt_into_tokenizer(base_tokenizer(kind), prompt), prompt


def bare(kind: str, text: str, template: str = TEMPLATE) -> list[int]:
    """Return the tokens of the text alone, with the space before it if that belongs to its first word."""
    if wrap(kind, template)[1].space and text and not text.startswith(" "):
        text = f" {text}"
    return base_tokenizer(kind)(text, add_special_tokens=False, split_special_tokens=True).input_ids


@pytest.fixture(scope="module")
def reload(tmp_path_factory: pytest.TempPathFactory):
    """Save a tokenizer and load it as a user of the model does."""

    @cache
    def save_and_load(kind: str, template: str = TEMPLATE) -> Any:
        from transformers import AutoTokenizer

        folder = tmp_path_factory.mktemp(kind)
        wrap(kind, template)[0].save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)

    return save_and_load


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_prompt_stands_around_every_text(kind: str, template: str):
    tokenizer, prompt = wrap(kind, template)
    for text in TEXTS:
        assert tokenizer(text).input_ids == prompt.beginning_ids + bare(kind, text, template) + prompt.ending_ids
    assert tokenizer("").input_ids == prompt.beginning_ids + prompt.ending_ids
    assert prompt.num_tokens == len(tokenizer("").input_ids)
    decoded = tokenizer.decode(tokenizer("great film").input_ids, skip_special_tokens=True)
    assert decoded.split() == template.replace("{text}", "great film").removesuffix("{label_word}").split()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_saved_tokenizer_gives_the_same_prompts(kind: str, template: str, reload):
    tokenizer, loaded = wrap(kind, template)[0], reload(kind, template)
    assert loaded(list(TEXTS)).input_ids == tokenizer(list(TEXTS)).input_ids
    assert [loaded(text).input_ids for text in TEXTS] == tokenizer(list(TEXTS)).input_ids
    assert loaded.padding_side == "left"
    assert loaded.truncation_side == tokenizer.truncation_side
    assert loaded.pad_token_id == base_tokenizer(kind).pad_token_id
    assert loaded.eos_token_id == base_tokenizer(kind).eos_token_id
    assert loaded.model_max_length == base_tokenizer(kind).model_max_length


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_read_in_one_piece_with_the_words_before_it(kind: str, reload):
    """A space before the text belongs to its first word, as in pretraining, and is not a token of its own."""
    loaded, ending_ids = reload(kind, WITH_BEGINNING), wrap(kind, WITH_BEGINNING)[1].ending_ids
    for text in (text for text in TEXTS if not text.startswith(" ")):
        joint = base_tokenizer(kind)(f"Review: {text}").input_ids
        joint = joint[:-1] if joint[-1] == base_tokenizer(kind).eos_token_id else joint
        assert loaded(text).input_ids == joint + ending_ids


@pytest.mark.parametrize("kind", KINDS)
def test_batch_is_padded_on_the_left(kind: str, reload):
    loaded = reload(kind)
    batch = loaded(list(TEXTS), padding=True)
    width = max(len(loaded(text).input_ids) for text in TEXTS)
    for text, ids, mask in zip(TEXTS, batch.input_ids, batch.attention_mask, strict=True):
        alone = loaded(text).input_ids
        padding = width - len(alone)
        assert ids == [loaded.pad_token_id] * padding + alone
        assert mask == [0] * padding + [1] * len(alone)


@pytest.mark.parametrize("kind", ["llama_adds_bos", "llama_adds_bos_and_eos"])
def test_own_beginning_of_text_token_stays_in_front(kind: str):
    base = base_tokenizer(kind)
    tokenizer, prompt = wrap(kind, WITH_BEGINNING)
    ids = tokenizer("great film").input_ids
    assert ids[0] == base.bos_token_id
    assert ids.count(base.bos_token_id) == 1
    assert prompt.beginning_ids[1:] == base("Review:", add_special_tokens=False).input_ids


def test_end_token_that_the_tokenizer_appends_is_left_out():
    base = base_tokenizer("llama_adds_bos_and_eos")
    assert base("great film").input_ids[-1] == base.eos_token_id
    assert base.eos_token_id not in wrap("llama_adds_bos_and_eos")[0]("great film").input_ids


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_inside_a_text_become_ordinary_tokens(kind: str, reload):
    base = base_tokenizer(kind)
    control = [*base.all_special_tokens, "<|endoftext|>", "<s>", "</s>", "[PAD]", "[ENDING]"]
    forbidden = set(base.all_special_ids) - {base.unk_token_id if base.unk_token != base.eos_token else None}
    for tokenizer in (wrap(kind)[0], reload(kind)):
        ids = tokenizer("so " + " x ".join(control)).input_ids
        prompt = wrap(kind)[1]
        text = ids[len(prompt.beginning_ids) : len(ids) - len(prompt.ending_ids)]
        assert not forbidden & set(text)
        assert ids[len(ids) - len(prompt.ending_ids) :] == prompt.ending_ids


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_truncation_cuts_only_the_text(kind: str, template: str, side: str, reload):
    """`Prompt.truncate` (used in training) and the tokenizer (used by `pipeline`) truncate in the same way."""
    prompt, loaded = wrap(kind, template)[1], copy.deepcopy(reload(kind, template))
    loaded.truncation_side = side
    for text in TEXTS:
        ids, own = loaded(text).input_ids, bare(kind, text, template)
        for length in range(prompt.num_tokens + 1, len(ids) + 2):
            room = length - prompt.num_tokens
            kept = own[-room:] if side == "left" else own[:room]
            expected = prompt.beginning_ids + kept + prompt.ending_ids
            assert prompt.truncate(ids, length, side) == expected
            assert loaded(text, truncation=True, max_length=length).input_ids == expected


def test_truncation_to_the_prompt_itself_leaves_no_text():
    prompt = Prompt("a", "b", [1, 2], [8, 9])
    assert prompt.truncate([1, 2, 5, 6, 7, 8, 9], 4, "left") == [1, 2, 8, 9]
    assert prompt.truncate([1, 2, 5, 6, 7, 8, 9], 4, "right") == [1, 2, 8, 9]
    assert prompt.truncate([1, 2, 5, 8, 9], 5, "left") == [1, 2, 5, 8, 9]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_prompt_can_be_taken_out_again(kind: str, template: str, reload):
    """A model that is trained further, with the same prompt or another, reads only the new prompt."""
    trained = copy.deepcopy(reload(kind, template))
    remove_prompt(trained)
    assert [trained(text, add_special_tokens=False).input_ids for text in TEXTS] == [bare(kind, text) for text in TEXTS]
    for following in TEMPLATES:
        further = put_prompt_into_tokenizer(trained, build_prompt(trained, following))
        assert further(list(TEXTS)).input_ids == reload(kind, following)(list(TEXTS)).input_ids


def test_base_tokenizer_is_not_changed():
    base = base_tokenizer("llama_adds_bos")
    before = base("great film").input_ids
    put_prompt_into_tokenizer(base, build_prompt(base, WITH_BEGINNING))
    assert base("great film").input_ids == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no_eos"])
def test_names_of_control_tokens_stand_for_the_tokens(kind: str, reload):
    template = "{text}{eos_token}{label_word}"
    eos = base_tokenizer(kind).eos_token_id
    assert wrap(kind, template)[1].ending_ids == [eos]
    assert reload(kind, template)("great film").input_ids[-1] == eos


def test_beginning_of_text_token_by_name():
    base = base_tokenizer("metaspace")
    assert build_prompt(base, "{bos_token}{text}?{label_word}").beginning_ids == [base.bos_token_id]


def test_template_and_text_with_other_braces():
    assert split_template("{x} {text} {y}:{label_word}") == ("{x} ", " {y}:")
    tokenizer = wrap("gpt2")[0]
    assert tokenizer.decode(tokenizer("a {text} {label_word} {eos_token}").input_ids).startswith(
        "a {text} {label_word}"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Sentiment:{label_word}", "expected {text} once and {label_word} at the end"),
        ("{text} or {text}:{label_word}", "expected {text} once"),
        ("{text}\nSentiment:", "{label_word} at the end"),
        ("{text}:{label_word}!", "{label_word} at the end"),
        ("{label_word}:{text}", "{label_word} at the end"),
        ("{text}:{label_word}{label_word}", "{label_word} at the end"),
        ("", "expected {text} once"),
        ("Review: {text}{label_word}", "expected something between the text and the label word"),
    ],
)
def test_template_that_is_none(template: str, message: str):
    with pytest.raises(UsageError) as error:
        build_prompt(base_tokenizer("gpt2"), template)
    assert str(error.value).startswith(f"--prompt_template is {template!r}")
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["eos_token", "bos_token"])
def test_template_with_a_token_that_the_tokenizer_lacks(name: str):
    with pytest.raises(
        UsageError, match=f"--prompt_template contains {{{name}}}, but this model's tokenizer has no {name}"
    ):
        build_prompt(base_tokenizer("no_eos"), f"{{text}}{{{name}}}{{label_word}}")


def test_tokenizer_without_a_fast_backend_is_refused(tmp_path: Path):
    from transformers import CanineTokenizer

    prompt = build_prompt(base_tokenizer("gpt2"), TEMPLATE)
    with pytest.raises(UsageError, match="CanineTokenizer has no fast backend"):
        put_prompt_into_tokenizer(CanineTokenizer(), prompt)
