"""Texts made of the columns that a template names, from the table to the prompt, and in `predict`."""

import re

import pytest

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.config.templates import split_at_text
from hf_sentiment_ft.data.columns import find_columns
from hf_sentiment_ft.data.texts import read_texts, texts_of
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.predict import text_columns

PROMPT = r"Title: {title}\nBody: {body}\nQueue:{label_word}"
ROWS = {"title": ["Lost card", None, None, "a {body} b"], "body": ["Help!", "No light", "", "x"], "queue": list("abab")}
TEXTS = ["Lost card\nBody: Help!", "\nBody: No light", "", "a {body} b\nBody: x"]


def data_args(*flags: str):
    return parse_train_arguments([*flags, "--label_column_name", "queue", "--use_cpu"])[1]


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("A {text} b:{label_word}", ("A ", "{text}", " b:{label_word}")),
        ("{x} {text} {y}:{label_word}", ("{x} ", "{text}", " {y}:{label_word}")),
        ("{bos_token}{t}, {b}{eos_token}{label_word}", ("{bos_token}", "{t}, {b}", "{eos_token}{label_word}")),
        ("Queue:{label_word}", ("Queue:{label_word}", "", "")),
    ],
)
def test_the_text_is_the_middle(template: str, parts: tuple[str, str, str]):
    assert split_at_text(template) == parts


def test_columns_make_the_texts():
    from datasets import Dataset

    table = Dataset.from_dict({name: values[:2] + values[3:] for name, values in ROWS.items()})
    for flags in (["--prompt_template", PROMPT], ["--text_template", r"{title}\nBody: {body}"]):
        texts = read_texts(table, "train", find_columns(table.column_names, data_args(*flags)))
        assert texts["text"][:] == TEXTS[:2] + TEXTS[3:]
    with pytest.raises(UsageError, match="row 2 "):  # a row without any of them has no text
        read_texts(
            Dataset.from_dict(ROWS), "train", find_columns(table.column_names, data_args("--prompt_template", PROMPT))
        )


def test_predict_makes_the_same_texts():
    rows = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
    prompt = PROMPT.replace("\\n", "\n")
    columns = text_columns(rows[0], None, prompt)
    assert texts_of(rows[:2] + rows[3:], "the input", columns) == TEXTS[:2] + TEXTS[3:]
    made = [{"text": "already {title} made"}]
    assert texts_of(made, "the input", text_columns(made[0], None, prompt)) == ["already {title} made"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--text_column_name", "body"],
            "a template names the columns title, body; remove one of the two, or use {text} in",
        ),
        (
            ["--text_template", "{body}"],
            "--prompt_template and --text_template both name columns; use {text} in --prompt_template",
        ),
        (["--prompt_template", "{title}{eos_token}{body}:{label_word}"], "expected column names in braces"),
    ],
)
def test_contradictions(flags: list[str], message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        data_args("--prompt_template", PROMPT, *flags)


def test_a_column_that_is_not_there():

    message = "the text template names {txt}; the columns are: text, queue. Use {text} for"
    with pytest.raises(UsageError, match=re.escape(message)):
        find_columns(["text", "queue"], data_args("--prompt_template", "{txt}:{label_word}"))
