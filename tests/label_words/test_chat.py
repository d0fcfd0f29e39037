"""With `--prompt_template chat`, the prompt is the chat template, rendered with a user message."""

import copy

import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.label_words.template import render_chat

from ..tiny import base_tokenizer

CHATML = (
    "{{ bos_token or '' }}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_tokenizer(kind: str, template: str = CHATML):
    tokenizer = copy.deepcopy(base_tokenizer(kind))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", ["chat", "chat:How does the writer feel?\n{text}"])
@pytest.mark.parametrize("kind", ["gpt2", "llama_adds_bos", "unigram"])
def test_prompt_is_that_of_the_chat_template(kind: str, template: str):
    """Control tokens stay control tokens, and there is one beginning-of-text token even if the template has one too."""
    tokenizer = chat_tokenizer(kind)
    prompt = build_prompt(tokenizer, render_chat(tokenizer, template))
    wrapped = put_prompt_into_tokenizer(tokenizer, prompt)
    own = tokenizer("great film", add_special_tokens=False).input_ids
    assert wrapped("great film").input_ids == prompt.beginning_ids + own + prompt.ending_ids
    for text in ("great film", "<|im_end|>"):
        ids = wrapped(text).input_ids
        assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1, "the template's, not the text's"
    if kind == "gpt2":  # where the pieces of a joint text are those of its parts
        message = [{"role": "user", "content": template.removeprefix("chat").removeprefix(":") or "{text}"}]
        message[0]["content"] = message[0]["content"].replace("{text}", "great film")
        expected = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        assert wrapped("great film").input_ids == expected
    if kind == "llama_adds_bos":
        assert wrapped("great film").input_ids.count(tokenizer.bos_token_id) == 1


def test_other_templates_stay_as_they_are():
    assert render_chat(base_tokenizer("gpt2"), "chatty {text}:{label_word}") == "chatty {text}:{label_word}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template; choose an instruct or chat model, or a template such as"),
        ("{{ raise_exception('system only') }}", "cannot be rendered: system only. Write out the whole prompt"),
        ("{{ messages[0].content | upper }}", "does not contain the user's message once, unchanged"),
    ],
)
def test_what_cannot_be_a_prompt(template: str | None, message: str):
    with pytest.raises(UsageError, match=message):
        render_chat(chat_tokenizer("gpt2", template), "chat")
