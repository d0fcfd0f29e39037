r"""Fine-tune a causal language model to answer with the label word.

    accelerate launch -m hf_sentiment_ft.train --model_name_or_path gpt2 \
        --dataset_name cornell-movie-review-data/rotten_tomatoes --push_to_hub

    accelerate launch -m hf_sentiment_ft.train recipes/tutorial.yaml --num_train_epochs 2
"""

import gc
import sys
from pathlib import Path

from .config.arguments import Arguments
from .config.command_line import check_streaming, parse_train_arguments
from .errors import errors_exit


def main() -> None:
    """Read the flags, run, and end without a traceback if the user has made a mistake."""
    gc.disable()  # importing makes no garbage, and looking for it would take a second
    with errors_exit():
        flags = parse_train_arguments(sys.argv[1:])
        gc.freeze()  # what was imported stays: Trainer's own collections need not look at it
        gc.enable()
        run(flags)


def run(flags: Arguments) -> None:
    """Load, train, evaluate, save, write the card, and publish."""
    from . import data, evaluation, label_words, model, publishing, runtime, training

    args = flags.training

    # 1. What can go wrong by mistake goes wrong here, before any long work.
    runtime.start(flags)
    max_tokens = runtime.choose_microbatch(flags.run.max_tokens_per_microbatch, args)
    check_streaming(flags.data, args)
    checkpoint = training.find_checkpoint(args)
    runtime.check_output_dir(args, flags.run.overwrite_output_dir, [flags.model.model_name_or_path])
    model_name = publishing.default_model_name(flags.model.model_name_or_path, flags.data.name)
    hub_options = publishing.resolve_hub_options(args, flags.hub)
    destination = publishing.check_destination(args, hub_options, model_name)
    base = model.find_whole_model(flags.model)
    config = model.load_config(base, publish=hub_options is not None)
    model.check_lora(flags.model, base.path, config, args, publish=hub_options is not None)

    # 2. Rows, label words, and the tokenizer that puts the prompt around every text.
    with runtime.first_process_first(args, "loading the data set"):
        rows = data.load_splits(flags.data, args.seed, flags.model.label_words)
    provenance = publishing.prepare_card(flags, base, model_name, destination)
    tokenizer = model.load_tokenizer(base, add_pad_token=not flags.model.publish_adapter)
    task = label_words.build_task(flags.model, base, config, tokenizer, rows)
    with runtime.first_process_first(args, "tokenizing"):
        tokenized = label_words.tokenize_splits(task, flags.data.preprocessing_num_workers)
    if flags.run.export_text_classification:
        label_words.check_text_classification(config, task.tokenizer, task.verbalizer)
    training.advise(args, len(tokenized["train"]), task.prompt)
    precision = runtime.choose_precision(flags.model.precision, args.device)
    if flags.run.dry_run:
        if args.process_index == 0:
            print(training.describe_plan(args, task, tokenized, precision))
            print("publication", *publishing.describe_publication(destination, args.hub_strategy), sep="\n  ")
        return

    # 3. Train, between the measurement of the untouched model and that of the trained one.
    runtime.clear_output_dir(args)
    trainer = training.build_trainer(
        flags, task, tokenized, precision, max_tokens, checkpoint, evaluation.compute_metrics
    )
    prior_rows = evaluation.prior_rows(flags.model.calibration, tokenized, task.tokenizer)
    untouched = evaluation.ZeroShotBaseline(
        trainer, tokenized.get("test") if flags.model.zero_shot_baseline else None, prior_rows
    )
    checkpoint_push = publishing.CheckpointPush(destination, args.hub_strategy if hub_options else "end")
    trainer.add_callback(untouched)
    trainer.add_callback(checkpoint_push)
    trained = trainer.train(resume_from_checkpoint=checkpoint)

    # 4. Save, and measure what is saved.
    trained_model = task.merge(trainer)
    log_prior = evaluation.label_log_prior(trainer, prior_rows)
    task.save(trainer, trained_model, log_prior)
    predictions = evaluation.predict_splits(trainer, tokenized, log_prior)

    # 5. Results, card, and publication: once, on the first process.
    def finish() -> None:
        folder = Path(str(args.output_dir))
        results = evaluation.save_results(
            trainer, rows, untouched.predictions, predictions, trained.metrics, untouched.calibrated
        )
        evaluation.save_plots(folder, results, predictions, rows.labels, trainer.state.log_history)
        publishing.save_benchmark_result(provenance, rows, results, folder)
        if flags.run.export_text_classification:
            label_words.export_text_classification(folder)
        publishing.save_card(publishing.card_values(trainer, model_name, provenance, results, task, tokenized), folder)
        print(evaluation.summary(results, args.output_dir))
        if checkpoint_push.destination:
            publishing.print_summary(publishing.publish_run(folder, checkpoint_push.destination))

    runtime.on_first_process(args, "writing the results and publishing them", finish)
    runtime.shutdown()


if __name__ == "__main__":
    main()
