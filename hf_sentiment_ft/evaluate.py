r"""Evaluate causal language models on label words, trained or not, without training.

    accelerate launch -m hf_sentiment_ft.evaluate --model_name_or_path gpt2 user/name ./output \
        --dataset_name cornell-movie-review-data/rotten_tomatoes

A model trained by this package has its own prompt, labels, label words and calibration; for any other model, use
--prompt_template, --label_words, --label_descriptions and --calibration. Several models are compared with each other.
The results are in the same files as those of a training run.
"""

import argparse
import copy
import dataclasses
import gc
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import runtime
from .config.arguments import Arguments, DataArguments, ModelArguments
from .config.command_line import parse_train_arguments
from .config.help import exit_with_help
from .config.recipes import yaml_to_flags
from .errors import UsageError, errors_exit

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from .evaluation.results import Evaluation
    from .label_words.task import LabelWordTask

OUTPUT_DIR = "./evaluation"
ONLY_TRAINING = (
    "push_to_hub",
    "push_space",
    "resume_from_checkpoint",
    "dry_run",
    "export_text_classification",
    "export_notebook",
    "use_peft",
)


def main() -> None:
    """Parse the flags and run; a user error ends without a traceback."""
    with errors_exit():
        run(*parse_evaluate_arguments(sys.argv[1:]))
        runtime.shutdown()


def run(models: list[ModelArguments], flags: Arguments) -> None:
    """Load the data once, evaluate each model on it, and compare the models.

    Args:
        models: The model flags, once for each model.
        flags: All other flags, which the models share.
    """
    from . import data, evaluation, label_words

    args = flags.training

    # 1. Check the flags and the output folders.
    runtime.start(flags, "evaluate")
    own_args = choose_folders(models, args)
    names = [model.model_name_or_path for model in models]
    for one in own_args:
        runtime.check_output_dir(one, flags.run.overwrite_output_dir, names, runtime.EVALUATION_FILES)
    output_dir = Path(str(args.output_dir))
    if len(models) > 1:
        runtime.refuse_foreign_files(output_dir, [runtime.COMPARISON])

    # 2. Load the rows, and each model's label words and prompt.
    with runtime.first_process_first(args, "loading the dataset"):
        rows = data.load_evaluation_splits(flags.data, args.seed)
    tasks = [label_words.prepare_task(model, rows) for model in models]

    # 3. Evaluate the models one at a time.
    evaluations = []
    for task, one in zip(tasks, own_args, strict=True):
        evaluations.append(evaluate_model(task, flags.data, one))
        gc.collect()  # reference cycles in the trainer keep the model in memory

    # 4. Compare the models, on the first process.
    def finish() -> None:
        comparison = evaluation.compare(evaluations)
        print(evaluation.comparison_table(comparison))
        if len(evaluations) > 1:
            text = json.dumps(comparison, indent=2, ensure_ascii=False)
            runtime.begin_files(output_dir, [runtime.COMPARISON])
            (output_dir / runtime.COMPARISON).write_text(text + "\n", encoding="utf-8")
            runtime.record_files(output_dir)
        print(f"results and predictions: {args.output_dir}")

    runtime.on_first_process(args, "comparing the models", finish)


def parse_evaluate_arguments(argv: list[str]) -> tuple[list[ModelArguments], Arguments]:
    """Parse the flags or the recipe of a training run, with one or more values for `--model_name_or_path`.

    `--test_file` may be given without `--train_file`: all of its rows are then evaluated.

    Returns:
        The model flags of each model, and all flags; their model flags are those of the first model.

    Raises:
        UsageError: If a flag is unknown, a value is invalid, or a flag makes no sense without training.
        SystemExit: After printing the help for `--help` or `--help_all`.
    """
    exit_with_help("evaluate", argv)
    if argv and not argv[0].startswith("-"):
        argv = yaml_to_flags(Path(argv[0]), frozenset({"model_name_or_path"})) + argv[1:]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model_name_or_path", nargs="*", default=[])
    parser.add_argument("--output_dir", default=OUTPUT_DIR)
    parser.add_argument("--train_file")
    parser.add_argument("--test_file")
    own, rest = parser.parse_known_args(argv)
    names: list[str] = own.model_name_or_path
    if not names:
        raise UsageError("--model_name_or_path is missing; pass one or more models.")
    if len(set(map(folder_name, names))) < len(names):
        raise UsageError(f"--model_name_or_path names a model twice: {', '.join(names)}.")
    own.train_file = own.train_file or own.test_file
    rest += [f"--{name}={value}" for name, value in vars(own).items() if isinstance(value, str)]
    flags = parse_train_arguments([*rest, f"--model_name_or_path={names[0]}"], "evaluate")
    for name in ONLY_TRAINING:
        if any(getattr(group, name, None) for group in (flags.model, flags.hub, flags.run, flags.training)):
            raise UsageError(f"--{name} is given, which is for training only. Remove it to evaluate.")
    if flags.run.num_seeds > 1:
        raise UsageError(f"--num_seeds is {flags.run.num_seeds}, which is for training only. Remove it to evaluate.")
    if flags.model.label_words == "auto" and flags.data.train_file and flags.data.train_file == flags.data.test_file:
        raise UsageError(
            "--label_words is auto, which chooses words on train rows, but all rows are for testing. Add another "
            "--train_file, or pass the words."
        )
    return [dataclasses.replace(flags.model, model_name_or_path=name) for name in names], flags


def choose_folders(models: list[ModelArguments], args: "TrainingArguments") -> "list[TrainingArguments]":
    """Return the arguments for each model; several models each get their own folder in the output folder."""
    if len(models) == 1:
        return [args]
    own = [copy.copy(args) for _ in models]
    for one, model in zip(own, models, strict=True):
        one.output_dir = str(Path(str(args.output_dir), folder_name(model.model_name_or_path)))
    return own


def folder_name(model: str) -> str:
    """Return the name of a model's folder in the output folder of several models."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.")


def evaluate_model(task: "LabelWordTask", data_args: DataArguments, args: "TrainingArguments") -> "Evaluation":
    """Evaluate a model on the test split, or on the validation split if there is no test split, and save the results.

    Args:
        task: The model, not loaded yet, with its label words, prompt and rows.
        data_args: The data flags.
        args: The training arguments, with the model's own output folder.
    """
    from . import evaluation, label_words, model, training
    from .data.splits import reported_split

    splits = task.data.splits
    reported, prefix = reported_split(splits)
    evaluated = ["test"] if reported == "test" else [split for split in splits if split != "train"]
    needed = [*evaluated, "validation"] if task.args.calibration == "validation" else evaluated
    rows = dataclasses.replace(task.data, splits={split: splits[split] for split in splits if split in needed})
    with runtime.first_process_first(args, "tokenizing"):
        tokenized = label_words.tokenize_splits(
            dataclasses.replace(task, data=rows), data_args.preprocessing_num_workers
        )
    attention = None if task.args.attn_implementation == "auto" else task.args.attn_implementation
    loaded = model.load_model(task.base, task.args.dtype, task.tokenizer, attention)
    ours = hasattr(task.config, "label_words")  # other models are measured as they would be published
    constrained = bool(loaded.generation_config.sequence_bias) if ours else task.args.constrain_generation
    trainer = training.LabelWordTrainer(
        verbalizer=task.verbalizer,
        precision="fp32",
        constrained=constrained,
        questions=task.questions,
        model=loaded,
        args=args,
        eval_dataset=tokenized[reported],
        processing_class=task.tokenizer,
    )
    prior_rows = evaluation.prior_rows(task.args.calibration, tokenized, task.tokenizer)
    runtime.begin_run(args, runtime.EVALUATION_FILES)  # after the last check that can fail
    calibration = label_words.Calibration.saved_in(task.config)
    if not ours:
        calibration = label_words.Calibration(evaluation.label_log_prior(trainer, prior_rows))
    predictions = evaluation.predict_splits(trainer, {split: tokenized[split] for split in evaluated}, calibration)

    def save() -> dict[str, Any]:
        results = evaluation.save_results(trainer, task.data, predictions, {})
        runtime.record_files(Path(str(args.output_dir)))
        return results

    results = runtime.on_first_process(args, "writing the results", save)
    trainer.accelerator.free_memory()
    start = f"{prefix}_"
    figures = {name.removeprefix(start): value for name, value in (results or {}).items() if name.startswith(start)}
    correct = evaluation.correct_rows(predictions[reported], task.questions)
    return evaluation.Evaluation(task.args.model_name_or_path, reported, figures, correct)


if __name__ == "__main__":
    main()
