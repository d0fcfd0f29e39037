"""`--label_words auto`: a word of one token for each label, from its name or else from its train texts."""

import csv
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from hf_sentiment_ft import evaluate
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.auto_words import choose_single_tokens
from hf_sentiment_ft.label_words.prompt import build_prompt
from hf_sentiment_ft.label_words.verbalizer import build_verbalizer

from .. import forked
from ..conftest import REVIEWS, ROOT
from ..tiny import BUILDERS, KINDS, TEMPLATE, base_tokenizer, write_csv

KNOWN = ["billing", "dispute", "shipping", "delay", "Games", "toys", "app", "card", "parcel", "charged", "the"]
TEXTS = [
    ("my card was charged, my card", 0),
    ("my card, the card", 0),
    ("my parcel is late", 1),
    ("the parcel, please", 1),
    ("my card or my app", 2),
    ("the app is down", 2),
]


def choose(*labels: str, tokens: list[str] = KNOWN, texts: Any = TEXTS) -> list[str]:
    """Choose words by a tokenizer that has these words, each with a space before it, as single tokens."""
    tokenizer = BUILDERS["gpt2"]()
    tokenizer.add_tokens([f" {word}" if word.isascii() else word for word in tokens])
    rows = [(text, label) for text, label in texts if label < len(labels)]
    train = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    return choose_single_tokens(tokenizer, build_prompt(tokenizer, TEMPLATE), list(labels), train)


def test_default_words_of_one_token_are_kept():
    assert choose("neg", "pos", tokens=["negative", "positive"]) == [" negative", " positive"]
    assert choose("delay", "Toys & Games") == [" delay", " Games"]


def test_longest_own_word_comes_first_and_the_log_names_the_runner_up(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "hf_sentiment_ft"):
        assert choose("delay", "Billing_Dispute", "shippingCosts") == [" delay", " billing", " shipping"]
    assert caplog.messages == [
        "Label word of 'shippingCosts': ' shipping', from its own words; there is no other.",
        "Label word of 'Billing_Dispute': ' billing', from its own words; the runner-up is ' dispute'.",
    ], "one line for each label that had none"


def test_words_that_several_labels_have_are_not_used():
    assert choose("billing delay", "shipping delay") == [" billing", " shipping"]
    assert choose("toys", "toys Games") == [" toys", " Games"]


def test_numbers_tell_labels_apart():
    assert choose("1 star", "2 stars", "3 stars") == ["1", "2", "3"], "this tokenizer has no tokens with a space"


def test_label_that_shares_the_word_of_another_gets_the_next():
    """Both are read as `negative`."""
    assert choose("neg", "negative card", "NEG", tokens=["negative", "card", "parcel", "app"]) == [
        " negative", " card", " app",
    ]  # fmt: skip


def test_label_without_a_word_takes_the_most_telling_of_its_texts(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "hf_sentiment_ft"):
        assert choose("Q-17", "Q-18", "Q-23") == [" card", " parcel", " app"]
    assert caplog.messages[0] == (
        "Label word of 'Q-17': ' card', from the words of its train texts; the runner-up is ' charged'."
    )


def test_words_of_a_script_without_spaces():
    words = ["投诉", "物流", "很好"]
    texts = [("快递很好很好", 1), ("太差", 0)]
    assert choose("投诉建议", "@@", tokens=words, texts=texts) == ["投诉", "很好"]


def test_a_label_without_any_word_is_refused():
    with pytest.raises(UsageError) as error:
        choose("Q-17", "Q-18", tokens=["card"])
    assert str(error.value) == (
        "--label_words auto found no word of one token for the label 'Q-18', neither in its name nor in its train "
        "texts. Pass a word for each label in --label_words."
    )
    with pytest.raises(UsageError, match="the label 'Q-18'"):  # as in the first rows of a stream
        choose("billing", "Q-18", texts=[("a card", 0)])


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_words_are_different_tokens_of_any_tokenizer(kind: str):
    tokenizer = base_tokenizer(kind)
    prompt, labels = build_prompt(tokenizer, TEMPLATE), ["no such thing 1", "Number 2", "???"]
    lines = (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines()
    train = Dataset.from_dict({"text": lines, "label": [number % 3 for number in range(len(lines))]})
    words = choose_single_tokens(tokenizer, prompt, labels, train)
    ids = build_verbalizer(tokenizer, prompt, labels, words).token_ids
    assert [len(each) for each in ids] == [1, 1, 1], words
    assert tokenizer.unk_token_id is None or [tokenizer.unk_token_id] not in ids


CHOOSE = """
from tests.label_words.test_auto_words import KNOWN, choose
print(choose("??", "!!", texts=[(" ".join(KNOWN), 0), ("nothing", 1), ("none", 1)], tokens=[*KNOWN, "nothing", "none"]))
"""


def test_another_process_chooses_the_same_words():
    """Sets of strings come in another order there, and these words are equally telling."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", CHOOSE],
            env=os.environ | {"PYTHONHASHSEED": seed}, cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(printed) == 1, printed


def coded(folder: Path, *flags: object) -> list[object]:
    """The flags of a run on sample reviews whose labels have no words."""
    with (REVIEWS / "train.csv").open(encoding="utf-8") as file:
        rows = [(row["text"], {"negative": "§§", "positive": "¶¶"}[row["label"]]) for row in csv.DictReader(file)]
    given = [*flags, "--train_file", write_csv(folder / "train.csv", rows), "--label_words", "auto"]
    return [*given, "--use_cpu", "true", "--zero_shot_baseline", "false", "--max_eval_samples", 8]


def tell_words() -> None:
    """Write the label words of this process to a file."""

    def make(original: Any) -> Any:
        def build(*args: Any, **kwargs: Any) -> Any:
            task = original(*args, **kwargs)
            Path(f"words-{os.environ.get('RANK', 0)}.json").write_text(json.dumps(task.verbalizer.words))
            return task

        return build

    forked.replaced("hf_sentiment_ft.label_words", "build_task", make)


def test_two_processes_train_on_the_same_words_and_one_resumes_and_exports(tiny_gpt2: Path, tmp_path: Path):
    flags = coded(tmp_path, "--model_name_or_path", tiny_gpt2, "--max_test_samples", 8, "--max_steps", 6)
    flags += ["--eval_strategy", "steps", "--eval_steps", 3, "--save_strategy", "steps", "--save_steps", 3]
    printed = forked.finish(
        *flags, "--per_device_train_batch_size", 4, cwd=tmp_path, processes=2, before=tell_words, rank=None
    )
    words = [json.loads((tmp_path / f"words-{rank}.json").read_text()) for rank in (0, 1)]
    assert words[0] == words[1]
    assert printed.count("Label word of '§§': ") == 1, printed
    config = json.loads((tmp_path / "output" / "config.json").read_text())
    assert (config["label_words"], list(map(len, config["label_token_ids"]))) == (words[0], [1, 1])
    assert f"`{words[0][0]}`" in (tmp_path / "output" / "README.md").read_text(encoding="utf-8")

    (tmp_path / "words-0.json").unlink()
    flags += ["--per_device_train_batch_size", 8, "--resume_from_checkpoint", "output/checkpoint-3"]
    forked.finish(*flags, "--export_text_classification", cwd=tmp_path, before=tell_words)
    assert json.loads((tmp_path / "words-0.json").read_text()) == words[0]
    assert (tmp_path / "output" / "text-classification" / "config.json").is_file()


STREAMING = ["--streaming", "--shuffle_buffer_size", 50, "--max_test_samples", 8, "--max_steps", 6]


@pytest.mark.parametrize("flags", [[], STREAMING], ids=["table", "stream"])
def test_dry_run_shows_the_words(flags: list[object], tiny_gpt2: Path, tmp_path: Path):
    given = coded(tmp_path, "--model_name_or_path", tiny_gpt2, "--dry_run", *flags)
    printed = forked.finish(*given, cwd=tmp_path)
    (said,) = re.findall(r"Label word of '§§': (' .*'), from the words of its train texts; the runner-up is ", printed)
    assert f"  §§: {said}, tokens [" in printed


def test_words_are_not_chosen_on_test_rows(tiny_gpt2: Path, tmp_path: Path):
    flags = ["--model_name_or_path", str(tiny_gpt2), "--test_file", str(REVIEWS / "test.csv"), "--label_words", "auto"]
    with pytest.raises(UsageError, match="--label_words is auto, which chooses words on train rows, but all rows are"):
        evaluate.parse_evaluate_arguments(flags)
    evaluate.parse_evaluate_arguments([*flags, "--train_file", str(REVIEWS / "train.csv")])
