"""What a model is asked: prompt, label words, and rows with labels in their order."""

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .chat import render_chat
from .columns import find_columns, label_ids, label_names, read_labels, read_texts
from .config import DataArguments, ModelArguments
from .constraint import label_words_only
from .data import LabelledSplits, load_splits
from .errors import UsageError
from .label_word_model import saved_verbalizer
from .loading import load_raw
from .modeling import (
    BaseModel,
    context_length,
    find_adapter,
    find_base_model,
    load_config,
    load_tokenizer,
    prepare_for_generation,
)
from .prompt import Prompt, build_prompt, put_prompt_into_tokenizer, read_prompt, remove_prompt
from .stratified import stratified_sample
from .verbalizer import Verbalizer, build_verbalizer, choose_label_words

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelWordTask:
    """A model and what it is asked; the weights are not loaded yet.

    Attributes:
        args: The flags, with what the model itself says in their place.
        base: Where the model is.
        config: Its configuration.
        tokenizer: With the prompt in it.
        prompt: What stands around the text.
        verbalizer: The label words.
        data: The rows, with class ids in the order of the verbalizer's labels.
    """

    args: ModelArguments
    base: BaseModel
    config: "PretrainedConfig"
    tokenizer: "PreTrainedTokenizerBase"
    prompt: Prompt
    verbalizer: Verbalizer
    data: LabelledSplits

    @property
    def max_train_length(self) -> int:
        """Tokens to which prompt and label word of a training row are cut together."""
        return min(self.args.max_seq_length, context_length(self.config))

    def make_ready(self, model: "PreTrainedModel", log_prior: "np.ndarray[Any, Any] | None" = None) -> None:
        """Set what a bare `pipeline` needs in order to say the label word, with what calibration takes off scores."""
        bias = None
        if self.args.constrain_generation:
            bias = label_words_only(self.verbalizer, self.prompt.ending_ids, log_prior)
        prepare_for_generation(model, self.tokenizer, self.args.prompt_template, self.verbalizer, bias, log_prior)


def build_task(
    args: ModelArguments,
    base: BaseModel,
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    data: LabelledSplits,
) -> LabelWordTask:
    """Make prompt and label words as the flags say them, for the model's own tokenizer.

    Raises:
        UsageError: If they do not go together.
    """
    args = dataclasses.replace(args, prompt_template=render_chat(tokenizer, args.prompt_template))
    if saved_verbalizer(config):
        remove_prompt(tokenizer)
        data.notes.append(
            "The base model was trained by this package before; rows measured here may have been among its train rows."
        )
        if config.prompt_template != args.prompt_template:
            logger.warning(
                "%s was trained with --prompt_template %r, and will now be with %r.",
                *(base.path, config.prompt_template, args.prompt_template),
            )
    prompt = build_prompt(tokenizer, args.prompt_template)
    words = choose_label_words(data.labels, args.label_words)
    verbalizer = build_verbalizer(tokenizer, prompt, data.labels, words)
    if args.constrain_generation:
        label_words_only(verbalizer, prompt.ending_ids)  # refused now, if ever
    wrapped = put_prompt_into_tokenizer(tokenizer, prompt, args.truncation_side)
    return LabelWordTask(args, base, config, wrapped, prompt, verbalizer, data)


def prepare_task(args: ModelArguments, data: LabelledSplits) -> LabelWordTask:
    """Make the task of an evaluation: a model of ours brings its own prompt, words and calibration, flags say others'.

    Raises:
        UsageError: If the model cannot be loaded, or its labels are not the data set's.
    """
    base = find_adapter(find_base_model(args))
    config, tokenizer = load_config(base), load_tokenizer(base)
    verbalizer = saved_verbalizer(config)
    if verbalizer is None:
        return build_task(args, base, config, tokenizer, data)
    data = with_labels(data, verbalizer.labels, args.model_name_or_path)
    dtype = str(config.dtype or "float32").removeprefix("torch.")  # what `pipeline` computes in
    args = dataclasses.replace(args, dtype=dtype, truncation_side=tokenizer.truncation_side, calibration=None)
    return LabelWordTask(args, base, config, tokenizer, read_prompt(tokenizer), verbalizer, data)


def with_labels(data: LabelledSplits, labels: list[str], model: str) -> LabelledSplits:
    """The same rows with class ids in the order of a model's labels.

    Raises:
        UsageError: If a row has a label that the model does not know.
    """
    from datasets import ClassLabel

    if not set(data.labels) <= set(labels):
        raise UsageError(
            f"the data has the labels {', '.join(data.labels)}, and {model} was trained on {', '.join(labels)}; "
            "it cannot give the others. Evaluate it on data with its own labels."
        )
    if data.labels == labels:
        return data
    new_ids = [labels.index(label) for label in data.labels]
    feature = ClassLabel(names=labels)
    splits = {
        split: rows.remove_columns("label").add_column("label", [new_ids[i] for i in rows["label"]], feature=feature)
        if "label" in rows.column_names
        else rows
        for split, rows in data.splits.items()
    }
    return dataclasses.replace(data, splits=splits, labels=labels)


def load_evaluation_splits(args: DataArguments, seed: int) -> LabelledSplits:
    """Load the same splits as a training run; where train and test are one file, all of its rows are the test split.

    Raises:
        UsageError: If the data cannot be loaded or does not hold texts with labels.
    """
    if args.streaming or args.train_file is None or args.train_file != args.test_file:
        return load_splits(args, seed)
    from datasets import ClassLabel

    table = load_raw(args)["test"]
    columns = find_columns(table, args)
    labels = label_names(table, columns)
    ids = label_ids(read_labels(table, "test", columns), "test", columns, labels)
    rows = read_texts(table, "test", columns).add_column("label", ids, feature=ClassLabel(names=labels))
    limit = args.max_test_samples
    test = rows.select(stratified_sample(ids, limit, seed)) if limit and limit < len(rows) else rows
    return LabelledSplits({"train": rows, "test": test}, labels)
