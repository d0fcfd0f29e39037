"""What --help and --help_all print, and the script that completes flags."""

import dataclasses
import subprocess
from pathlib import Path

import pytest
from transformers import TrainingArguments

from hf_sentiment_ft.__main__ import COMMANDS
from hf_sentiment_ft.completion import script
from hf_sentiment_ft.config.arguments import OURS
from hf_sentiment_ft.config.help import COMMON, exit_with_help, transformers_flags
from hf_sentiment_ft.config.training_arguments import REFUSED
from hf_sentiment_ft.config.tune_arguments import TuneArguments


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What a command prints for a flag on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(command: str, flag: str) -> str:
        with pytest.raises(SystemExit) as end:
            exit_with_help(command, ["--seed", "1", flag])
        assert not end.value.code
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("command", ["train", "tune", "evaluate"])
def test_help_is_one_screen_of_flags_that_exist(command: str, printed):
    text = printed(command, "--help")
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 80
    assert r"'\n{text}\nSentiment:{label_word}'" in text, "a default as one would type it"
    assert "None" not in text
    existing = {one.name for group in (*OURS, TuneArguments, TrainingArguments) for one in dataclasses.fields(group)}
    assert {name for _, flags in COMMON[command].values() for name in flags} <= existing
    for example, _ in COMMON[command].values():
        assert {word[2:] for word in example.split() if word.startswith("--")} <= existing


def test_help_all_has_every_flag(printed):
    text = printed("train", "--help_all")
    assert max(map(len, text.splitlines())) <= 80
    names = {one.name for group in (*OURS, TrainingArguments) for one in dataclasses.fields(group) if one.init}
    assert {name for name in names if f"--{name}" not in text} <= set(REFUSED)
    assert "(default: 16)" in text, "of --per_device_train_batch_size here"


def test_the_source_of_transformers_is_read_right():
    fields = {one.name: one for one in dataclasses.fields(TrainingArguments) if one.init}
    flags = transformers_flags()
    assert {name: text for name, (text, _) in flags.items()} == {
        name: one.metadata["help"] for name, one in fields.items()
    }
    computed = {"optim", "include_for_metrics"}
    assert {name for name, (_, default) in flags.items() if default != fields[name].default} <= computed


def test_bash_completes_commands_flags_and_values(tmp_path: Path):
    """In a real bash, by the function that it calls at TAB."""
    (tmp_path / "script").write_text(script("bash", COMMANDS))
    (tmp_path / "tickets.csv").touch()

    def completed(*words: str) -> list[str]:
        call = '. ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
        call += '$(complete -p "$1" | sed "s/.*-F \\([^ ]*\\).*/\\1/") "$1"; printf "%s\\n" "${COMPREPLY[@]}"'
        command = ["bash", "--norc", "-O", "extglob", "-c", call, "bash", "hf-sentiment-ft", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.split()

    assert completed("pre") == ["predict"]
    assert completed("train", "--num_train_e") == ["--num_train_epochs"]
    assert completed("train", "--use_peft", "--hub_mo") == ["--hub_model_id"], "a switch takes no value"
    assert completed("train", "--train_file", "tick") == ["tickets.csv"]
    assert completed("predict", "--precision", "") == ["fp32", "bf16"]
    assert completed("paths", "multi_g") == ["multi_gpu"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_flags(shell: str):
    text = script(shell, COMMANDS)
    assert "max_seq_length" in text
    assert all(command in text for command in COMMANDS)
