"""Parse a YAML recipe and the command line into the arguments of a run.

Heavy packages are imported where they are used, so that `--help` responds immediately.
"""

import argparse
import dataclasses
import difflib
import json
import math
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .arguments import (
    LORA_LEARNING_RATE,
    TRAINING_DEFAULTS,
    Arguments,
    DataArguments,
    HubArguments,
    ModelArguments,
    RunArguments,
)
from .templates import resolve_columns

if TYPE_CHECKING:
    from transformers import TrainingArguments

# Limits that TrainingArguments does not check: the flag, its smallest and its largest sensible value.
LIMITS: tuple[tuple[str, float, float], ...] = (
    ("per_device_train_batch_size", 1, math.inf),
    ("per_device_eval_batch_size", 1, math.inf),
    ("gradient_accumulation_steps", 1, math.inf),
    ("eval_accumulation_steps", 1, math.inf),
    ("learning_rate", 0, 1000),
    ("warmup_steps", 0, math.inf),
    ("weight_decay", 0, 1000),
    ("max_grad_norm", 0, math.inf),
    ("label_smoothing_factor", 0, 1),
    ("adam_beta1", 0, 1),
    ("adam_beta2", 0, 1),
    ("adam_epsilon", 0, 1),
    ("save_total_limit", 1, math.inf),
    ("logging_steps", 0, math.inf),
    ("eval_steps", 0, math.inf),
    ("save_steps", 0, math.inf),
    ("eval_delay", 0, math.inf),
    ("dataloader_num_workers", 0, math.inf),
    ("seed", 0, 2**32 - 1),
    ("data_seed", 0, 2**32 - 1),
    ("neftune_noise_alpha", 0, math.inf),
)


def yaml_to_flags(path: Path, several: frozenset[str] = frozenset()) -> list[str]:
    """Read a recipe and return it as command-line flags, so that flags given after it take precedence.

    Args:
        path: A YAML file with one mapping from flag names (without dashes) to values; null keeps the default.
        several: Names of the flags that take several values; other lists and mappings become JSON.

    Raises:
        UsageError: If the file cannot be read or does not contain such a mapping.
    """
    import yaml

    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from error
    if not isinstance(recipe, dict):
        raise UsageError(f"the recipe {path} contains {type(recipe).__name__}; expected lines of the form name: value.")
    flags: list[str] = []
    for name, value in recipe.items():
        if name in several and isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:  # with =, since a value may begin with a dash
            is_json = isinstance(value, list | dict)
            flags.append(f"--{name}={json.dumps(value, ensure_ascii=False) if is_json else value}")
    return flags


def print_help(command: str, *arguments: Any) -> None:
    """Print our own flags and where to find the others, without importing heavy packages.

    Args:
        command: Name of the module that was started.
        *arguments: Dataclasses whose fields are the flags.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m hf_sentiment_ft.{command}",
        usage="%(prog)s [RECIPE.yaml] [--flag value ...]",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Every field of transformers.TrainingArguments is a flag too (--learning_rate, --num_train_epochs, "
        "--push_to_hub, --hub_model_id, --resume_from_checkpoint, ...). Defaults that differ from those of "
        "TrainingArguments: " + ", ".join(f"{name} {value}" for name, value in TRAINING_DEFAULTS.items()) + ".",
    )
    for dataclass_type in arguments:
        group = parser.add_argument_group(dataclass_type.__doc__)
        for one in dataclasses.fields(dataclass_type):
            group.add_argument(
                f"--{one.name}", default=one.default, help=one.metadata["help"].replace("%", "%%"), metavar=""
            )
    parser.print_help()


def parse_train_arguments(argv: list[str]) -> Arguments:
    """Parse a recipe (optional first argument) and flags; flags take precedence.

    Args:
        argv: The command line, without the name of the program.

    Raises:
        UsageError: If a flag is unknown or a value is invalid.
        SystemExit: After printing the help for `--help`.
    """
    if {"-h", "--help"} & set(argv):
        print_help("train", ModelArguments, DataArguments, HubArguments, RunArguments)
        sys.exit(0)
    import torch
    from accelerate.utils import parse_flag_from_env
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> Any:
            raise UsageError(f"{message}; see --help.")

    types: Any = (ModelArguments, DataArguments, HubArguments, RunArguments, TrainingArguments)
    parser = Parser(types, allow_abbrev=False)
    # The launch configuration cpu.yaml sets this variable, which TrainingArguments ignores if there is a GPU.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    parser.set_defaults(**TRAINING_DEFAULTS, learning_rate=None, use_cpu=use_cpu)
    if argv and not argv[0].startswith("-"):
        several = frozenset(action.dest for action in parser._actions if action.nargs == "+")
        argv = yaml_to_flags(Path(argv[0]), several) + argv[1:]
    known = [option for action in parser._actions for option in action.option_strings]
    argv = join_values(argv, known)
    for word in argv:
        name = word.split("=")[0]
        if name.startswith("--") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(f"unknown flag {name}" + (f"; did you mean {close[0]}?" if close else "; see --help."))
    share_network_interface()  # TrainingArguments connects the processes
    try:
        model_args, data_args, hub_args, run_args, training_args, *_ = parser.parse_args_into_dataclasses(
            argv, look_for_args_file=False
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    if training_args.learning_rate is None:
        training_args.learning_rate = LORA_LEARNING_RATE if model_args.use_peft else TrainingArguments.learning_rate
    check_limits(training_args)
    resolve_precision(training_args, model_args)
    resolve_columns(model_args, data_args)
    for other in ("calibration", "publish_adapter"):
        if getattr(model_args, other) and run_args.export_text_classification:
            raise UsageError(f"--export_text_classification does not support --{other}; remove one of them.")
    return Arguments(model_args, data_args, hub_args, run_args, training_args)


def join_values(argv: list[str], known: list[str]) -> list[str]:
    """Join a flag and its value with `=` where the value may begin with a dash; argparse would take it for a flag.

    Args:
        argv: The command line.
        known: All flags, with their dashes.
    """
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in ("--prompt_template", "--label_words") and word.split("=")[0] not in known:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def check_limits(args: "TrainingArguments") -> None:
    """Refuse values that make no sense, which TrainingArguments accepts.

    Raises:
        UsageError: If there is such a value; the message names the first one.
    """
    for name, least, greatest in LIMITS:
        value = getattr(args, name)
        if value is not None and not least <= value <= greatest:  # written like this, it refuses NaN as well
            expected = f"at least {least}" if greatest == math.inf else f"{least:g} to {greatest:g}"
            raise UsageError(f"--{name} is {value}; expected {expected}.")
    if args.max_steps == 0 or args.max_steps < -1:
        raise UsageError(f"--max_steps is {args.max_steps}; expected at least 1, or -1 to use --num_train_epochs.")
    if args.max_steps == -1 and not 0 < args.num_train_epochs < math.inf:
        raise UsageError(f"--num_train_epochs is {args.num_train_epochs}; expected more than 0.")


def resolve_precision(args: "TrainingArguments", model_args: ModelArguments) -> None:
    """Take bf16 over from Trainer, which would use it in evaluation too, wherever it was requested.

    fp16 is left to Trainer, which scales the loss; evaluation is then in fp16 too.

    Args:
        args: The training arguments; bf16 is switched off in them.
        model_args: The model flags; `precision` is set in them.

    Raises:
        UsageError: If two flags contradict each other, or the device does not support the requested precision.
    """
    for name in ("bf16_full_eval", "fp16_full_eval"):
        if getattr(args, name):
            raise UsageError(
                f"--{name} is given, which would permanently convert the weights themselves before training. If that "
                f"is intended, use --dtype {'bfloat16' if name.startswith('bf') else 'float16'} instead."
            )
    asked = args.mixed_precision  # set by --bf16, --fp16, or the launch configuration
    if args.deepspeed_plugin is not None:
        section = args.deepspeed_plugin.deepspeed_config.get("bf16", {})
        if section.get("enabled") is True:  # DeepSpeed's own bf16 changes the weights
            asked, section["enabled"] = "bf16", False
            args.deepspeed_plugin.set_deepspeed_weakref()  # update the copy that ZeRO-3 reads when it loads weights
    if model_args.precision == "fp16" and asked != "fp16":
        raise UsageError("--precision is 'fp16'; expected one of auto, fp32, bf16. Use --fp16, which scales the loss.")
    if asked not in ("bf16", "fp16"):
        return
    by = f"--{asked}" if getattr(args, asked) else f"mixed_precision {asked} of the launch configuration"
    if model_args.precision not in ("auto", asked):
        raise UsageError(f"{by} and --precision {model_args.precision} are both given; keep one.")
    if asked == "fp16" and args.device.type == "cpu":
        raise UsageError(f"{by} needs a GPU; use --precision bf16 or fp32 on a CPU.")
    if asked == "fp16" and model_args.dtype == "float16":
        raise UsageError(
            f"{by} and --dtype float16 are both given, but loss scaling does not work with float16 weights. Use "
            "--dtype float32, or --dtype bfloat16 without fp16."
        )
    model_args.precision = asked
    if asked == "bf16":
        args.bf16, args.mixed_precision = False, "no"


def share_network_interface() -> None:
    """Make gloo use the network interface that NCCL is told to use; each reads its own environment variable.

    NCCL's variable may also contain a prefix, a list of names, or names to exclude, none of which gloo supports.
    """
    name = os.environ.get("NCCL_SOCKET_IFNAME", "").removeprefix("=")
    if name in [present for _, present in socket.if_nameindex()]:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


# Flags that need all rows at once, which a stream never has, and what to do instead.
NEEDS_TABLE = {
    "max_train_samples": "use --max_steps to set how many rows are trained on.",
    "validation_split_percentage": "use --max_eval_samples to set how many rows are taken from the beginning of train.",
    "num_shots_per_class": "remove --streaming, or write the few rows to a file.",
    "class_weights": "remove it.",
    "drop_duplicates": "remove it, or remove the duplicates from the files.",
    "save_dataset_dir": "remove it; a stream is not saved.",
}


def check_streaming(data_args: DataArguments, args: "TrainingArguments") -> None:
    """Refuse flags that `--streaming` does not support; evaluate and save every tenth of the steps, not every epoch.

    Raises:
        UsageError: If a flag needs the whole table, or the length of the run is not given in steps.
    """
    if not data_args.streaming:
        return
    if args.max_steps < 1:
        raise UsageError("--streaming requires --max_steps, since the number of rows is unknown; add --max_steps.")
    if args.dataloader_num_workers:
        raise UsageError(
            f"--dataloader_num_workers is {args.dataloader_num_workers}; expected 0 with --streaming. One thread reads "
            "ahead, so that the order of rows is the same in every run."
        )
    if args.train_sampling_strategy not in ("random", "group_by_length"):
        raise UsageError(
            f"--train_sampling_strategy is {args.train_sampling_strategy}; expected random or group_by_length with "
            "--streaming."
        )
    given = {
        name: getattr(data_args, name)
        for name in NEEDS_TABLE
        if getattr(data_args, name) != getattr(DataArguments, name)
    }
    for name, value in given.items():
        raise UsageError(
            f"--{name} is {value}, which needs all rows at once and does not work with --streaming; {NEEDS_TABLE[name]}"
        )
    for what in ("eval", "save"):
        if getattr(args, f"{what}_strategy") == "epoch":
            setattr(args, f"{what}_strategy", type(args.eval_strategy)("steps"))
            setattr(args, f"{what}_steps", 0.1)
