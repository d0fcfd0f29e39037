"""How batches are split. test_trainer and test_same_mathematics check that the gradients stay the same."""

import logging

import pytest
import torch
from transformers import TrainingArguments

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.runtime.device import CPU_TOKENS, choose_microbatch
from hf_sentiment_ft.training.batches import LabelWordCollator, split_batch

LENGTHS = [3, 20, 7, 1, 19, 8, 2, 5]


def batch_of(lengths: list[int]) -> dict:
    """Collate rows whose tokens encode row and position, and whose labels encode the row."""
    rows = [
        {"input_ids": [100 * row + place for place in range(length)], "labels": [row]}
        for row, length in enumerate(lengths)
    ]
    return LabelWordCollator(pad_token_id=-7, accepted={"position_ids", "logits_to_keep"})(rows)


@pytest.mark.parametrize("max_tokens", [1, 20, 45, 90, 159])
def test_every_row_is_in_one_part_as_it_was(max_tokens: int):
    seen = {}
    for part in split_batch(batch_of(LENGTHS), max_tokens):
        num_rows, width = part["input_ids"].shape
        assert num_rows == 1 or num_rows * width <= max_tokens
        assert part["attention_mask"].sum(1).max() == width, "padded no further than needed"
        assert part["logits_to_keep"] == 1
        for ids, mask, positions, label in zip(
            part["input_ids"], part["attention_mask"].bool(), part["position_ids"], part["labels"], strict=True
        ):
            assert (ids[~mask] == -7).all()
            assert positions[mask].tolist() == list(range(int(mask.sum())))
            assert int(label) not in seen
            seen[int(label)] = ids[mask].tolist()
    assert seen == {row: [100 * row + place for place in range(length)] for row, length in enumerate(LENGTHS)}


def test_rows_keep_the_shares_of_all_labels():
    """Of which there may be more than tokens."""
    shares = torch.eye(30)
    rows = [{"input_ids": [1] * (1 + row), "labels": [row], "shares": shares[row].tolist()} for row in range(30)]
    for part in split_batch(LabelWordCollator(pad_token_id=0, accepted=set())(rows), max_tokens=60):
        assert (part["shares"] == shares[part["labels"][:, 0]]).all()


@pytest.mark.parametrize("max_tokens", [0, 160])
def test_a_batch_that_is_small_enough_stays_whole(max_tokens: int):
    batch = batch_of(LENGTHS)
    assert split_batch(batch, max_tokens) == [batch]


def test_short_rows_keep_room_for_the_longest_label_word():
    """The longest label word of the batch sets the number of logits, also in a part without that word."""
    rows = [{"input_ids": [1] * 9, "labels": [1, 2, 3, 4]}, {"input_ids": [1, 2], "labels": [5]}]
    long, short = split_batch(LabelWordCollator(pad_token_id=0, accepted=set())(rows), max_tokens=9)
    assert long["input_ids"].shape == (1, 9)
    assert short["input_ids"].tolist() == [[0, 0, 1, 2]]
    assert short["labels"].tolist() == [[-100, -100, -100, 5]]


def test_parts_are_of_almost_equally_many_rows():
    """A last part of a single row would be a waste, since each forward pass reads all weights."""
    parts = split_batch(batch_of([10] * 16), max_tokens=50)
    assert [len(part["labels"]) for part in parts] == [4, 4, 4, 4]


def test_chosen_by_device_unless_given(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path):
    caplog.set_level(logging.INFO)
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    assert choose_microbatch(None, args) == CPU_TOKENS
    assert f"Micro-batches: at most {CPU_TOKENS} tokens: larger batches need more memory" in caplog.text
    assert choose_microbatch(0, args) == 0
    assert "Micro-batches: none, batches are not split: set by --max_tokens_per_microbatch" in caplog.text
    assert choose_microbatch(64, args) == 64
    monkeypatch.setattr(TrainingArguments, "device", torch.device("cuda"))
    assert choose_microbatch(None, args) == 0


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED"])
def test_never_where_processes_share_weights(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A process that splits its batch would wait forever for one that does not."""
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(UsageError, match=f"--max_tokens_per_microbatch is 64, but with {engine}"):
        choose_microbatch(64, args)
    assert choose_microbatch(None, args) == 0


def test_a_negative_number_is_refused():
    with pytest.raises(UsageError, match="--max_tokens_per_microbatch is -1; expected at least 0"):
        parse_train_arguments(["--max_tokens_per_microbatch", "-1"])
