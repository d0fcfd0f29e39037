"""One name for all commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_sentiment_ft import __version__
from hf_sentiment_ft.__main__ import COMMANDS

from .conftest import ROOT


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hf_sentiment_ft", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)


@pytest.mark.parametrize("asked", [[], ["--help"]], ids=["nothing", "help"])
def test_all_commands_are_listed_within_80_columns(asked: list[str]):
    done = run(*asked)
    assert done.returncode == 0
    for name, purpose in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, purpose] for line in done.stdout.splitlines())
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_command_gets_its_flags():
    done = run("text-classification", "--help")
    assert "folder of the run" in done.stdout, done.stderr
    done = run("paths", "multi_gpu")
    assert Path(done.stdout.strip()).is_file()
    done = run("predict", "--model", "nowhere", "--batch_size", "0", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --batch_size is 0; expected at least 1.")


@pytest.mark.parametrize(
    ("name", "cure"), [("trian", "did you mean train?"), ("fly", "expected one of: train, tune, evaluate, ")]
)
def test_an_unknown_command_suggests_one(name: str, cure: str):
    done = run(name)
    assert done.returncode == 2
    assert f"error: no command is named {name}; {cure}" in done.stderr


def test_env_says_what_a_bug_report_needs_and_no_secret():
    done = run("env", HF_HUB_OFFLINE="1", HF_TOKEN="hf_secret")
    assert f"- hf_sentiment_ft: {__version__}" in done.stdout, done.stderr
    for name in ("Python", "torch", "transformers", "CPU", "GPUs"):
        assert f"- {name}: " in done.stdout
    assert "- HF_HUB_OFFLINE: 1" in done.stdout
    assert "hf_secret" not in done.stdout + done.stderr
