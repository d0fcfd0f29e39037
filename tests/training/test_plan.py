"""The plan of `--dry_run`: what would be pushed where, the estimates, and the advice."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.label_words.prompt import Prompt
from hf_sentiment_ft.publishing.preflight import describe_publication
from hf_sentiment_ft.publishing.repository import Destination
from hf_sentiment_ft.runtime.run_files import PUBLISHED_FILES
from hf_sentiment_ft.training.plan import estimate, warn_if_little_is_learned

NEW = Destination("alice/reviews", "hf_secret")


def lines(destination: Destination | None, strategy: str = "end") -> str:
    return "\n".join(describe_publication(destination, strategy))


def test_no_publication():
    assert lines(None) == "none (--push_to_hub is not given)"


def test_a_new_repository():
    assert lines(NEW).startswith("alice/reviews, branch main, a new repository\nin one commit at the end")
    assert "a new private repository" in lines(replace(NEW, private=True))
    assert all(name in lines(NEW) for name in ("README.md", "*.safetensors", "tokenizer.json", "test_predictions.csv"))
    assert "hf_secret" not in lines(NEW)


def test_the_docs_have_the_same_list():
    docs = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text(encoding="utf-8")
    section = docs.partition("## What is pushed")[2].partition("## Verification")[0]
    assert set(re.findall(r"`([\w.*/-]+\.\w+)`", section)) - {"eval.yaml"} == set(PUBLISHED_FILES)


def test_what_else_is_asked_for():
    there = replace(NEW, parent="0123456789abcdef", revision="dev", tag="v1", replace=True)
    assert lines(there, "checkpoint").splitlines()[:4] == [
        "alice/reviews, branch dev, on top of 01234567",
        "replacing everything in the repository",
        "tag v1",
        "each checkpoint during training (--hub_strategy checkpoint)",
    ]
    assert "as a pull request" in lines(replace(NEW, create_pr=True, parent="0" * 40))


@pytest.mark.parametrize(
    ("parameters", "given", "expected"),
    [
        (100_000_000, {}, "about 12 min 0 s and 2.1 GB of memory (0.5 GB for the libraries; 100,000,000 parameters)"),
        (100_000_000, {"use_peft": True}, "about 8 min 0 s and 0.9 GB"),
        (1_000_000_000, {"use_peft": True, "load_in_4bit": True}, "about 1 h 20 min and 1.0 GB"),
        (51_264, {}, "about a second and 0.5 GB of memory (0.5 GB for the libraries; 51,264 parameters)"),
    ],
)
def test_time_and_memory_are_estimated(parameters: int, given: dict[str, Any], expected: str):
    assert estimate(parameters, 120_000, 2e11, ModelArguments(**given)).startswith(expected)


@pytest.mark.parametrize(
    ("flags", "num_rows", "advised"),
    [
        ({"num_train_epochs": 1}, 16 * 49, True),
        ({"num_train_epochs": 1}, 16 * 49 + 1, False),
        ({"num_train_epochs": 1, "gradient_accumulation_steps": 2}, 16 * 50, True),
        ({"num_train_epochs": 2}, 16, False),
        ({"max_steps": 3}, 16, False),
    ],
)
def test_more_epochs_are_advised_where_rows_are_few(
    flags: dict[str, Any], num_rows: int, advised: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    from transformers import TrainingArguments

    args = TrainingArguments(str(tmp_path), per_device_train_batch_size=16, **flags)
    warn_if_little_is_learned(args, num_rows, Prompt("Text:\n", "\n", [3, 4], [4]))
    assert ("--num_train_epochs 3" in caplog.text) == advised


@pytest.mark.parametrize(
    ("prompt", "advised"),
    [
        (Prompt("", "\nQueue:", [], [4, 5]), r"begin --prompt_template with \n"),
        (Prompt("Ticket:\n", "\nQueue:", [3, 4], [4, 5]), ""),
        (Prompt("", "\nQueue:", [1], [4, 5]), ""),  # the tokenizer's own token
    ],
)
def test_something_before_the_text_is_advised(
    prompt: Prompt, advised: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    from transformers import TrainingArguments

    warn_if_little_is_learned(TrainingArguments(str(tmp_path), max_steps=100), 1000, prompt)
    assert advised in caplog.text
    assert ("begins with the text" in caplog.text) == bool(advised)
