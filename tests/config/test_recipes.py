"""What is written in a recipe arrives, typed by its flag."""

from pathlib import Path
from typing import Any

import pytest

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.config.recipes import to_flags
from hf_sentiment_ft.errors import UsageError


def parse(folder: Path, text: str) -> dict[str, Any]:
    """All values that come of a recipe."""
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return {name: value for group in parse_train_arguments([str(path)]) for name, value in vars(group).items()}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("language: no", "no"),
        ("label_column_name: on", "on"),
        ("text_column_name: y", "y"),
        ("hub_tag: 1.10", "1.10"),
        ("hub_tag: 2024-01-02", "2024-01-02"),
        ("model_revision: 0123456", "0123456"),
        ("model_revision: 12e4567", "12e4567"),
        ("dataset_revision: 1_000", "1_000"),
        ("dataset_config_name: 12:30:45", "12:30:45"),
        ("dataset_name: 'null'", "null"),
        ("prompt_template: ''", ""),
        ("run_name: true", "true"),
        ("label_words: no,yes", "no,yes"),
        ("label_words: {no: bad, yes: good}", '{"no": "bad", "yes": "good"}'),
        ("label_words: {01: bad, 02: [good, 1.50]}", '{"01": "bad", "02": ["good", "1.50"]}'),
        ("label_words: [off, on]", '["off", "on"]'),
        ("label_words: {null: none, 1: 2024}", '{"null": "none", "1": "2024"}'),
        ("learning_rate: 1e-4", 1e-4),
        ("seed: 010", 10),
        ("zero_shot_baseline: no", False),
        ("bf16_full_eval: no", False),
        ("lora_target_modules: [no, q_proj]\nuse_peft: yes", ["no", "q_proj"]),
        ("lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1e-6}", {"min_lr": 1e-6}),
        ("gradient_checkpointing_kwargs: {use_reentrant: false}", {"use_reentrant": False}),
        ("report_to: [none]", []),
        ("optim_target_modules: all-linear", "all-linear"),
        ("optim_target_modules: [attn, mlp]", ["attn", "mlp"]),
    ],
)
def test_what_is_written_arrives(line: str, value: Any, tmp_path: Path):
    assert parse(tmp_path, line)[line.splitlines()[-1 if "lr_" in line else 0].partition(":")[0]] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nlearning_rate: 1\nseed: 2", "sets seed twice; keep one of the lines"),
        ("label_words: {a: x, b: y, a: z}", "sets a twice; keep one of the lines"),
        ("seed: yes", "argument --seed: invalid int value: 'yes'"),
        ("use_cpu: on", "Truthy value expected: got on but expected one of yes/no"),
        ("a: [1\nb: 2", "expected ',' or ']', but got ':'"),
        ("modl: gpt2", "unknown flag --modl; did you mean --model_name_or_path?"),
    ],
)
def test_a_recipe_that_cannot_be_meant(text: str, message: str, tmp_path: Path):
    with pytest.raises(UsageError) as error:
        parse(tmp_path, text)
    assert message in str(error.value)


def test_lines_in_common_may_be_merged(tmp_path: Path):
    recipe = "label_words: &words {a: x}\n<<: {seed: 3, max_steps: 5}\nseed: 4"
    values = parse(tmp_path, recipe)
    assert (values["seed"], values["max_steps"]) == (4, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# seed: 1", "is empty"),
        ("label_words: &words [*words]", "recursive"),
        ("label_words: &words {a: *words}", "recursive"),
        ("seed: !!int x", "could not determine a constructor for the tag"),
        ("label_words: !!set {a, b}", "could not determine a constructor for the tag"),
        ("fsdp_config: {a: {b: 1, b: 2}}", "sets b twice; keep one of the lines"),
        ("label_words: [{a: 1, a: 2}]", "sets a twice; keep one of the lines"),
    ],
)
def test_a_recipe_with_what_no_flag_can_mean(text: str, message: str, tmp_path: Path):
    with pytest.raises(UsageError) as error:
        parse(tmp_path, text)
    assert message in str(error.value)


def test_values_from_python_become_flags():
    """Lists are several words, as `--lora_target_modules q_proj v_proj` has them, but label words are JSON."""
    values = {
        "lora_target_modules": ["q_proj", "v_proj"],
        "label_words": [" no", " yes"],
        "seed": None,
        "use_peft": True,
    }
    expected = ["--lora_target_modules", "q_proj", "v_proj", '--label_words=[" no", " yes"]', "--use_peft=True"]
    assert to_flags(values | {"lr_scheduler_kwargs": {"power": 2.0}}) == [
        *expected,
        '--lr_scheduler_kwargs={"power": 2.0}',
    ]
