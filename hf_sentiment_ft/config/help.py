"""Print the flags of training and evaluation: those that most runs need, or all of them.

Neither imports heavy packages, so that both answer at once.
"""

import argparse
import ast
import dataclasses
import importlib.util
import shlex
import sys
from pathlib import Path
from typing import Any

from .arguments import OURS, TRAINING_DEFAULTS, DataArguments, ModelArguments
from .parser import Parser
from .training_arguments import REFUSED, WORKS
from .tune_arguments import NUM_TRIALS, TuneArguments

DESCRIPTIONS = {
    "train": "Fine-tune a causal language model to answer with the label word, evaluate it, and publish it.",
    "tune": "Search for better flags of training by validation, or train several base models and compare them.",
    "evaluate": "Evaluate causal language models, trained by this package or not, on the same rows.",
}
EXAMPLES = {
    "train": "--train_file tickets.csv --output_dir tickets",
    "tune": "--model_name_or_path gpt2 --train_file tickets.csv --num_trials 20",
    "evaluate": "--model_name_or_path gpt2 ./output --test_file reviews.csv",
}
MODEL = {
    "model_name_or_path": "Hub id, folder or .gguf file",
    "prompt_template": "what the model reads",
    "label_words": "a word for each label, or auto (default: the labels' names)",
    "label_descriptions": "what labels mean, for the prompt (JSON, or a file)",
    "max_seq_length": "longest text, in tokens",
}
DATA = {
    "dataset_name": "Hub id or folder (default: cornell-movie-review-data/rotten_tomatoes)",
    "train_file": "CSV, TSV, JSON lines or Parquet",
    "validation_file": "the same, to choose the best checkpoint",
    "test_file": "the same, for the results",
    "text_column_name": "one or several, such as title,body (default: found by name)",
    "label_column_name": "(default: found by name)",
}
# The flags that most runs need, by group, with the example that is shown beside the group's name.
COMMON: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "train": {
        "model": (
            "--model_name_or_path ./my-model --use_peft",
            MODEL
            | {
                "precision": "fp32, bf16 or auto",
                "use_peft": "train a LoRA adapter, and merge it into the model",
            },
        ),
        "data": (
            "--train_file tickets.csv --text_column_name body",
            DATA
            | {
                "max_train_samples": "train on this many rows (default: all)",
                "class_weights": "balanced: for rare classes",
            },
        ),
        "training": (
            "--num_train_epochs 3 --learning_rate 1e-5",
            {
                "num_train_epochs": "passes over the train rows",
                "per_device_train_batch_size": "rows per step and device",
                "learning_rate": "(default: 5e-5, or 2e-4 with --use_peft)",
                "seed": "(default: 42)",
                "report_to": "tensorboard, trackio, wandb or mlflow",
                "resume_from_checkpoint": "true: go on after an interruption",
            },
        ),
        "publication": (
            "--push_to_hub --hub_model_id user/tickets",
            {
                "push_to_hub": "publish on the Hub (first: hf auth login)",
                "hub_model_id": "(default: you/MODEL-DATASET)",
                "hub_private_repo": "make a new repository private",
            },
        ),
        "run": (
            "--output_dir tickets --dry_run",
            {
                "output_dir": "folder of model, card and results",
                "overwrite_output_dir": "replace the run that is there",
                "dry_run": "check everything, show the plan, and stop",
                "verbose": "also show what the libraries say",
                "use_cpu": "even if there is a GPU",
            },
        ),
    },
    "evaluate": {
        "models": (
            "--model_name_or_path gpt2 user/name ./output",
            MODEL
            | {
                "model_name_or_path": "one or several: Hub ids, folders, .gguf files",
                "calibration": "contextual or validation, for untrained models",
            },
        ),
        "data": (
            "--test_file reviews.csv --label_column_name stars",
            DATA | {"max_test_samples": "evaluate this many rows (default: all)"},
        ),
        "run": (
            "--output_dir evaluation",
            {
                "output_dir": "folder of results and predictions (default: ./evaluation)",
                "overwrite_output_dir": "replace the results that are there",
                "per_device_eval_batch_size": "rows per forward pass",
                "use_cpu": "even if there is a GPU",
            },
        ),
    },
}
COMMON["tune"] = {
    "search": (
        "--num_trials 20 --search_space space.yaml",
        {
            "num_trials": f"(default: {NUM_TRIALS})",
            "max_hours": "begin no further trial after so many hours (default: no limit)",
            "search_space": "YAML file of what to search; see docs/tune.md (default: what usually matters)",
        },
    ),
    "model": (
        "--model_name_or_path gpt2 ./my-model",
        MODEL | {"model_name_or_path": "one to search with, or several to compare"},
    ),
    "data": COMMON["train"]["data"],
    "run": (
        "--output_dir tickets --push_to_hub",
        {
            "output_dir": "folder of the best model, or of all that are compared",
            "push_to_hub": "publish the best model on the Hub (first: hf auth login)",
            "resume_from_checkpoint": "true: go on after an interruption",
            "dry_run": "check everything, show what is searched, and stop",
            "seed": "(default: 42)",
        },
    ),
}


def exit_with_help(command: str, argv: list[str]) -> None:
    """Print the help and exit if it is asked for.

    Args:
        command: `train`, `tune` or `evaluate`.
        argv: The command line, without the name of the program.

    Raises:
        SystemExit: After printing.
    """
    if {"-h", "--help", "--help_all", "--help-all"} & set(argv):
        every = bool({"--help_all", "--help-all"} & set(argv))
        help_parser(command, every).print_help()
        sys.exit(0)


def help_parser(command: str, every: bool = False) -> Parser:
    """Return a parser that is only printed or completed: its values have no types.

    Args:
        command: `train`, `tune` or `evaluate`.
        every: Whether to include all flags.
    """
    parser = Parser(
        command, DESCRIPTIONS[command], EXAMPLES[command], usage="%(prog)s [RECIPE.yaml] [--flag value ...]"
    )
    parser._optionals.title = "help"
    parser.add_argument("--help_all", action="help", help="show all flags, with those of TrainingArguments")
    if not every:
        defaults = _our_defaults() | TRAINING_DEFAULTS
        for title, (example, flags) in COMMON[command].items():
            group = parser.add_argument_group(f"{title}, such as {example}")
            for name, text in flags.items():
                add_flag(group, name, text, None if "(default: " in text else defaults.get(name))
        return parser
    groups = {"train": OURS, "tune": (TuneArguments, *OURS), "evaluate": (ModelArguments, DataArguments)}
    for dataclass_type in groups[command]:
        group = parser.add_argument_group(str(dataclass_type.__doc__).removesuffix("."))
        for one in dataclasses.fields(dataclass_type):
            add_flag(group, one.name, one.metadata["help"], one.default)
    group = parser.add_argument_group("TrainingArguments of transformers, except those that have no use here")
    for name, (text, default) in transformers_flags().items():
        if name not in REFUSED:
            note = f" Here: {WORKS[name]}." if WORKS.get(name) else ""
            add_flag(group, name, text + note, TRAINING_DEFAULTS.get(name, default))
    return parser


def _our_defaults() -> dict[str, Any]:
    return {one.name: one.default for group in OURS for one in dataclasses.fields(group)}


def add_flag(group: "argparse._ArgumentGroup", name: str, text: str, default: Any) -> None:
    """Add a flag with its default as one would type it; False and None are not worth a word."""
    shown = "" if default in (None, False, "", []) else f" (default: {as_typed(default)})"
    kind: Any = {"action": "store_true"} if default is False else {"metavar": ""}
    group.add_argument(f"--{name}", help=(text + shown).strip().replace("%", "%%"), **kind)


def as_typed(value: Any) -> str:
    """Return a value as one would type it behind a flag, line breaks as the two characters that stand for them."""
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.quote(str(value).replace("\n", "\\n"))


def transformers_flags() -> dict[str, tuple[str, Any]]:
    """Return help text and default of each field of TrainingArguments.

    They are read from the source of transformers, since importing it takes seconds. A default that is computed is None.
    """
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "training_args.py").read_text(encoding="utf-8")
    (found,) = (
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"
    )
    flags: dict[str, tuple[str, Any]] = {}
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.value.keywords}
            metadata, default = given["metadata"], given.get("default")
            assert isinstance(metadata, ast.Dict)
            text = ast.literal_eval(metadata.values[0])
            literal = default if default and not isinstance(default, ast.Name) else ast.Constant(None)
            flags[node.target.id] = (text, ast.literal_eval(literal))
    return flags
