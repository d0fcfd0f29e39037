"""Search spaces: what is searched by default, and what a file may say."""

from pathlib import Path

import pytest

from hf_sentiment_ft import tune
from hf_sentiment_ft.config.command_line import train_parser
from hf_sentiment_ft.tuning.space import default_space, include_given, read_space, wrap


def read(tmp_path: Path, text: str, **given: object):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    known = [action.dest for action in train_parser()._actions]
    return read_space(path, lambda values: tune.parse(given | values), known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lerning_rate: [1e-5, 1e-4, log]",
            "searches lerning_rate, which is not a flag; did you mean --learning_rate?",
        ),
        ("seed: [1, 2, 3]", "not in the rows, the metric or the seed"),
        ("max_train_samples: [10, 20]", "set --max_train_samples on the command line"),
        ("learning_rate: []", "learning_rate is []; expected a list of values or a range"),
        ("learning_rate: 1e-4", "expected a list of values or a range"),
        ("learning_rate: [1e-5, log]", "expected two numbers before log"),
        ("learning_rate: [1e-4, 1e-5, log]", "which is not a range"),
        ("weight_decay: [0, 0.1, log]", "which is not a range"),
        ("weight_decay: [0, much]", "invalid float value: 'much'"),
        ("per_device_train_batch_size: [0, 8]", "--per_device_train_batch_size is 0; expected at least 1"),
        ("lora_r: [8, 32]", "--lora_r requires --use_peft"),
        ("", "is empty; expected lines of the form learning_rate: [1e-5, 2e-4, log]"),
        ("- learning_rate", "contains list"),
    ],
)
def test_a_wrong_space_is_refused(text: str, message: str, tmp_path: Path):
    with pytest.raises(tune.UsageError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value)


def test_values_have_the_types_of_their_flags_and_include_what_was_given(tmp_path: Path):
    text = "weight_decay: [0, 0.1]\nlora_r: [4, 64, log]\nlabel_words: [auto, {pos: ' good', neg: ' bad'}]\n"
    text += "label_descriptions: [null, {pos: '1.10'}]\n"
    space = read(tmp_path, text, use_peft=True)
    included, first = include_given(space, tune.parse({"use_peft": True, "lora_r": 128}))
    assert included["weight_decay"].choices == (0.01, 0.0, 0.1)
    assert included["label_words"].choices == (None, "auto", '{"pos": " good", "neg": " bad"}')
    assert (included["lora_r"].low, included["lora_r"].high, included["lora_r"].log) == (4, 64, True)
    assert included["label_descriptions"].choices == (None, '{"pos": "1.10"}')
    assert first == {"weight_decay": 0.01, "lora_r": 128, "label_words": None, "label_descriptions": None}


def test_a_flag_that_is_given_is_not_searched():
    flags = tune.parse({"learning_rate": 1e-3, "max_steps": 10})
    space = default_space(flags, {"learning_rate", "max_steps"})
    assert not {"learning_rate", "num_train_epochs", "lora_r"} & set(space)
    lora = default_space(tune.parse({"use_peft": True}), {"use_peft"})
    assert lora["learning_rate"].low < 2e-4 < lora["learning_rate"].high
    assert "lora_r" in lora


def test_values_fit_80_columns_and_no_value_can_play_tricks():
    values = {"learning_rate": 0.000123456, "prompt_template": "\x1b[31m{text}\n" + "word " * 30 + "{label_word}"}
    lines = wrap(values, "  ")
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("  learning_rate 0.000123, prompt_template '")
    assert "\x1b" not in "".join(lines)
