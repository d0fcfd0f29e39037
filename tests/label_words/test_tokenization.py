"""How rows are tokenized: the label word is never truncated, and the text only if necessary."""

import json
import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.data.splits import LabelledSplits
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.prompt import Prompt, build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.label_words.task import LabelWordTask
from hf_sentiment_ft.label_words.tokenization import tokenize_splits
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, build_verbalizer
from hf_sentiment_ft.model.loading import ModelSource

from ..conftest import REVIEWS, ROOT
from ..tiny import TEMPLATE, TEXTS, base_tokenizer, write_csv

if TYPE_CHECKING:
    from datasets import Dataset

TEMPLATE_WITH_BEGINNING = "Review:\n" + TEMPLATE
WORDS = {"one token": [" negative", " positive"], "several": [" negative!!", " positive"], "equal": ["?!?", "!?!"]}


@cache
def setup(words: str) -> tuple[Any, Prompt, Verbalizer]:
    base = base_tokenizer("gpt2")
    prompt = build_prompt(base, TEMPLATE_WITH_BEGINNING)
    return put_prompt_into_tokenizer(base, prompt), prompt, build_verbalizer(base, prompt, ["neg", "pos"], WORDS[words])


@pytest.fixture(scope="module")
def data() -> LabelledSplits:
    """Return the same rows in every split."""
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    rows = Dataset.from_dict(
        {"text": list(TEXTS), "label": [number % 2 for number in range(len(TEXTS))]}, features=features
    )
    return LabelledSplits({"train": rows, "validation": rows, "test": rows}, ["neg", "pos"])


def tokenize(
    data: LabelledSplits, words: str = "one token", context: int = 1000, num_proc: int | None = None, **given: Any
) -> "dict[str, Dataset]":
    from transformers import GPT2Config

    tokenizer, prompt, verbalizer = setup(words)
    config = GPT2Config(n_positions=context)
    task = LabelWordTask(ModelArguments(**given), ModelSource("", {}), config, tokenizer, prompt, verbalizer, data)
    return tokenize_splits(task, num_proc)


def smallest_length(words: str) -> int:
    _, prompt, verbalizer = setup(words)
    return prompt.num_tokens + verbalizer.max_tokens + 1


@pytest.mark.parametrize("words", WORDS)
def test_training_rows_go_on_into_the_label_word(words: str, data: LabelledSplits):
    tokenizer, _, verbalizer = setup(words)
    for row, source in zip(tokenize(data, words)["train"], data.splits["train"], strict=True):
        assert row["labels"] == verbalizer.token_ids[source["label"]]
        assert row["input_ids"] + row["labels"][-1:] == tokenizer(source["text"]).input_ids + row["labels"]
        assert row["length"] == len(row["input_ids"])


def test_evaluation_rows_are_what_the_tokenizer_makes(data: LabelledSplits):
    tokenizer = setup("several")[0]
    tokenized = tokenize(data, "several")
    for split in ("validation", "test"):
        assert tokenized[split]["input_ids"][:] == tokenizer(list(TEXTS)).input_ids
        assert tokenized[split]["labels"][:] == [[number % 2, number] for number in range(len(TEXTS))]
        assert tokenized[split]["length"][:] == [len(ids) for ids in tokenized[split]["input_ids"]]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("words", WORDS)
def test_label_word_is_whole_at_the_smallest_length(words: str, side: str, data: LabelledSplits):
    """One token of the text is left, on the side that is not truncated."""
    _, prompt, verbalizer = setup(words)
    train = tokenize(data, words, max_seq_length=smallest_length(words), truncation_side=side)["train"]
    for row, text, label in zip(train, TEXTS, data.splits["train"]["label"], strict=True):
        word, own = verbalizer.token_ids[label], base_tokenizer("gpt2")(text).input_ids
        whole = row["input_ids"] + word[-1:]
        assert row["labels"] == word
        assert whole == prompt.beginning_ids + [own[-1 if side == "left" else 0]] + prompt.ending_ids + word
        assert row["truncated"] == (len(own) > 1)


@pytest.mark.parametrize("words", WORDS)
def test_length_without_room_for_the_text_is_refused(words: str, data: LabelledSplits):
    _, prompt, verbalizer = setup(words)
    length = smallest_length(words) - 1
    with pytest.raises(UsageError) as error:
        tokenize(data, words, max_seq_length=length)
    assert str(error.value).startswith(f"--max_seq_length is {length} and")
    assert f"the prompt has {prompt.num_tokens} tokens" in str(error.value)
    assert f"the longest label word has {verbalizer.max_tokens}, which" in str(error.value)


def test_label_words_that_take_the_room_are_blamed(data: LabelledSplits, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(WORDS, "long", [" negative" + "!?" * 40, " positive"])
    with pytest.raises(UsageError, match="Choose shorter words with --label_words, or raise --max_seq_length"):
        tokenize(data, "long", max_seq_length=40)


def test_train_is_cut_and_evaluation_is_not(data: LabelledSplits, caplog: pytest.LogCaptureFixture):
    limit = 20
    with caplog.at_level(logging.WARNING, "hf_sentiment_ft"):
        tokenized = tokenize(data, max_seq_length=limit)
    whole = [len(ids) + 1 for ids in setup("one token")[0](list(TEXTS)).input_ids]
    assert [length + 1 for length in tokenized["train"]["length"]] == [min(length, limit) for length in whole]
    assert [length + 1 for length in tokenized["test"]["length"]] == whole
    assert tokenized["train"]["truncated"][:] == [length > limit for length in whole]
    cut = sum(length > limit for length in whole)
    assert 0 < cut < len(TEXTS)
    ours = [record.message for record in caplog.records if record.name.startswith("hf_sentiment_ft")]
    assert ours == [f"{cut} of {len(TEXTS)} train texts were truncated to {limit} tokens."]


@pytest.mark.parametrize("words", WORDS)
def test_nothing_is_longer_than_the_model_can_read(words: str, data: LabelledSplits):
    tokenized = tokenize(data, words, context=20, max_seq_length=100)
    longest_word = setup(words)[2].max_tokens
    assert max(len(row["input_ids"] + row["labels"][-1:]) for row in tokenized["train"]) <= 20
    assert max(tokenized["test"]["length"]) + longest_word == 20
    assert tokenized["test"]["input_ids"][0] == setup(words)[0](TEXTS[0]).input_ids, "a short text is not truncated"


def test_prompt_longer_than_the_model_can_read_is_refused(data: LabelledSplits):
    with pytest.raises(UsageError, match="prompt"):
        tokenize(data, context=smallest_length("one token") - 2)


def test_row_numbers_hold_over_several_processes(data: LabelledSplits):
    several = tokenize(data, num_proc=2)["test"]
    assert several["labels"][:] == tokenize(data)["test"]["labels"][:]
    assert several["input_ids"][:] == tokenize(data)["test"]["input_ids"][:]


TOKENIZE_FILE = """
import json, sys
from hf_sentiment_ft.config.arguments import DataArguments, ModelArguments
from hf_sentiment_ft.data import load_splits
from hf_sentiment_ft.label_words.task import build_task
from hf_sentiment_ft.model.loading import find_base_model, load_config, load_tokenizer
from hf_sentiment_ft.label_words.tokenization import tokenize_splits

model, table, *templates = sys.argv[1:]
found = []
for template in templates:
    args = ModelArguments(model_name_or_path=model, prompt_template=template, label_words=" negative, positive")
    data, base = load_splits(DataArguments(train_file=table), 0), find_base_model(args)
    tokenized = tokenize_splits(build_task(args, base, load_config(base), data))
    found.append({split: [file["filename"] for file in rows.cache_files] for split, rows in tokenized.items()})
print(json.dumps(found))
"""


def test_tokenization_is_cached_for_the_next_run(tiny_gpt2: Path, tmp_path: Path):
    table = write_csv(tmp_path / "train.csv", [(f"text {i}", ("bad", "good")[i % 2]) for i in range(40)])

    def run(*templates: str) -> list[dict[str, list[str]]]:
        finished = subprocess.run(
            [sys.executable, "-c", TOKENIZE_FILE, str(tiny_gpt2), table, *templates],
            env={**os.environ, "HF_HOME": str(tmp_path / "home")},
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*.arrow")}

    first, before = run(TEMPLATE), files()
    assert all(names for names in first[0].values())
    again, other = run(TEMPLATE, "{text}?{label_word}")
    assert again == first[0]
    assert {path: time for path, time in files().items() if path in before} == before, "no file was written again"
    assert not set(sum(other.values(), [])) & set(sum(again.values(), [])), "another prompt uses another cache"
    assert len(files()) == len(before) + 3


def test_saved_tokenizer_cuts_the_side_that_was_trained(tiny_gpt2: Path, tmp_path: Path, monkeypatch):
    """pipeline(..., truncation=True) must truncate a long text as training and evaluation did."""
    from transformers import AutoTokenizer

    from hf_sentiment_ft import train

    flags = f"--model_name_or_path {tiny_gpt2} --dataset_name {REVIEWS} --truncation_side right --max_steps 1"
    flags += " --zero_shot_baseline false --eval_strategy no --save_strategy no --load_best_model_at_end false"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train", *flags.split(), "--max_eval_samples", "2", "--max_test_samples", "2"])
    train.main()
    assert AutoTokenizer.from_pretrained(tmp_path / "output").truncation_side == "right"
