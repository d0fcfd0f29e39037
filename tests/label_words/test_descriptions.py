"""`--label_descriptions` stand in the prompt that is saved, so that whatever reads it needs to know nothing of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft import evaluate
from hf_sentiment_ft.config.arguments import DEFAULT_PROMPT_TEMPLATE, ModelArguments
from hf_sentiment_ft.data.questions import Question
from hf_sentiment_ft.data.splits import LabelledSplits
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities
from hf_sentiment_ft.label_words.prompt import build_prompt, read_prompt
from hf_sentiment_ft.label_words.template import write_out
from hf_sentiment_ft.model.loading import ModelSource, load_tokenizer
from hf_sentiment_ft.train import train

from ..conftest import REVIEWS
from ..tiny import base_tokenizer, corpus
from .test_chat import chat_tokenizer

MEANING = {"positive": "worth it {again}", "negative": "a waste\nof time"}
LINES = "negative: a waste\nof time\npositive: worth it {again}"


def describe(template: str, descriptions: dict[str, str], tokenizer: Any = None, **rows: Any) -> str:
    """The template that is saved, for labels whose words are ` negative`, and ` positive` or ` great`."""
    args = ModelArguments(prompt_template=template, label_descriptions=json.dumps(descriptions))
    words = [" negative", [" positive", " great"]]
    return write_out(args, tokenizer or base_tokenizer("gpt2"), LabelledSplits({}, ["neg", "pos"], **rows), words)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("\n{text}\nSentiment:{label_word}", "\nLINES\n\n{text}\nSentiment:{label_word}"),
        ("Ticket:\n{text}\nQueue:{label_word}", "LINES\n\nTicket:\n{text}\nQueue:{label_word}"),
        ("{bos_token}\n{a} {b}:{label_word}", "{bos_token}\nLINES\n\n{a} {b}:{label_word}"),
        ("{text}\n({label_descriptions}) is{label_word}", "{text}\n(LINES) is{label_word}"),
    ],
)
def test_labels_are_described_by_their_words_before_the_text_or_where_the_template_says(template: str, expected: str):
    found = describe(template, {"pos": "liked", "neg": "not liked"})
    assert found == expected.replace("LINES", "negative: not liked\npositive: liked")
    assert describe(template, {"pos": "liked"}) == expected.replace("LINES", "positive: liked")


@pytest.mark.parametrize("template", ["chat", "chat:", "chat:{label_descriptions}\n\n{text}"])
def test_the_message_of_a_chat_begins_with_them(template: str):
    found = describe(template, {"pos": "liked"}, tokenizer=chat_tokenizer("gpt2"))
    message = "<|im_start|>user\npositive: liked\n\n{text}<|im_end|>\n<|im_start|>assistant\n{label_word}"
    assert found.removeprefix("<|endoftext|>") == message.removeprefix("<|endoftext|>")


def test_each_of_many_labels_has_its_line():
    labels = [f"topic {number}" for number in range(20)]
    meaning = {label: f"about {label}" for label in reversed(labels)}
    args = ModelArguments(label_descriptions=json.dumps(meaning))
    found = write_out(args, base_tokenizer("gpt2"), LabelledSplits({}, labels), [f" {label}" for label in labels])
    assert found.strip().splitlines()[:20] == [f"{label}: about {label}" for label in labels]


def test_labels_that_a_text_may_have_are_described_as_they_are_asked_for():
    asked = {"questions": [Question("late_parcel", [0, 1]), Question("insult", [0, 1])], "multi_label": True}
    found = describe("{text}\n{label}?{label_word}", {"late_parcel": "where is it"}, **asked)
    assert found == "late parcel: where is it\n\n{text}\n{label}?{label_word}"
    with pytest.raises(UsageError, match="describes pos; expected some of the 2 labels: late_parcel, insult"):
        describe("{text}\n{label}?{label_word}", {"pos": "liked"}, **asked)
    with pytest.raises(UsageError, match="contains '{label}', which the prompt would take for a placeholder"):
        describe("{text}\n{label}?{label_word}", {"insult": "a {label}"}, **asked)


@pytest.mark.parametrize(
    ("template", "description", "message"),
    [
        ("{text}:{label_word}", "so <|endoftext|>", "'<|endoftext|>', which the prompt would take for a control token"),
        ("{text}:{label_word}", "so {label_word}", "'{label_word}', which the prompt would take for a placeholder"),
        ("{text}:{label_word}", "so {text}", "'{text}', which"),
        ("{title} {body}:{label_word}", "so {else}", "'{else}', which the prompt would take for a placeholder"),
    ],
)
def test_what_the_template_would_read_as_more_than_words_is_refused(template: str, description: str, message: str):
    with pytest.raises(UsageError) as refused:
        describe(template, {"pos": description})
    assert f"--label_descriptions contains {message}" in str(refused.value)


def test_an_unknown_label_is_refused_and_other_braces_stay():
    with pytest.raises(UsageError, match="describes great; expected some of the 2 labels: neg, pos"):
        describe("{text}:{label_word}", {"great": "liked"})
    assert "positive: {{ so }} {" in describe("{text}:{label_word}", {"pos": "{{ so }} {"})


def test_line_breaks_before_a_text_are_the_tokens_of_both_together():
    """At the end of a text, `\\n\\n` is one token of GPT-2; before a word, it is two."""
    tokenizer = base_tokenizer("gpt2").train_new_from_iterator(["\n\n"] * 50 + corpus(), 600)
    assert len(tokenizer("\n\n").input_ids) == 1
    prompt = build_prompt(tokenizer, "positive: liked\n\n{text}\nSentiment:{label_word}")
    together = tokenizer("positive: liked\n\ngreat film").input_ids
    assert prompt.beginning_ids + tokenizer("great film").input_ids == together


@pytest.fixture(scope="module")
def described(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run."""
    folder = tmp_path_factory.mktemp("described")
    train(
        model_name_or_path=tiny_gpt2,
        dataset_name=REVIEWS,
        label_descriptions=MEANING,
        max_steps=2,
        save_only_model=True,
        export_text_classification=True,
        output_dir=folder,
        disable_tqdm=True,
    )
    return folder


def test_all_ways_to_ask_the_model_agree(described: Path):
    from transformers import pipeline

    loaded, text = load_label_word_model(str(described)), "a {moving} film <|endoftext|>"
    assert loaded.model.config.prompt_template == f"\n{LINES}\n\n{{text}}\nSentiment:{{label_word}}"
    expected = predict_probabilities(loaded, [text], batch_size=1)[0]
    labels = loaded.verbalizer.labels
    question = {"type": "choice", "criteria": dict.fromkeys(labels)}
    asked = pipeline("decision", model=str(described))({"state": text, "questions": {"label": question}})
    assert [asked["label"]["probabilities"][label] for label in labels] == pytest.approx(expected, abs=1e-5)
    classify = pipeline(
        "text-classification", model=str(described), model_kwargs={"subfolder": "text-classification"}, top_k=None
    )
    scores = {answer["label"]: answer["score"] for answer in classify([text])[0]}
    assert [scores[label] for label in labels] == pytest.approx(expected, abs=1e-5)


def test_the_card_has_the_whole_prompt_and_what_it_costs(described: Path, tiny_gpt2: Path):
    card = (described / "README.md").read_text(encoding="utf-8")
    assert r"`\nnegative: a waste\nof time\npositive: worth it {again}\n\n{text}\nSentiment:`" in card
    bare = build_prompt(load_tokenizer(ModelSource(str(tiny_gpt2), {})), DEFAULT_PROMPT_TEMPLATE).num_tokens
    more = read_prompt(load_label_word_model(str(described)).tokenizer).num_tokens - bare
    assert f"The descriptions of the labels take {more} tokens in every prompt, beside " in card


def test_an_untrained_model_is_asked_with_them(tiny_gpt2: Path, tmp_path: Path):
    """What a model of ours is asked stays as it was trained."""
    losses = {}
    for name, more in {"bare": [], "described": ["--label_descriptions", json.dumps(MEANING)]}.items():
        flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--max_test_samples", 8]
        flags += ["--output_dir", tmp_path / name, "--disable_tqdm", True, *more]
        evaluate.run(*evaluate.parse_evaluate_arguments([str(flag) for flag in flags]))
        losses[name] = json.loads((tmp_path / name / "all_results.json").read_text())["test_log_loss"]
    assert not np.isclose(losses["bare"], losses["described"])


def test_a_prompt_that_leaves_no_room_names_the_flag(tiny_gpt2: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"leaves no room for the text\. Shorten --label_descriptions"):
        train(
            model_name_or_path=tiny_gpt2,
            dataset_name=REVIEWS,
            label_descriptions={"positive": "very " * 200},
            output_dir=tmp_path,
            dry_run=True,
        )
