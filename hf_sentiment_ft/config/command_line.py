"""Parse a YAML recipe and the command line into the arguments of a run.

Heavy packages are imported where they are used, so that `--help` responds immediately.
"""

import argparse
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .arguments import LORA_LEARNING_RATE, OURS, TRAINING_DEFAULTS, Arguments, DataArguments, ModelArguments
from .help import exit_with_help
from .suggestions import suggest
from .templates import resolve_columns
from .training_arguments import ALWAYS_DONE, METRICS
from .training_checks import check_fields, check_limits, try_out

if TYPE_CHECKING:
    from transformers import HfArgumentParser, TrainingArguments


def parse_train_arguments(argv: list[str], command: str = "train") -> Arguments:
    """Parse a recipe (optional first argument) and flags; flags take precedence.

    Args:
        argv: The command line, without the name of the program.
        command: Name of the module that was started.

    Raises:
        UsageError: If a flag is unknown or a value is invalid.
        SystemExit: After printing the help for `--help` or `--help_all`.
    """
    exit_with_help("train", argv)
    from transformers import TrainingArguments

    parser = train_parser()
    argv, given = read_flags(argv, parser)
    asked = parser.parse_known_args(argv)[0]
    check_fields(asked, command)
    parser.set_defaults(**following_defaults(asked, given))
    share_network_interface()  # TrainingArguments connects the processes
    try:
        model_args, data_args, hub_args, run_args, training_args, *_ = parser.parse_args_into_dataclasses(
            argv, look_for_args_file=False
        )
    except (ValueError, TypeError, OSError, ImportError) as error:  # of TrainingArguments
        raise UsageError(str(error)) from error
    if training_args.learning_rate is None:
        training_args.learning_rate = LORA_LEARNING_RATE if model_args.use_peft else TrainingArguments.learning_rate
    if len(modules := training_args.optim_target_modules or []) == 1:
        training_args.optim_target_modules = modules[0]  # a list of one word is no pattern, and not all-linear
    check_limits(training_args)
    try_out(training_args, command)
    resolve_precision(training_args, model_args)
    resolve_columns(model_args, data_args)
    flags = Arguments(model_args, data_args, hub_args, run_args, training_args)
    for other in ("calibration", "publish_adapter"):
        if getattr(model_args, other) and flags.needs_classifier:
            export = "export_text_classification" if run_args.export_text_classification else "push_space"
            raise UsageError(f"--{export} does not support --{other}; remove one of them.")
    return flags


def train_parser(*more: Any) -> "HfArgumentParser":
    """Return the parser of all flags of training, with our defaults.

    Args:
        *more: Further dataclasses whose fields are flags.
    """
    import torch
    from accelerate.utils import parse_flag_from_env
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> Any:
            raise UsageError(f"{message}; see --help.")

    types: Any = (*OURS, TrainingArguments, *more)
    parser = Parser(types, allow_abbrev=False)
    # The launch configuration cpu.yaml sets this variable, which TrainingArguments ignores if there is a GPU.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    parser.set_defaults(**TRAINING_DEFAULTS, **ALWAYS_DONE, learning_rate=None, use_cpu=use_cpu)
    for action in parser._actions:
        if action.dest in ("report_to", "optim_target_modules"):  # HfArgumentParser takes a word or a list for a word
            action.nargs = "+"
        if action.dest in ("liger_kernel_config", "parallelism_config"):  # whatever they are, they are refused
            action.type = str
    return parser


def read_flags(argv: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], set[str]]:
    """Replace a recipe as the first argument by its flags, and return the names of all flags that are given, too.

    Args:
        argv: The command line, without the name of the program.
        parser: Parser of the flags.

    Raises:
        UsageError: If a flag is unknown, or the recipe cannot be read.
    """
    from .recipes import yaml_to_flags

    if argv and not argv[0].startswith("-"):
        several = frozenset(action.dest for action in parser._actions if action.nargs == "+")
        argv = yaml_to_flags(Path(argv[0]), several) + argv[1:]
    known = {option: action.dest for action in parser._actions for option in action.option_strings}
    argv = join_values(argv, list(known))
    names = [word.split("=")[0] for word in argv if word.startswith("--")]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown flag {name}{suggest(name[2:].replace('-', '_'), list(known.values()))}")
    return argv, {known[name] for name in names}


def following_defaults(asked: argparse.Namespace, given: set[str]) -> dict[str, Any]:
    """Return the defaults that follow from other flags, so that a flag does not contradict a default of ours.

    The best checkpoint can only be chosen if each one is evaluated: where only one of `--eval_strategy` and
    `--save_strategy` is given, the other one follows it, and so do the steps. Without evaluations or checkpoints, none
    is chosen.

    Args:
        asked: The values of all flags as parsed.
        given: Names of the flags that were given.

    Raises:
        UsageError: If the best checkpoint is to be chosen, but not each one is evaluated.
    """
    defaults: dict[str, Any] = {}
    strategies: dict[str, str] = {}
    for what in ("eval", "save"):
        if f"{what}_strategy" in given:
            strategies[what] = str(getattr(asked, f"{what}_strategy"))
        elif f"{what}_steps" in given:
            strategies[what] = "steps"
    for what, other in (("eval", "save"), ("save", "eval")):
        follows = strategies.get(other) in ("steps", "epoch")
        strategies.setdefault(what, strategies[other] if follows else TRAINING_DEFAULTS[f"{what}_strategy"])
    evaluates, saves = strategies["eval"], strategies["save"]
    for what, other in (("eval", "save"), ("save", "eval")):
        if evaluates == saves and f"{what}_steps" not in given and f"{other}_steps" in given:
            defaults[f"{what}_steps"] = getattr(asked, f"{other}_steps")
    if "no" in (evaluates, saves) and "load_best_model_at_end" not in given:
        defaults["load_best_model_at_end"] = False
    elif asked.load_best_model_at_end and ("no" in (evaluates, saves) or saves not in (evaluates, "best")):
        raise UsageError(
            f"--eval_strategy is {evaluates} and --save_strategy is {saves}, but the best checkpoint can only be "
            "chosen if each one is evaluated. Use the same for both, or add --load_best_model_at_end false."
        )
    defaults |= {f"{what}_strategy": strategy for what, strategy in strategies.items()}
    metric = str(asked.metric_for_best_model).removeprefix("eval_")
    return defaults | {"greater_is_better": METRICS[metric]}


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


def resolve_precision(args: "TrainingArguments", model_args: ModelArguments) -> None:
    """Take bf16 over from Trainer, which would use it in evaluation too, wherever it was requested.

    fp16 is left to Trainer, which scales the loss; evaluation is then in fp16 too.

    Args:
        args: The training arguments; bf16 is switched off in them.
        model_args: The model flags; `precision` is set in them.

    Raises:
        UsageError: If two flags contradict each other, or the device does not support the requested precision.
    """
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
