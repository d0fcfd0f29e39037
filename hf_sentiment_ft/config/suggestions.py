"""Suggest the flag that was probably meant by an unknown one."""

import dataclasses
from collections.abc import Sequence
from difflib import SequenceMatcher

from .arguments import OURS

# What TrainingArguments once called a flag, or other programs call it.
RENAMED = {
    "base_model": "model_name_or_path",
    "batchsize": "per_device_train_batch_size",
    "bits": "load_in_4bit",
    "bs": "per_device_train_batch_size",
    "checkpoint": "resume_from_checkpoint",
    "cpu": "use_cpu",
    "device": "use_cpu",
    "dev_file": "validation_file",
    "eval_file": "validation_file",
    "evaluation_strategy": "eval_strategy",
    "group_by_length": "train_sampling_strategy",
    "half": "precision",
    "hub_repo": "hub_model_id",
    "labels": "label_words",
    "logger": "report_to",
    "lr": "learning_rate",
    "mixed_precision": "precision",
    "no_cuda": "use_cpu",
    "num_steps": "max_steps",
    "num_workers": "dataloader_num_workers",
    "n_steps": "max_steps",
    "out": "output_dir",
    "out_dir": "output_dir",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_token": "hub_token",
    "quantize": "load_in_4bit",
    "random_seed": "seed",
    "rank": "lora_r",
    "repo_id": "hub_model_id",
    "save_dir": "output_dir",
    "steps": "max_steps",
    "target": "label_column_name",
    "test_data": "test_file",
    "token": "hub_token",
    "torch_dtype": "dtype",
    "tracker": "report_to",
    "train_data": "train_file",
    "val_data": "validation_file",
    "wandb": "report_to",
    "warmup_ratio": "warmup_steps",
    "wd": "weight_decay",
}
# What TrainingArguments no longer has or other programs have, and what to do instead.
REMOVED = {
    "cuda": "a GPU is used if there is one, so remove it.",
    "early_stopping_patience": "the best checkpoint is published in any case, so remove it.",
    "gpu": "a GPU is used if there is one, so remove it.",
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR instead.",
    "patience": "the best checkpoint is published in any case, so remove it.",
    "save_safetensors": "weights are always saved as safetensors, so remove it.",
}
CERTAIN = 0.75
MANY = 3  # flags that contain a word; with more, such as for --name, any of them would be a guess


def suggest(name: str, known: Sequence[str]) -> str:
    """Return the end of a message on an unknown flag: the flag that was probably meant, or where all are listed.

    Args:
        name: The unknown flag, without dashes.
        known: All flags, without dashes; of those that are equally near, the first one is suggested.
    """
    name = name.replace("-", "_")
    if name in REMOVED and "output_dir" in known:  # a flag of training
        return f"; {REMOVED[name]}"
    near = [_nearness(name, flag) for flag in known]
    nearest = max(near, default=0.0)
    if nearest <= CERTAIN or (nearest == 2 and near.count(2) > MANY):
        return "; see --help."
    return f"; did you mean --{known[near.index(nearest)]}?"


def _nearness(name: str, flag: str) -> float:
    """Return how near a flag is to what was written: 3 for a flag that begins with it, down to 0."""
    words, parts = name.split("_"), flag.split("_")
    if name in RENAMED:
        return 3 * (flag == RENAMED[name])
    if flag.startswith(name):
        return 3
    if all(any(part.startswith(word) or _shortens(part, word, words) for part in parts) for word in words):
        return 2  # max_len for max_seq_length
    spelled = [SequenceMatcher(None, name, part).ratio() for part in (flag, flag[: len(name) + 1])]
    ours = any(flag == one.name for group in OURS for one in dataclasses.fields(group))
    return max(spelled) + 0.05 * ours


def _shortens(part: str, word: str, words: list[str]) -> bool:
    return word.startswith(part) and (len(words) > 1 or len(part) > 3)
