"""The command-line reference, from the dataclasses of the flags and from the commands' own `--help`."""

import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from importlib import import_module
from unittest import mock

from hf_sentiment_ft.__main__ import COMMANDS
from hf_sentiment_ft.config.arguments import TRAINING_DEFAULTS
from hf_sentiment_ft.config.command_line import OURS


def reference() -> str:
    """Return the flags of training, each with an address of its own, and the help of all other commands."""
    parts = ["", "## train", "", "```{program} train", "```"]
    for group in OURS:
        parts += ["", f"### {group.__doc__}".removesuffix("."), ""]
        for one in dataclasses.fields(group):
            default = one.default if isinstance(one.default, str) else json.dumps(one.default)
            shown = "" if one.default is None else f" Default: `{_on_one_line(default)}`."
            text = re.sub(r"([\\`*_{}\[\]<>$])", r"\\\1", _on_one_line(one.metadata["help"]))
            parts += [f"````{{option}} --{one.name}", text + shown, "````", ""]
    parts += ["### Fields of TrainingArguments", ""]
    parts += ["Every one is a flag; [TrainingArguments](training_arguments.md) says what each does here.", ""]
    parts += ["Defaults that differ from those of transformers: "]
    parts += [", ".join(f"`--{name} {value}`" for name, value in TRAINING_DEFAULTS.items()) + "."]
    for name in COMMANDS:
        if name != "train":
            parts += ["", f"## {name}", "", "````text", help_of(name), "````"]
    return "\n".join(parts) + "\n"


def help_of(command: str) -> str:
    """Return what a command prints for `--help`, without its start."""
    module = import_module(f"hf_sentiment_ft.{command}")
    printed = io.StringIO()
    with (
        mock.patch.object(sys, "argv", [command, "--help"]),
        mock.patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    return printed.getvalue().rstrip()


def _on_one_line(text: str) -> str:
    return text.replace("\n", "\\n")
