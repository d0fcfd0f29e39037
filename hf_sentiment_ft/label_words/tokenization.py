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
from ..model.packing import pack
from .prompt import Prompt, tokenize_texts
from .questions import Questions
from .task import LabelWordTask
from .verbalizer import Verbalizer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments

logger = logging.getLogger(__name__)

MEASURED_TEXTS = 1000  # of train, for their average length

Features = Callable[[dict[str, list[Any]], Sequence[int]], dict[str, list[Any]]]


def tokenize_splits(task: LabelWordTask, num_proc: int | None = None) -> "dict[str, Dataset]":
    """Tokenize every split the way the model will read it.

    The train split is truncated to `--max_seq_length`. Validation and test are truncated only to the model's context
    length: `pipeline` does not truncate further either, and evaluation must measure what a user will get.

    Args:
        task: Rows, prompt and label words.
        num_proc: Number of processes; None for one.

    Returns:
        Tokenized splits by name, with the columns that `tokenize` returns.

    Raises:
        UsageError: If the prompt and the label word leave no room for a text.
    """
    prompt, verbalizer = task.prompt, task.verbalizer
    readable = context_length(task.config)
    if task.max_train_length < prompt.num_tokens + verbalizer.max_tokens + 1:
        cure = "Shorten --label_descriptions" if task.description_tokens else "Shorten --prompt_template"
        if verbalizer.max_tokens > prompt.num_tokens:
            cure = "Choose shorter words with --label_words"
        raise UsageError(
            f"--max_seq_length is {task.args.max_seq_length} and the model reads at most {readable} tokens, but the "
            f"prompt has {prompt.num_tokens} tokens and the longest label word has {verbalizer.max_tokens}, which "
            f"leaves no room for the text. {cure}, or raise --max_seq_length if the model allows it."
        )
    tokenized = {}
    for split, dataset in task.data.splits.items():
        for_training = split == "train"
        limit = task.max_train_length if for_training else readable
        tokenized[split] = tokenize(dataset, features_of(task, limit, for_training), num_proc)
        truncated = sum(tokenized[split]["truncated"][:])
        if truncated:
            logger.warning("%d of %d %s texts were truncated to %d tokens.", truncated, len(dataset), split, limit)
    return tokenized


def description_cost(task: LabelWordTask) -> str:
    """Say how many tokens the descriptions of the labels take, beside a train text; empty if the prompt has none."""
    if not task.description_tokens:
        return ""
    prompts = tokenize_texts(task.tokenizer, task.data.splits["train"][:MEASURED_TEXTS]["text"])
    text = sum(map(len, prompts)) / len(prompts) - task.prompt.num_tokens
    return f"{task.description_tokens} tokens in every prompt, beside {text:.0f} tokens of an average training text"


def tokenize(dataset: "Dataset", to_features: Features, num_proc: int | None = None) -> "Dataset":
    """Turn texts into prompts, in batches, cached by `datasets`.

    Args:
        dataset: Dataset with the column `text` and, unless it is only used for prediction, `label`.
        to_features: Return value of `features_of`.
        num_proc: Number of processes; None for one.

    Returns:
        Dataset with the columns `input_ids`; `labels`; `length`, in tokens; and `truncated`. For training, `labels`
        holds the label word's tokens; otherwise it holds the class id and the row number, since evaluation sorts rows
        by length and has to restore their order. Where there are several questions, `input_ids` are packed (see
        `model.packing`), with the column `question_lengths`, and `labels` are a list for each question. Rows with soft
        labels keep their `shares`.
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
    """Set up a streamed train split to be shuffled, tokenized and truncated as it is read, like `tokenize_splits`.

    Args:
        task: Rows, prompt and label words.
        args: Training arguments, for the seed, the number of rows, and whether rows are grouped by length.
    """
    stream = task.data.stream
    assert stream is not None
    assert stream.checked is not None
    own = dataclasses.replace(task, tokenizer=copy.deepcopy(task.tokenizer))  # a thread of its own will use it
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
    """Return the function that turns a batch of rows and their numbers into prompts; see `tokenize`.

    Args:
        task: Task with the prompt, the label words, and the side on which a text is truncated.
        max_length: Maximum number of tokens of prompt and label word together; only the text is truncated.
        for_training: Whether the prompt continues into the label word, so that each of the word's tokens can be
            learned.
    """
    return partial(
        _to_features,
        tokenizer=task.tokenizer,
        prompt=task.prompt,
        verbalizer=task.verbalizer,
        questions=task.questions,
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
    questions: Questions | None,
    max_length: int,
    truncation_side: str,
    for_training: bool,
) -> dict[str, list[Any]]:
    """Build the features that `tokenize` describes, for one batch of rows with these numbers."""
    features: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": [], "truncated": []}
    max_prompt_length = max_length - verbalizer.max_tokens
    if questions:
        return _pack_questions(rows, numbers, tokenizer, prompt, verbalizer, questions, max_prompt_length, for_training)
    prompts = tokenize_texts(tokenizer, rows["text"])
    labels = rows.get("label") or [0] * len(numbers)  # unlabelled rows get 0 as a placeholder, which is never read
    for ids, label, number in zip(prompts, labels, numbers, strict=True):
        cut = prompt.truncate(ids, max_prompt_length, truncation_side)
        word = verbalizer.token_ids[label]
        features["input_ids"].append(cut + word[:-1] if for_training else cut)
        features["labels"].append(word if for_training else [label, number])
        features["length"].append(len(features["input_ids"][-1]))
        features["truncated"].append(len(cut) < len(ids))
    return features | ({"shares": rows["shares"]} if "shares" in rows else {})


def _pack_questions(
    rows: dict[str, list[Any]],
    numbers: Sequence[int],
    tokenizer: "PreTrainedTokenizerBase",
    prompt: Prompt,
    verbalizer: Verbalizer,
    questions: Questions,
    max_prompt_length: int,
    for_training: bool,
) -> dict[str, list[Any]]:
    """Build the features of rows about which several questions are asked."""
    features: dict[str, list[Any]] = {name: [] for name in ("input_ids", "question_lengths", "labels", "length")}
    features["truncated"] = []
    asked = len(questions.names)
    prompts = tokenize_texts(tokenizer, questions.ask(rows["text"]))
    all_answers = rows.get("answers") or [[ids[0] for ids in questions.label_ids]] * len(numbers)
    for row, (answers, number) in enumerate(zip(all_answers, numbers, strict=True)):
        of_text = prompts[row * asked : (row + 1) * asked]
        excess = max(map(len, of_text)) - max_prompt_length  # cut alike, so that they still begin alike
        cut = [prompt.truncate(ids, len(ids) - excess, "left") if excess > 0 else ids for ids in of_text]
        words = [verbalizer.token_ids[answer] for answer in answers]
        if for_training:
            cut = [ids + word[:-1] for ids, word in zip(cut, words, strict=True)]
        packed, lengths = pack(cut)
        features["input_ids"].append(packed)
        features["question_lengths"].append(lengths)
        evaluated = [[answer, number * asked + question] for question, answer in enumerate(answers)]
        features["labels"].append(words if for_training else evaluated)
        features["length"].append(len(packed))
        features["truncated"].append(excess > 0)
    return features
