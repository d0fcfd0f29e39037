"""Texts → prompts, as the model reads them."""

import copy
import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..data.sampling import StreamedRows
from ..errors import UsageError
from ..model.loading import context_length
from .prompt import Prompt
from .task import LabelWordTask
from .verbalizer import Verbalizer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments

logger = logging.getLogger(__name__)

Features = Callable[[dict[str, list[Any]], Sequence[int]], dict[str, list[Any]]]


def tokenize_splits(task: LabelWordTask, num_proc: int | None = None) -> "dict[str, Dataset]":
    """Tokenize every split as it will be read.

    Train is cut to `--max_seq_length`. Validation and test are cut only where the model can read no more, since
    `pipeline` does not cut either, and what is measured must be what a user will get.

    Args:
        task: The rows and what is asked of them.
        num_proc: Processes; None for one.

    Raises:
        UsageError: If prompt and label word leave no room for a text.
    """
    prompt, verbalizer = task.prompt, task.verbalizer
    readable = context_length(task.config)
    if task.max_train_length < prompt.num_tokens + verbalizer.max_tokens + 1:
        raise UsageError(
            f"--max_seq_length is {task.args.max_seq_length} and the model reads {readable} tokens, but the prompt has "
            f"{prompt.num_tokens} and the longest label word {verbalizer.max_tokens}; no text would be left."
        )
    tokenized = {}
    for split, dataset in task.data.splits.items():
        for_training = split == "train"
        limit = task.max_train_length if for_training else readable
        tokenized[split] = tokenize(dataset, features_of(task, limit, for_training), num_proc)
        truncated = sum(tokenized[split]["truncated"][:])
        if truncated:
            logger.warning("%d of %d %s texts were cut to %d tokens.", truncated, len(dataset), split, limit)
    return tokenized


def tokenize(dataset: "Dataset", to_features: Features, num_proc: int | None = None) -> "Dataset":
    """Turn texts into prompts, in batches, cached by `datasets`.

    Args:
        dataset: Columns `text` and, unless it is only to be predicted, `label`.
        to_features: As `features_of` gives it.
        num_proc: Processes; None for one.

    Returns:
        Columns `input_ids`; `labels`, for training the label word's tokens, otherwise the class id and the row number
        (evaluation goes by length, so rows come out in another order); `length`; and `truncated`.
    """
    return dataset.map(
        to_features,
        batched=True,
        with_indices=True,
        num_proc=num_proc,
        remove_columns=dataset.column_names,
        desc="Tokenizing",
    )


def tokenize_stream(task: LabelWordTask, args: "TrainingArguments") -> StreamedRows:
    """Let a streamed train split be shuffled and tokenized as it is read, and cut as `tokenize_splits` does.

    Args:
        task: The rows and what is asked of them.
        args: Seed, number of rows, and whether they are grouped by length.
    """
    stream = task.data.stream
    assert stream is not None
    assert stream.checked is not None
    own = dataclasses.replace(task, tokenizer=copy.deepcopy(task.tokenizer))  # since a thread of its own will use it
    seed = args.seed if args.data_seed is None else args.data_seed
    global_batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return StreamedRows(
        stream.checked.shuffle(seed=seed, buffer_size=stream.buffer_size),
        features_of(own, task.max_train_length, for_training=True),
        num_rows=args.max_steps * global_batch,
        global_batch=global_batch,
        grouped=args.train_sampling_strategy == "group_by_length",
        seed=seed,
    )


def features_of(task: LabelWordTask, max_length: int, for_training: bool) -> Features:
    """What makes prompts of a batch of rows and their numbers; see `tokenize`.

    Args:
        task: What stands around a text, the label words, and the side on which a text is cut.
        max_length: The most tokens of prompt and label word together; only the text is cut.
        for_training: Whether the prompt goes on into the label word, so that every token of it can be learnt.
    """
    return partial(
        _to_features,
        tokenizer=task.tokenizer,
        prompt=task.prompt,
        verbalizer=task.verbalizer,
        max_length=max_length,
        truncation_side=task.args.truncation_side,
        for_training=for_training,
    )


def _to_features(
    rows: dict[str, list[Any]],
    numbers: Sequence[int],
    tokenizer: "PreTrainedTokenizerBase",
    prompt: Prompt,
    verbalizer: Verbalizer,
    max_length: int,
    truncation_side: str,
    for_training: bool,
) -> dict[str, list[Any]]:
    """What `tokenize` says, for one batch of rows with these numbers."""
    features: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": [], "truncated": []}
    max_prompt_length = max_length - verbalizer.max_tokens
    prompts = tokenizer(rows["text"], verbose=False).input_ids
    labels = rows.get("label") or [0] * len(numbers)  # any will do where there is none: nothing is made of it
    for ids, label, number in zip(prompts, labels, numbers, strict=True):
        cut = prompt.truncate(ids, max_prompt_length, truncation_side)
        word = verbalizer.token_ids[label]
        features["input_ids"].append(cut + word[:-1] if for_training else cut)
        features["labels"].append(word if for_training else [label, number])
        features["length"].append(len(features["input_ids"][-1]))
        features["truncated"].append(len(cut) < len(ids))
    return features
