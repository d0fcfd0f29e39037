"""Recipes and flags, and what is said when they do not fit."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hf_sentiment_ft.config.arguments import TRAINING_DEFAULTS, DataArguments, ModelArguments
from hf_sentiment_ft.config.command_line import parse_train_arguments, resolve_precision
from hf_sentiment_ft.errors import UsageError

from ..conftest import ROOT


@pytest.fixture
def recipe(tmp_path: Path):
    """Write a recipe and return its path as a command-line word."""

    def write(text: str | bytes) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def parse(*argv: str) -> SimpleNamespace:
    """The parsed arguments by their kind."""
    found = {type(one).__name__.removesuffix("Arguments").lower(): one for one in parse_train_arguments(list(argv))}
    return SimpleNamespace(**found)


def refusal(*argv: str) -> str:
    with pytest.raises(UsageError) as error:
        parse_train_arguments(list(argv))
    return str(error.value)


def test_flags_win_over_the_recipe(recipe):
    path = recipe("max_seq_length: 40\nlearning_rate: 3e-4\nnum_train_epochs: 2\n")
    parsed = parse(path, "--max_seq_length", "50", "--num_train_epochs=5")
    assert parsed.model.max_seq_length == 50
    assert parsed.training.num_train_epochs == 5
    assert parsed.training.learning_rate == pytest.approx(3e-4), "what no flag names is the recipe's"


def test_recipe_sets_fields_of_every_kind(recipe):
    path = recipe(
        "model_name_or_path: my/model\ntest_split_percentage: 20\noverwrite_output_dir: true\npush_to_hub: no\n"
        "load_best_model_at_end: false\nhub_timeout: 9\nmax_train_samples: 7\n"
    )
    parsed = parse(path)
    assert parsed.model.model_name_or_path == "my/model"
    assert (parsed.data.test_split_percentage, parsed.data.max_train_samples) == (20, 7)
    assert parsed.run.overwrite_output_dir is True
    assert parsed.hub.hub_timeout == 9
    assert (parsed.training.push_to_hub, parsed.training.load_best_model_at_end) == (False, False)


def test_lists_and_mappings_in_a_recipe(recipe):
    path = recipe(
        "label_words: {neg: bad, 'pos': très bien}\nlr_scheduler_type: cosine\nlr_scheduler_kwargs: {num_cycles: 2}\n"
    )
    parsed = parse(path)
    assert parsed.model.label_words == '{"neg": "bad", "pos": "très bien"}'
    assert parsed.training.lr_scheduler_kwargs == {"num_cycles": 2}
    assert parse(recipe("label_words: [a, b]")).model.label_words == '["a", "b"]'


def test_list_for_a_flag_of_several_values(recipe):
    args = parse(recipe("include_for_metrics: [inputs, loss]\nlabel_names: [labels]\n")).training
    assert args.include_for_metrics == ["inputs", "loss"]
    assert args.label_names == ["labels"]


def test_null_leaves_the_default(recipe):
    path = recipe("prompt_template: null\nmax_train_samples: ~\nlearning_rate:\n")
    parsed = parse(path)
    assert parsed.model.prompt_template == ModelArguments().prompt_template
    assert parsed.data.max_train_samples is None
    assert parsed.training.learning_rate == pytest.approx(5e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "contains list; expected lines of the form name: value"),
        ("", "is empty; expected"),
        ("just words", "contains str; expected"),
        ("label_words: [a\n", "cannot read the recipe"),
        ("learnin_rate: 1\n", "unknown flag --learnin_rate; did you mean --learning_rate?"),
        ("num_train_epochs: many\n", "--num_train_epochs"),
        (b"prompt_template: caf\xe9 {text}", "cannot read the recipe"),
    ],
)
def test_recipe_that_cannot_be_used(recipe, text: str | bytes, message: str):
    assert message in refusal(recipe(text))


def test_missing_recipe_is_named(tmp_path: Path):
    assert f"cannot read the recipe {tmp_path / 'none.yaml'}" in refusal(str(tmp_path / "none.yaml"))
    assert "cannot read the recipe" in refusal(str(tmp_path))


def test_unknown_flag_suggests_the_nearest():
    assert refusal("--max_seq_lenght", "9") == "unknown flag --max_seq_lenght; did you mean --max_seq_length?"
    assert refusal("--max_seq_lenght=9").endswith("did you mean --max_seq_length?")
    assert refusal("--qqqqqqqqq").endswith("unknown flag --qqqqqqqqq; see --help.")
    assert "stray" in refusal("--seed", "1", "stray")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_seq_length", "3"], "--max_seq_length is 3; expected at least 4"),
        (["--max_train_samples", "0"], "--max_train_samples is 0; expected at least 1"),
        (["--max_eval_samples", "-1"], "--max_eval_samples is -1"),
        (["--max_test_samples", "0"], "--max_test_samples is 0"),
        (["--preprocessing_num_workers", "0"], "--preprocessing_num_workers is 0"),
        (["--test_split_percentage", "51"], "--test_split_percentage is 51; expected 0 to 50"),
        (["--validation_split_percentage", "-1"], "--validation_split_percentage is -1; expected 0 to 50"),
        (
            ["--validation_split_percentage", "0"],
            "--validation_split_percentage is 0; expected at least 1, to choose the best checkpoint",
        ),
        (["--hub_timeout", "0"], "--hub_timeout is 0; expected at least 1"),
        (["--precision", "fp16"], "--precision is 'fp16'; expected one of auto, fp32, bf16"),
        (["--dtype", "int8"], "--dtype is 'int8'; expected one of float32, bfloat16, float16"),
        (["--truncation_side", "middle"], "--truncation_side is 'middle'; expected one of left, right"),
        (["--learning_rate", "fast"], "--learning_rate"),
        (["--learning_rate=-1e-5"], "--learning_rate is -1e-05; expected 0 to 1000"),
        (["--learning_rate", "nan"], "--learning_rate is nan"),
        (["--per_device_train_batch_size", "0"], "--per_device_train_batch_size is 0; expected at least 1"),
        (["--per_device_eval_batch_size", "-8"], "--per_device_eval_batch_size is -8"),
        (["--gradient_accumulation_steps", "0"], "--gradient_accumulation_steps is 0"),
        (["--num_train_epochs", "-1"], "--num_train_epochs is -1.0; expected more than 0"),
        (["--num_train_epochs", "0"], "--num_train_epochs is 0.0"),
        (["--num_train_epochs", "inf"], "--num_train_epochs is inf"),
        (["--max_steps", "0"], "--max_steps is 0; expected at least 1"),
        (["--label_smoothing_factor", "2"], "--label_smoothing_factor is 2.0; expected 0 to 1"),
        (["--weight_decay", "-0.1"], "--weight_decay is -0.1"),
        (["--max_grad_norm", "-1"], "--max_grad_norm is -1.0"),
        (["--adam_beta2", "1.5"], "--adam_beta2 is 1.5"),
        (["--save_total_limit", "0"], "--save_total_limit is 0"),
        (["--dataloader_num_workers", "-1"], "--dataloader_num_workers is -1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--ddp_timeout", "0"], "--ddp_timeout is 0; expected at least 1"),
        (["--dataloader_prefetch_factor", "0", "--dataloader_num_workers", "1"], "--dataloader_prefetch_factor is 0"),
        (["--bf16", "--precision", "fp32"], "--bf16 and --precision fp32 are both given"),
        (["--fp16", "--use_cpu"], "--fp16 needs a GPU"),
        (["--bf16_full_eval", "true"], "--bf16_full_eval is given"),
        (["--save_strategy", "no", "--load_best_model_at_end"], "--load_best_model_at_end"),
        (["--eval_strategy", "often"], "--eval_strategy"),
        (["--dataset_name", "x", "--train_file", "a.csv"], "--dataset_name and --train_file are both given"),
        (["--test_file", "a.csv"], "require --train_file, which is missing"),
        (["--validation_file", "a.csv", "--dataset_name", "x"], "require --train_file, which is missing"),
    ],
)
def test_value_that_does_not_fit_names_its_flag(flags: list[str], message: str):
    assert message in refusal(*flags)


def test_mixed_precision_of_the_launch_configuration_is_precision(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    parsed = parse("--use_cpu")
    assert (parsed.model.precision, parsed.training.mixed_precision, parsed.training.bf16) == ("bf16", "no", False)
    assert "mixed_precision bf16 of the launch configuration and --precision fp32" in refusal("--precision", "fp32")


def test_limits_themselves_are_allowed():
    parsed = parse("--max_seq_length", "4", "--max_train_samples", "1", "--test_split_percentage", "50")
    assert (parsed.model.max_seq_length, parsed.data.max_train_samples) == (4, 1)
    assert parsed.data.test_split_percentage == 50
    assert DataArguments(test_split_percentage=0).test_split_percentage == 0


@pytest.mark.parametrize("template", [r"{text}\n\tIs it good?{label_word}", "{text}\n\tIs it good?{label_word}"])
def test_backslash_n_in_the_prompt_template_is_a_line_break(template: str):
    assert parse("--prompt_template", template).model.prompt_template == "{text}\n\tIs it good?{label_word}"


DASHES = [
    ("label_words", "-1,+1 star"),
    ("label_words", "-bad,+good"),
    ("prompt_template", "--- {text} ---{label_word}"),
]


@pytest.mark.parametrize(("name", "value"), DASHES)
def test_value_may_begin_with_a_dash(name: str, value: str):
    assert getattr(parse(f"--{name}={value}").model, name) == value


@pytest.mark.parametrize(("name", "value"), DASHES)
def test_value_in_a_recipe_may_begin_with_a_dash(recipe, name: str, value: str):
    assert getattr(parse(recipe(f"{name}: '{value}'")).model, name) == value


def test_data_default_holds_only_without_files():
    assert parse().data.dataset_name == "cornell-movie-review-data/rotten_tomatoes"
    data_args = parse("--train_file", "a.csv", "--test_file", "b.csv").data
    assert (data_args.dataset_name, data_args.name) == (None, "a.csv")


@pytest.mark.parametrize(("name", "value"), TRAINING_DEFAULTS.items())
def test_own_training_defaults_arrive(name: str, value: Any):
    from transformers import TrainingArguments

    arrived = getattr(parse().training, name)
    assert arrived == ([] if name == "report_to" else value)
    assert name in ("output_dir", "report_to") or getattr(TrainingArguments(output_dir="x"), name) != arrived


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("train", ["--max_seq_length", "--dataset_name", "--overwrite_output_dir", "--learning_rate", "auto"]),
        ("predict", ["--model", "--input_file", "--batch_size"]),
        ("publish", ["--hub_model_id"]),
        ("paths", ["multi_gpu", "tutorial"]),
    ],
)
def test_help_answers_without_heavy_imports(module: str, words: list[str]):
    program = (
        f"import sys; sys.argv = ['x', '--help']; from hf_sentiment_ft import {module}\n"
        f"try: {module}.main()\nexcept SystemExit as end: assert not end.code\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'evaluate', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    assert "HEAVY []" in printed.stdout
    for word in words:
        assert word in printed.stdout


def test_gradients_of_float16_weights_cannot_be_scaled():
    """Found out only in the first step otherwise, by GradScaler."""
    args = SimpleNamespace(bf16_full_eval=False, fp16_full_eval=False, mixed_precision="fp16", fp16=True)
    args.deepspeed_plugin = None
    args.device = torch.device("cuda")
    with pytest.raises(UsageError, match="--fp16 and --dtype float16 are both given"):
        resolve_precision(args, ModelArguments(dtype="float16"))
    model_args = ModelArguments()
    resolve_precision(args, model_args)
    assert dataclasses.replace(model_args, label_words=" a, b").precision == "fp16", "it stays so in the task"


def test_a_configuration_for_the_cpu_keeps_to_it_beside_a_gpu(monkeypatch: pytest.MonkeyPatch):
    """By the variable that the launcher sets for cpu.yaml."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert not parse_train_arguments([])[-1].use_cpu
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert parse_train_arguments([])[-1].use_cpu
