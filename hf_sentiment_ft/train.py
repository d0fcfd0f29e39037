r"""Fine-tune a causal language model to answer with the label word.

    accelerate launch -m hf_sentiment_ft.train --model_name_or_path gpt2 \
        --dataset_name cornell-movie-review-data/rotten_tomatoes --push_to_hub

    accelerate launch -m hf_sentiment_ft.train recipes/tutorial.yaml --num_train_epochs 2
"""

import gc
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import runtime
from .config.arguments import Arguments
from .config.command_line import check_streaming, parse_train_arguments
from .config.recipes import to_flags
from .errors import errors_exit

if TYPE_CHECKING:
    from .publishing.destination import Destination

logger = logging.getLogger("hf_sentiment_ft.train")  # not __main__, as which it is run


def main() -> None:
    """Parse the flags and run; a user error ends without a traceback."""
    gc.disable()  # collecting garbage during imports would take a second
    with errors_exit():
        flags = parse_train_arguments(sys.argv[1:])
        gc.freeze()  # imported objects stay: Trainer's own collections can skip them
        gc.enable()
        train_once_or_more(sys.argv[1:], flags)
        runtime.shutdown()


def train(**flags: Any) -> dict[str, Any] | None:
    """Train from Python, such as in a notebook, with the command's flags as keyword arguments.

    For several processes, hand it to `accelerate.notebook_launcher`.

    Args:
        **flags: Any flag, such as `model_name_or_path="gpt2"`; None keeps the default.

    Returns:
        The metrics, which are those of `all_results.json`; None for a dry run.

    Raises:
        UsageError: If a flag is unknown or a value is invalid.
    """
    argv = to_flags(flags)
    arguments = parse_train_arguments(argv)
    train_once_or_more(argv, arguments)
    results = Path(str(arguments.training.output_dir)) / "all_results.json"
    return None if arguments.run.dry_run else json.loads(results.read_text(encoding="utf-8"))


def train_once_or_more(argv: list[str], flags: Arguments, search: dict[str, Any] | None = None) -> None:
    """Train with one seed, or with each of several, of which the best one is kept and published.

    Args:
        argv: The command line.
        flags: The same, parsed.
        search: What the card says of the search that has chosen the flags; None if nobody searched.
    """
    check_streaming(flags.data, flags.training)
    if flags.run.num_seeds == 1 or flags.run.dry_run:
        run(flags, search)
        return

    from . import evaluation, model, publishing, training

    args = flags.training
    runtime.log_to_console(args.process_index == 0)
    runtime.connect(args)
    folders = training.seed_folders(flags)
    runtime.check_output_dir(args, flags.run.overwrite_output_dir, [flags.model.model_name_or_path])
    finished = training.finished_seeds(flags)
    model.load_config(model.find_model_to_train(flags.model), publish=args.push_to_hub)
    model_name = publishing.default_model_name(flags.model.model_name_or_path, flags.data.name)
    destination = publishing.check_destination(flags, model_name)
    runtime.begin_run(args)
    for seed in [seed for seed in folders if seed not in finished]:
        logger.info("\nSeed %d, %d of %d, in %s", seed, 1 + seed - args.seed, len(folders), folders[seed])
        run(parse_train_arguments(training.flags_of_seed(argv, flags, seed, folders[seed])))
        gc.collect()  # the model and its optimizer are in reference cycles
        finished.append(seed)
        if args.process_index == 0:
            training.mark_finished(flags, finished)

    def finish() -> None:
        folder = Path(str(args.output_dir))
        seeds = evaluation.compare_seeds(folders, str(args.metric_for_best_model), bool(args.greater_is_better))
        runtime.copy_run(folders[seeds["kept"]], folder)
        results = evaluation.add_results(folder, {"seeds": seeds})
        publishing.add_to_card(folder, {"seeds": seeds, "search": search})
        evaluation.save_report(folder)
        finish_run(folder, results, destination)

    runtime.on_first_process(args, "choosing a seed and publishing it", finish)


def run(flags: Arguments, search: dict[str, Any] | None = None) -> None:
    """Load the data and the model, train, evaluate, save, write the card, and publish."""
    from . import data, evaluation, label_words, model, publishing, training  # here, so that --help answers at once

    args = flags.training

    # 1. Check everything that can fail early, before any long work.
    runtime.start(flags)
    data.check_files(flags.data)
    checkpoint = training.find_checkpoint(args)
    runtime.check_output_dir(args, flags.run.overwrite_output_dir, [flags.model.model_name_or_path])
    base = model.find_model_to_train(flags.model)
    config = model.load_config(base, publish=args.push_to_hub)
    model.check_lora(flags.model, base.path, config, args)
    model_name = publishing.default_model_name(flags.model.model_name_or_path, flags.data.name)
    destination = publishing.check_destination(flags, model_name)

    # 2. Load the rows, the label words, the tokenizer with the prompt, and the sources for the card.
    with runtime.first_process_first(args, "loading the dataset"):
        rows = data.load_splits(flags.data, args.seed, flags.model.label_words)
    provenance = publishing.trace_provenance(flags, base, model_name, destination)
    task = label_words.build_task(flags.model, base, config, rows, flags.needs_classifier)
    with runtime.first_process_first(args, "tokenizing"):
        tokenized = label_words.tokenize_splits(task, flags.data.preprocessing_num_workers)
    training.warn_of_shortcomings(args, len(tokenized["train"]), task)
    if flags.run.dry_run:
        training.print_plan(flags, task, tokenized, publishing.describe_publication(destination, args.hub_strategy))
        return

    # 3. Train, after measuring the zero-shot baseline and the calibration.
    checkpoint_push = publishing.CheckpointPush(destination, args.hub_strategy)
    trainer = training.build_trainer(flags, task, tokenized, checkpoint, evaluation.compute_metrics, [checkpoint_push])
    prior_rows = evaluation.prior_rows(flags.model.calibration, tokenized, task.tokenizer)
    runtime.begin_run(args)  # after the last check that can fail
    baseline_rows = tokenized.get("test") if flags.model.zero_shot_baseline else None
    baseline = evaluation.ZeroShotBaseline(trainer, baseline_rows, prior_rows)
    trained = trainer.train(resume_from_checkpoint=checkpoint)

    # 4. Calibrate and save the model, and evaluate what was saved.
    task.merge_adapter(trainer)
    calibration, validation = evaluation.fit_calibration(trainer, tokenized, prior_rows, flags.model)
    task.save(trainer, calibration)
    predictions = evaluation.predict_splits(trainer, tokenized, calibration, validation)

    # 5. Write the results and the card, and publish: once, on the first process.
    def finish() -> None:
        folder = Path(str(args.output_dir))
        results = evaluation.save_results(trainer, rows, predictions, trained.metrics, baseline)
        publishing.save_benchmark_result(provenance, rows, results, folder)
        if flags.run.export_text_classification:
            label_words.export_text_classification(folder)
        values = publishing.card_values(trainer, model_name, provenance, results, task, tokenized)
        publishing.save_card(values | {"search": search}, folder)
        if flags.run.export_notebook:
            publishing.save_notebook(folder)
        report = evaluation.save_report(folder, evaluation.examine_run(trainer, task, tokenized, predictions))
        training.log_results(trainer, results, report)
        finish_run(folder, results, checkpoint_push.destination)

    runtime.on_first_process(args, "writing the results and publishing them", finish)


def finish_run(folder: Path, results: dict[str, Any], destination: "Destination | None") -> None:
    """Record the files of a run, print its results, and publish it.

    Args:
        folder: Output folder.
        results: All metrics.
        destination: Where to publish the run; None to leave it here.
    """
    from . import evaluation, publishing

    runtime.record_files(folder)
    print(evaluation.summary(results, str(folder)))
    if destination:
        publishing.print_summary(publishing.publish_run(folder, destination))


if __name__ == "__main__":
    main()
