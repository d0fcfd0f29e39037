"""An unknown flag suggests the one that was meant, or none."""

import dataclasses

import pytest

from hf_sentiment_ft.config.arguments import OURS
from hf_sentiment_ft.config.suggestions import suggest
from hf_sentiment_ft.config.training_arguments import NO_EFFECT, REFUSED, WORKS

KNOWN = [one.name for group in OURS for one in dataclasses.fields(group)] + [*WORKS, *NO_EFFECT, *REFUSED]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("modl", "model_name_or_path"),
        ("model", "model_name_or_path"),
        ("base_model", "model_name_or_path"),
        ("data", "dataset_name"),
        ("datset", "dataset_name"),
        ("train_data", "train_file"),
        ("val_file", "validation_file"),
        ("label-column", "label_column_name"),
        ("text_col", "text_column_name"),
        ("labels", "label_words"),
        ("template", "prompt_template"),
        ("max_len", "max_seq_length"),
        ("seq_len", "max_seq_length"),
        ("lora_rank", "lora_r"),
        ("lr", "learning_rate"),
        ("learning-rte", "learning_rate"),
        ("warmup_ratio", "warmup_steps"),
        ("no-cuda", "use_cpu"),
        ("cpu", "use_cpu"),
        ("half", "precision"),
        ("push_to_hub_token", "hub_token"),
        ("torch_dtype", "dtype"),
        ("epochs", "num_train_epochs"),
        ("n_epochs", "num_train_epochs"),
        ("steps", "max_steps"),
        ("batch_size", "per_device_train_batch_size"),
        ("batchsize", "per_device_train_batch_size"),
        ("grad_accum", "gradient_accumulation_steps"),
        ("output", "output_dir"),
        ("out_dir", "output_dir"),
        ("save_dir", "output_dir"),
        ("resume", "resume_from_checkpoint"),
        ("hub_id", "hub_model_id"),
        ("repo_id", "hub_model_id"),
        ("private", "hub_private_repo"),
        ("wandb", "report_to"),
        ("weight_decy", "weight_decay"),
    ],
)
def test_what_was_meant_is_suggested(written: str, meant: str):
    assert suggest(written, KNOWN) == f"; did you mean --{meant}?"


@pytest.mark.parametrize("written", ["name", "size", "foo", "qqqqqqqqq", "verbatim_mode"])
def test_nothing_is_suggested_without_certainty(written: str):
    assert suggest(written, KNOWN) == "; see --help."


def test_a_flag_that_is_not_there_says_what_to_do_instead():
    assert suggest("logging_dir", KNOWN) == "; set the environment variable TENSORBOARD_LOGGING_DIR instead."
    assert suggest("gpu", KNOWN).startswith("; a GPU is used if there is one")
