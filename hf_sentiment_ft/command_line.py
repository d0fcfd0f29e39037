"""How a YAML file and the command line become the arguments of a run.

Everything heavy is imported where it is used, so that `--help` answers at once.
"""

import argparse
import dataclasses
import difflib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import TRAINING_DEFAULTS, DataArguments, HubArguments, ModelArguments, RunArguments
from .errors import UsageError

if TYPE_CHECKING:
    from transformers import TrainingArguments


def yaml_to_flags(path: Path, several: frozenset[str] = frozenset()) -> list[str]:
    """Read a recipe and return it as command-line flags, so that flags given after it win over it.

    Args:
        path: A YAML file with one mapping from flag names (without dashes) to values; null leaves the default.
        several: Names of the flags that take several values; other lists and mappings become JSON.

    Raises:
        UsageError: If the file is missing or is not such a mapping.
    """
    import yaml

    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from error
    if not isinstance(recipe, dict):
        raise UsageError(f"the recipe {path} holds {type(recipe).__name__}; expected lines of the form name: value.")
    flags: list[str] = []
    for name, value in recipe.items():
        if name in several and isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:  # with =, since a value may begin with a dash
            is_json = isinstance(value, list | dict)
            flags.append(f"--{name}={json.dumps(value, ensure_ascii=False) if is_json else value}")
    return flags


def print_help(command: str, *arguments: Any) -> None:
    """Print our own flags and where to find the others, without importing anything heavy."""
    parser = argparse.ArgumentParser(
        prog=f"python -m hf_sentiment_ft.{command}",
        usage="%(prog)s [RECIPE.yaml] [--flag value ...]",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Every field of transformers.TrainingArguments is a flag too (--learning_rate, --num_train_epochs, "
        "--push_to_hub, --hub_model_id, --resume_from_checkpoint, ...). Defaults that differ from its own: "
        + ", ".join(f"{name} {value}" for name, value in TRAINING_DEFAULTS.items())
        + ".",
    )
    for dataclass_type in arguments:
        group = parser.add_argument_group(dataclass_type.__doc__)
        for one in dataclasses.fields(dataclass_type):
            group.add_argument(
                f"--{one.name}", default=one.default, help=one.metadata["help"].replace("%", "%%"), metavar=""
            )
    parser.print_help()


def parse_train_arguments(
    argv: list[str],
) -> tuple[ModelArguments, DataArguments, HubArguments, RunArguments, "TrainingArguments"]:
    """Parse a recipe (optional first argument) and flags; flags win.

    Raises:
        UsageError: If a flag is unknown or a value does not fit.
        SystemExit: After printing the help that `--help` asked for.
    """
    if {"-h", "--help"} & set(argv):
        print_help("train", ModelArguments, DataArguments, HubArguments, RunArguments)
        sys.exit(0)
    import torch
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> Any:
            raise UsageError(f"{message}; see --help.")

    types: Any = (ModelArguments, DataArguments, HubArguments, RunArguments, TrainingArguments)
    parser = Parser(types, allow_abbrev=False)
    parser.set_defaults(**TRAINING_DEFAULTS, use_cpu=not torch.accelerator.is_available())
    if argv and not argv[0].startswith("-"):
        several = frozenset(action.dest for action in parser._actions if action.nargs == "+")
        argv = yaml_to_flags(Path(argv[0]), several) + argv[1:]
    known = [option for action in parser._actions for option in action.option_strings]
    for word in argv:
        name = word.split("=")[0]
        if name.startswith("--") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(f"unknown flag {name}" + (f"; did you mean {close[0]}?" if close else "; see --help."))
    try:
        model_args, data_args, hub_args, run_args, training_args, *_ = parser.parse_args_into_dataclasses(
            argv, look_for_args_file=False
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    return model_args, data_args, hub_args, run_args, training_args
