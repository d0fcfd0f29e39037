"""A run's decision model gives the probabilities of `predict`, or refuses with the reason; never a wrong answer."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jinja2 import TemplateError

from hf_sentiment_ft.label_words.decision import REFUSING, question_orders, refusal_of, save_decision_model
from hf_sentiment_ft.label_words.joint_tokens import find_limits, read_differently, rendering, telling_texts
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities, prepare_for_generation
from hf_sentiment_ft.label_words.prompt import Prompt, build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, build_verbalizer
from hf_sentiment_ft.model.loading import ModelSource, load_model, load_tokenizer

from .. import forked
from ..architectures import ARCHITECTURES, save_tiny
from ..conftest import REVIEWS
from ..tiny import TEXTS, corpus

PROMPT = "\n{text}\nSentiment:{label_word}"
HOSTILE = (
    *TEXTS,
    "bad </s> [PAD] <|endoftext|> film ",
    " .",
    "3\n",
    '\'s "{{ state }}" {% if %}',
    "\u3000a\u00a0",
    "a\r\n",
)
BEGINS = "contains the control token"
REFUSED = {
    **dict.fromkeys(("llama", "mistral", "gemma", "gemma2", "gemma3_text", "opt"), BEGINS),
    "qwen2": "takes qwen2 models for models of another kind",
    "phi3": "Train with --prompt_template ' {text} Sentiment:{label_word}'",
    "xglm": "' negative' has several tokens",
}


def finish_run(
    folder: Path,
    labels: list[str] | None = None,
    words: list[str | list[str]] | None = None,
    template: str = PROMPT,
    change: Callable[[Any], None] = lambda model: None,
) -> Path:
    """Turn a base model's folder into that of a finished run, with weights that distinguish texts."""
    labels, words = labels or ["neg", "pos"], words or [" negative", " positive"]
    tokenizer = load_tokenizer(ModelSource(str(folder), {}))
    prompt = build_prompt(tokenizer, template)
    verbalizer = build_verbalizer(tokenizer, prompt, labels, words)
    tokenizer = put_prompt_into_tokenizer(tokenizer, prompt)
    model = load_model(ModelSource(str(folder), {}), "float32", tokenizer)
    with torch.no_grad():
        model.get_output_embeddings().weight *= 3
    prepare_for_generation(model, tokenizer, template, verbalizer)
    change(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_decision_model(folder, model.config, prompt, verbalizer)
    return folder


def ask(folder: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that asks a bare pipeline one question about one state."""
    from transformers import pipeline

    decide = pipeline("decision", model=str(folder))
    return lambda state, **question: decide({"state": state, "questions": {"label": question}})["label"]


def choice(*labels: str) -> dict[str, Any]:
    return {"type": "choice", "criteria": dict.fromkeys(labels)}


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_each_architecture_is_exact_or_refuses(model_type: str, tmp_path: Path):
    """Also for texts with blanks at their ends, control tokens, and what looks like a template."""
    torch.set_num_threads(1)
    folder = finish_run(save_tiny(model_type, tmp_path))
    if model_type in REFUSED:
        assert REFUSED[model_type] in str(refusal_of(folder))
        if model_type != "qwen2":  # its pipeline would build a model of 9 billion weights: tests/test_upstream.py
            for question in (choice("neg", "pos"), {"type": "noul"}):
                with pytest.raises(TemplateError) as raised:
                    ask(folder)("great film", **question)
                assert str(raised.value) == f"{REFUSING}{refusal_of(folder)}"
        return
    assert refusal_of(folder) is None
    expected = predict_probabilities(load_label_word_model(str(folder)), list(HOSTILE), batch_size=4)
    assert expected.std(axis=0).max() > 1e-4, "the model distinguishes the texts"
    decide = ask(folder)
    for text, (negative, positive) in zip(HOSTILE, expected, strict=True):
        answer = decide(text, **choice("neg", "pos"))
        assert answer["probabilities"] == pytest.approx({"neg": negative, "pos": positive}, abs=1e-5)
        assert answer["choice"] == ("pos" if positive > negative else "neg")
        assert decide(text, type="noul")["noul"] == pytest.approx(positive, abs=1e-5)


def test_a_run_saves_it_and_every_test_row_gets_the_probabilities_of_the_evaluation(run_dir: Path):
    with (run_dir / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    decide = ask(run_dir)
    for row in rows:
        answer = decide(row["text"], **choice("negative", "positive"))
        expected = {label: float(row[f"probability_{label}"]) for label in ("negative", "positive")}
        assert answer["probabilities"] == pytest.approx(expected, abs=1e-4)
        assert answer["choice"] == row["prediction"]


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three numbers as labels, not in ascending order, with a temperature."""

    def heat(model: Any) -> None:
        model.config.label_temperature = 2.5

    folder = save_tiny("gpt2", tmp_path_factory.mktemp("stars"))
    return finish_run(folder, ["3 stars", "1 star", "2 stars"], ["x", "1", "2"], change=heat)


def test_labels_that_are_numbers_have_a_score(stars: Path):
    decide, levels = ask(stars), ["1 star", "2 stars", "3 stars"]
    chosen = decide("great film", **choice("3 stars", "1 star", "2 stars"))["probabilities"]
    answer = decide("great film", type="score", criteria=levels)
    assert answer["legend"] == dict(zip("012", levels, strict=True))
    assert answer["probabilities"] == pytest.approx({str(i): chosen[level] for i, level in enumerate(levels)})
    assert answer["score"] == pytest.approx(chosen["2 stars"] + 2 * chosen["3 stars"])
    for wrong in (levels[::-1], ["bad", "fair", "good"]):
        with pytest.raises(TemplateError, match="a score with exactly these options, in this order: 1 star, 2 stars"):
            decide("great film", type="score", criteria=wrong)


def test_the_temperature_of_the_config_is_kept(stars: Path):
    config = json.loads((stars / "decision.json").read_text(encoding="utf-8"))
    assert config["temperature"] == {"choice": 2.5, "score": 2.5}
    found = ask(stars)("great film", **choice("3 stars", "1 star", "2 stars"))["probabilities"]
    loaded = load_label_word_model(str(stars))
    with torch.no_grad():
        logits = loaded.model(torch.tensor([loaded.tokenizer("great film").input_ids])).logits[0, -1]
    scores = logits[[ids[0] for ids in loaded.verbalizer.token_ids]]
    assert list(found.values()) == pytest.approx((scores / 2.5).softmax(-1).tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("state", "question", "message"),
    [
        ("x", choice("pos", "neg"), "a choice with exactly these options, in this order: neg, pos"),
        ("x", choice("neg"), "a choice with exactly these options"),
        ("x", choice("bad", "good"), "a choice with exactly these options"),
        ("x", {"type": "score", "criteria": ["neg", "pos"]}, "only answers questions of the type choice or noul"),
        ({"text": "x"}, choice("neg", "pos"), "Pass a string"),
        (["x"], choice("neg", "pos"), "Pass a string"),
    ],
)
def test_other_questions_are_refused(run_of_two: Path, state: Any, question: dict[str, Any], message: str):
    with pytest.raises(TemplateError, match=message):
        ask(run_of_two)(state, **question)


@pytest.fixture(name="run_of_two", scope="module")
def run_of_two_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_run(save_tiny("gpt2", tmp_path_factory.mktemp("two")))


def test_instructions_and_descriptions_are_ignored(run_of_two: Path):
    decide = ask(run_of_two)
    described = {"type": "choice", "criteria": {"neg": "It is bad.", "pos": None}, "instructions": "How is it?"}
    assert decide("x", **described) == decide("x", **choice("neg", "pos"))


def calibrate(model: Any) -> None:
    model.config.label_log_prior = [0.5, -0.5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": [" negative", [" positive", " x"]]}, "a label has several words"),
        ({"words": [" dreadful", " positive"]}, "' dreadful' has several tokens"),
        ({"change": calibrate}, "Train without --calibration"),
        ({"template": "<|endoftext|>{text}\nSentiment:{label_word}"}, f"{BEGINS} <\\|endoftext\\|>"),
        ({"template": "Review: {text}\nSentiment:{label_word}"}, r"Train with --prompt_template 'Review:\\n{text}"),
    ],
)
def test_what_is_not_exact_is_refused_with_the_cure(given: dict[str, Any], message: str, tmp_path: Path):
    folder = finish_run(save_tiny("gpt2", tmp_path), **given)
    with pytest.raises(TemplateError, match=message):
        ask(folder)("great film", **choice("neg", "pos"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--calibration", "contextual"], "The model will not be a decision model: it cannot subtract"),
        ([], None),
    ],
)
def test_it_is_said_before_training(tiny_gpt2: Path, flags: list[str], said: str | None, tmp_path: Path):
    given = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--dry_run", *flags]
    printed = forked.finish(*given, cwd=tmp_path)
    assert (said in printed) if said else ("decision model" not in printed)


def qwens(template: str) -> tuple[Any, Prompt]:
    """A tokenizer that, as Qwen's and Llama 3's, merges punctuation with the line break behind it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = Tokenizer(models.BPE())
    split, level = pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*corpus(), *["a.\nb\n\nc  d\n d"] * 50], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    prompt = build_prompt(wrapped, template)
    return put_prompt_into_tokenizer(wrapped, prompt), prompt


def test_a_tokenizer_that_merges_punctuation_with_the_prompt():
    assert find_limits(*qwens(PROMPT), [])[1].endswith(
        r"Train with --prompt_template '\n{text} Sentiment:{label_word}'."
    )
    conditions, refusal = find_limits(*qwens("\n{text} Sentiment:{label_word}"), [])
    assert refusal == ""
    assert conditions, "only white space merges then"


def test_white_space_that_would_merge_is_refused_and_nothing_else():
    """What is refused and what not, of all texts that are tried, and of more."""
    from transformers.utils.chat_template_utils import render_jinja_template

    tokenizer, prompt = qwens("\n{text} Sentiment:{label_word}")
    conditions, _ = find_limits(tokenizer, prompt, [])
    template = "{{ " + " and ".join(f"({condition})" for condition in conditions) + " }}"

    def takes(text: str) -> bool:
        rendered, _ = render_jinja_template([[{"role": "user", "content": ""}]], chat_template=template, state=text)
        return rendered[0] not in ("False", "")

    texts = [*telling_texts(tokenizer), "\n\n\n. a", ". a \n \n", " \t \n", "  3."]
    different = read_differently(tokenizer, prompt, texts)
    assert different
    assert not [text for text in different if takes(text)]
    assert [text for text in texts if text[:1].isspace() and takes(text)], "not all white space"
    assert all(takes(text) for text in texts if text and text == text.strip())


def test_the_tokens_that_are_compared_are_those_of_the_pipeline(run_of_two: Path):
    """The comparison leaves out a slow part of `DecisionConfig.prepare_inputs`."""
    from transformers import AutoTokenizer
    from transformers.decision import DecisionConfig

    tokenizer = AutoTokenizer.from_pretrained(run_of_two)
    asked = AutoTokenizer.from_pretrained(run_of_two)
    shifted = Prompt("\nA", "\nSentiment:", [], [])
    texts = ["a film", "", "x </s>", "\n\n", "é🎬"]
    decision = DecisionConfig(chat_template=rendering(shifted), sanitize_control_tokens=False)
    questions = {"label": {"type": "noul"}}
    differ = [
        text
        for text in texts
        if decision.prepare_inputs({"state": text, "questions": questions}, asked)[0][0]["input_ids"][0].tolist()
        != tokenizer(text).input_ids
    ]
    assert read_differently(tokenizer, shifted, texts) == differ == texts


@pytest.mark.parametrize(
    ("labels", "words", "true"),
    [
        (["neg", "pos"], [" negative", " positive"], 1),
        (["no", "yes"], [" no", " yes"], 1),
        (["True", "False"], [" True", " False"], 0),
        (["0", "1"], [" 0", " 1"], 1),
        (["0", "1"], [" positive", " negative"], 0),
        (["0", "1"], [" ham", " spam"], 1),
        (["not_spam", "spam"], [" not spam", " spam"], 1),
        (["toxic", "non-toxic"], [" toxic", " non-toxic"], 0),
        (["ham", "spam"], [" ham", " spam"], None),
        (["no", "maybe", "yes"], [" no", " maybe", " yes"], None),
    ],
)
def test_which_label_can_be_named_true(labels: list[str], words: list[str], true: int | None):
    orders = question_orders(Verbalizer(labels, words, [[index] for index in range(len(labels))]))
    assert orders["choice"] == list(range(len(labels)))
    assert orders.get("noul") == (None if true is None else [true, 1 - true])
