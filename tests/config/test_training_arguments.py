"""Every field of TrainingArguments works here, is refused with the cure, or has no effect; the docs say which.

`python -m tests.config.test_training_arguments` writes docs/training_arguments.md anew.
"""

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType

from hf_sentiment_ft.config import training_arguments
from hf_sentiment_ft.config.arguments import TRAINING_DEFAULTS
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.config.training_arguments import METRICS, NO_EFFECT, REFUSED, SCHEDULER_ARGUMENTS, WORKS
from hf_sentiment_ft.errors import UsageError

from ..conftest import REVIEWS, ROOT

DOCS = ROOT / "docs" / "training_arguments.md"
FIELDS = [one.name for one in dataclasses.fields(TrainingArguments)]

# Runs that set fields to other values than their default.
RUNS = [
    "--lr_scheduler_type cosine_with_min_lr --lr_scheduler_kwargs '{\"min_lr\": 1e-6}' --optim adafactor "
    "--eval_on_start --eval_steps 2 --include_for_metrics inputs loss --metric_for_best_model log_loss "
    "--neftune_noise_alpha 5 --warmup_steps 0.5 --weight_decay 0.1 --logging_first_step --remove_unused_columns false "
    "--hub_always_push true --run_name a --project b",
    "--lr_scheduler_type reduce_lr_on_plateau --save_steps 2 --eval_accumulation_steps 1 --use_cache true "
    "--activation_checkpointing true --activation_checkpointing_kwargs '{\"use_reentrant\": true}' "
    "--train_sampling_strategy sequential --include_num_input_tokens_seen true --max_grad_norm 0.5 --data_seed 3",
    "--lr_scheduler_type greedy --eval_strategy steps --eval_delay 2 --logging_strategy epoch --log_level error "
    "--log_level_replica error --log_on_each_node false --skip_memory_metrics false --torch_empty_cache_steps 1 "
    "--gradient_checkpointing true --gradient_checkpointing_kwargs '{\"use_reentrant\": false}'",
    "--save_strategy best --optim sgd --optim_args momentum=0.9 --logging_strategy no --debug underflow_overflow "
    "--average_tokens_across_devices false --restore_callback_states_from_checkpoint true --greater_is_better true "
    "--logging_nan_inf_filter false --local_rank 0 --dataloader_pin_memory false --report_to all --tf32 false",
    "--save_strategy no --train_sampling_strategy batch_rebalance --full_determinism true --adam_beta1 0.8 "
    "--adam_beta2 0.9 --adam_epsilon 1e-6 --trackio_space_id a --trackio_bucket_id b --trackio_static_space_id c "
    "--dataloader_num_workers 1 --dataloader_persistent_workers true --dataloader_prefetch_factor 3 "
    "--dataloader_multiprocessing_context fork --do_train --do_eval --do_predict --label_names labels",
]
# Fields that other tests, or all of them, set: those of the Hub, of processes, of GPUs, and the most usual ones.
ELSEWHERE = {
    *("output_dir", "per_device_train_batch_size", "num_train_epochs", "max_steps", "learning_rate", "bf16", "fp16"),
    *("gradient_accumulation_steps", "label_smoothing_factor", "disable_tqdm", "logging_steps", "save_only_model"),
    *("per_device_eval_batch_size", "save_total_limit", "seed", "use_cpu", "load_best_model_at_end"),
    *("resume_from_checkpoint", "push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy"),
    *("hub_revision", "ddp_timeout", "fsdp", "deepspeed", "torch_compile", "torch_compile_backend"),
}
# Only handed on by Trainer, to PyTorch or to packages that are not installed: not run by any test.
HANDED_ON = {
    *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_backend", "fsdp_config"),
    *("torch_compile_mode", "optim_target_modules"),
}


def set_in(run: str) -> set[str]:
    """Fields that a run sets."""
    return {word[2:] for word in shlex.split(run) if word.startswith("--")}


def table() -> str:
    """The page of the docs."""
    lines = [
        "# TrainingArguments",
        "",
        "Every field of `transformers.TrainingArguments` is a flag of `hf_sentiment_ft.train`. This is what each does.",
        "The page is written by `python -m tests.config.test_training_arguments`; a test fails if a release of",
        "transformers has a field that is missing here.",
        "",
        "## What works",
        "",
        "As transformers documents it, with the default of this package. Values that cannot work on a machine, such as",
        "an optimizer or a tracker whose package is not installed, are refused before training.",
        "",
        "| field | default | here |",
        "|---|---|---|",
    ]
    defaults = {one.name: one.default for one in dataclasses.fields(TrainingArguments)} | TRAINING_DEFAULTS
    defaults |= {"use_cpu": "if there is no GPU"}
    for name, note in WORKS.items():
        default = "" if defaults[name] in (None, "") else str(getattr(defaults[name], "value", defaults[name]))
        notes = [note] * bool(note) + ["not run by a test"] * (name in HANDED_ON)
        lines.append(f"| `{name}` | {default} | {'; '.join(notes)} |")
    lines += ["", "## What is refused", "", "Anything but the default, before training.", ""]
    lines += ["| field | why, and what to do |", "|---|---|"]
    lines += [f"| `{name}` | {reason[0].upper()}{reason[1:]} |" for name, reason in REFUSED.items()]
    lines += ["", "## What has no effect", "", "| field | why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in NO_EFFECT.items()]
    return "\n".join(lines) + "\n"


def refusal(*argv: str) -> str:
    with pytest.raises(UsageError) as error:
        parse_train_arguments(list(argv))
    return str(error.value)


def test_every_field_is_in_one_table():
    placed = [*WORKS, *REFUSED, *NO_EFFECT]
    new, gone = sorted(set(FIELDS) - set(placed)), sorted(set(placed) - set(FIELDS))
    assert not new, f"transformers has new TrainingArguments: {new}; try each, and put it into a table of config/"
    assert not gone, f"transformers no longer has {gone}; take them out of config/training_arguments.py"
    assert len(placed) == len(set(placed))


def test_the_docs_are_the_tables():
    written = DOCS.read_text(encoding="utf-8")
    assert written == table(), "write it anew: python -m tests.config.test_training_arguments"


def test_what_works_is_run_by_a_test():
    run = set().union(*map(set_in, RUNS))
    assert set(WORKS) | set(NO_EFFECT) <= run | ELSEWHERE | HANDED_ON
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]
    assert [name for name in ELSEWHERE if not any(name in text for text in texts)] == []


@pytest.mark.parametrize("flags", RUNS)
def test_a_run_with_these_fields(flags: str, tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    from hf_sentiment_ft.train import run

    monkeypatch.chdir(tmp_path)
    given = f"--model_name_or_path {tiny_gpt2} --dataset_name {REVIEWS} --use_cpu --max_steps 4 --disable_tqdm true "
    given += "--max_train_samples 32 --max_eval_samples 8 --max_test_samples 8 --zero_shot_baseline false "
    try:
        run(parse_train_arguments(shlex.split(given + flags)))
    finally:
        torch.use_deterministic_algorithms(False)  # as --full_determinism leaves it
        torch.set_anomaly_enabled(False)
    results = json.loads((tmp_path / "output" / "all_results.json").read_text())
    always = set(METRICS) - {"mean_absolute_error", "soft_log_loss", "unconstrained_generation_accuracy"}
    assert {f"eval_{name}" for name in always} <= set(results), "what a checkpoint may be chosen by is computed"


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused_with_the_cure(name: str):
    values = dict.fromkeys(("do_train", "do_eval", "do_predict", "eval_do_concat_batches"), "false")
    values |= dict.fromkeys(("accelerator_config", "parallelism_config", "liger_kernel_config"), "{}")
    values |= {"dataloader_in_order": "false", "label_names": "x", "length_column_name": "x"}
    message = refusal(f"--{name}={values.get(name, 'true')}")
    assert message.startswith(f"--{name} is ")
    assert message.endswith(f", but {REFUSED[name]}")
    assert "Remove it" in message or "Use " in message


def test_not_to_train_names_the_command_that_does_not(tmp_path: Path):
    assert "Use python -m hf_sentiment_ft.evaluate" in refusal("--do_train", "false")
    assert parse_train_arguments(["--do_train", "false"], "evaluate").training.do_train is False
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("do_train: no")
    assert "Use python -m hf_sentiment_ft.evaluate" in refusal(str(recipe))


@pytest.mark.parametrize("scheduler", [kind.value for kind in SchedulerType])
def test_a_scheduler_gets_the_arguments_that_it_needs(scheduler: str):
    flags = ["--lr_scheduler_type", scheduler]
    if scheduler in SCHEDULER_ARGUMENTS:
        message = refusal(*flags)
        assert message.startswith(f"--lr_scheduler_type {scheduler} cannot be used here: ")
        assert f"--lr_scheduler_kwargs '{SCHEDULER_ARGUMENTS[scheduler]}'" in message
        flags += ["--lr_scheduler_kwargs", SCHEDULER_ARGUMENTS[scheduler]]
    assert parse_train_arguments(flags).training.lr_scheduler_type == scheduler


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--metric_for_best_model f1", "--metric_for_best_model is 'f1'; expected one of accuracy, f1_macro, "),
        ("--report_to wandb", "--report_to wandb cannot be used here: WandbCallback requires wandb to be installed."),
        ("--report_to tensorboard mlflow", "--report_to mlflow cannot be used here: "),
        ("--report_to paper", "--report_to paper cannot be used here: paper is not supported, only azure_ml, "),
        ("--optim adamw_torch_8bit", "--optim adamw_torch_8bit cannot be used here: You need to have `torchao"),
        ("--optim schedule_free_adamw", "Install it with `pip install schedulefree"),
        ("--optim adamw_torch_xla", "--optim adamw_torch_xla cannot be used here: "),
        ("--optim galore_adamw_layerwise", "--optim is galore_adamw_layerwise, which changes the weights during each"),
        ("--optim adalomo", "--optim is adalomo, which changes the weights during each backward pass"),
        ("--optim sgd --optim_args fast", "--optim sgd with --optim_args fast cannot be used here: "),
        (
            "--lr_scheduler_kwargs '{\"turns\": 2}'",
            'linear with --lr_scheduler_kwargs {"turns": 2} cannot be used here: ',
        ),
        ("--lr_scheduler_kwargs '{turns: 2}'", "--lr_scheduler_kwargs is {turns: 2}, which is not JSON: "),
        ("--lr_scheduler_kwargs 2", "--lr_scheduler_kwargs is 2; expected a JSON object"),
        ("--deepspeed none.json", "--deepspeed is none.json, which is not a file"),
        ("--fsdp_config none.json", "--fsdp_config is none.json, which is not a file"),
        ("--debug nothing", "argument --debug: invalid DebugOption value: 'nothing'"),
        ("--dataloader_persistent_workers true", "--dataloader_persistent_workers True cannot be used here: "),
        ("--dataloader_multiprocessing_context spawn", "Set --dataloader_num_workers to at least 1"),
        ("--dataloader_prefetch_factor 2", "--dataloader_prefetch_factor can only be set when data is loaded in a"),
        ("--torch_compile_backend brush", "--torch_compile_backend brush cannot be used here: "),
        ("--torch_compile_mode brush", "Unrecognized mode=brush, should be one of: default"),
        (
            "--gradient_checkpointing --gradient_checkpointing_kwargs '{\"often\": true}'",
            "--gradient_checkpointing_kwargs cannot be used here: ",
        ),
        ("--ddp_backend gloo", "--ddp_backend is gloo, but only one process was started"),
        (
            "--label_names sentiment",
            "--label_names is ['sentiment'], but the labels' column in a batch is named labels",
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused(flags: str, message: str):
    assert message in refusal(*shlex.split(flags))


def test_an_optimizer_whose_package_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Of those that a step was tried with, all others are installed."""
    monkeypatch.setattr("transformers.trainer_optimizer.is_bitsandbytes_available", lambda: False)
    message = refusal("--optim", "adamw_bnb_8bit")
    assert message.startswith("--optim adamw_bnb_8bit cannot be used here: You need to install `bitsandbytes`")
    assert parse_train_arguments(["--optim", "adamw_bnb_8bit"], "evaluate").training.optim == "adamw_bnb_8bit"


@pytest.mark.parametrize(
    ("flags", "eval_strategy", "eval_steps", "save_strategy", "save_steps", "best"),
    [
        ("", "epoch", None, "epoch", 500, True),
        ("--save_strategy steps", "steps", 20, "steps", 500, True),
        ("--eval_strategy steps", "steps", 20, "steps", 500, True),
        ("--save_steps 30", "steps", 30, "steps", 30, True),
        ("--eval_steps 30", "steps", 30, "steps", 30, True),
        ("--eval_steps 0.1", "steps", 0.1, "steps", 0.1, True),
        ("--eval-steps=30", "steps", 30, "steps", 30, True),
        ("--eval_steps 30 --save_steps 60", "steps", 30, "steps", 60, True),
        ("--save_strategy steps --eval_steps 30", "steps", 30, "steps", 30, True),
        ("--save_steps 30 --eval_strategy epoch --load_best_model_at_end false", "epoch", None, "steps", 30, False),
        ("--save_strategy best", "epoch", None, "best", 500, True),
        ("--save_strategy no", "epoch", None, "no", 500, False),
        ("--eval_strategy no", "no", None, "epoch", 500, False),
    ],
)
def test_defaults_follow_what_was_asked(flags, eval_strategy, eval_steps, save_strategy, save_steps, best):
    args = parse_train_arguments(flags.split()).training
    assert (args.eval_strategy.value, args.eval_steps) == (eval_strategy, eval_steps)
    assert (args.save_strategy.value, args.save_steps) == (save_strategy, save_steps)
    assert args.load_best_model_at_end is best


@pytest.mark.parametrize(
    "flags",
    [
        "--eval_strategy steps --save_strategy epoch",
        "--eval_strategy epoch --save_steps 9",
        "--save_strategy no --load_best_model_at_end",
        "--eval_strategy no --save_strategy no --load_best_model_at_end true",
    ],
)
def test_what_contradicts_itself_is_refused(flags: str):
    message = refusal(*flags.split())
    assert message.startswith("--eval_strategy is ")
    assert message.endswith("Use the same for both, or add --load_best_model_at_end false.")


def test_steps_that_do_not_fit_are_refused_by_the_whole_message():
    message = refusal("--eval_steps", "20", "--save_steps", "30")
    assert message.startswith("--load_best_model_at_end requires the saving steps to be a round multiple of the eval")
    assert message.endswith("but found 30, which is not a round multiple of 20.")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--save_steps 1.5", "--save_steps is 1.5; expected a number of steps, or a share of all steps below 1."),
        ("--eval_steps 0", "--eval_steps is 0.0; expected a number of steps, or a share"),
        ("--logging_steps nan", "--logging_steps is nan; expected a number"),
        ("--adam_beta1 1", "--adam_beta1 is 1.0; expected at least 0 and less than 1."),
        ("--adam_beta2 nan", "--adam_beta2 is nan; expected at least 0"),
        ("--label_smoothing_factor 1", "--label_smoothing_factor is 1.0; expected at least 0 and less than 1."),
        ("--seed -1", "--seed is -1; expected 0 to 4294967295."),
        ("--report_to none tensorboard", "--report_to is none tensorboard; expected none or all alone"),
        ("--output_dir=", "--output_dir is empty. Pass a value, or remove the flag."),
        ("--resume_from_checkpoint=", "--resume_from_checkpoint is empty. Pass"),
        ("--train_file=", "--train_file is empty. Pass"),
        ("--model_name_or_path=", "--model_name_or_path is empty. Pass"),
        (
            "--metric_for_best_model loss --greater_is_better true",
            "--greater_is_better is True, which would keep the worst checkpoint by loss. Remove it.",
        ),
    ],
)
def test_values_without_sense_are_refused_under_the_name_that_was_given(flags: str, message: str):
    assert refusal(*flags.split()).startswith(message)


@pytest.mark.parametrize(("metric", "greater"), METRICS.items())
def test_less_is_better_for_losses_and_errors(metric: str, greater: bool):
    assert parse_train_arguments(["--metric_for_best_model", metric]).training.greater_is_better is greater


def test_the_tables_name_no_default_of_their_own():
    assert set(training_arguments.USUAL) <= set(REFUSED)


if __name__ == "__main__":
    DOCS.write_text(table(), encoding="utf-8")
