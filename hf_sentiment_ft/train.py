r"""Fine-tune a causal language model to answer with the label word.

    accelerate launch -m hf_sentiment_ft.train --model_name_or_path gpt2 \
        --dataset_name cornell-movie-review-data/rotten_tomatoes --push_to_hub

    accelerate launch -m hf_sentiment_ft.train recipes/tutorial.yaml --num_train_epochs 2
"""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .command_line import parse_train_arguments
from .config import DataArguments, HubArguments, ModelArguments, RunArguments
from .errors import errors_exit

if TYPE_CHECKING:
    from transformers import TrainingArguments


def main() -> None:
    """Read the flags, run, and end without a traceback if the user has made a mistake."""
    gc.disable()  # importing makes no garbage, and looking for it would take a second
    with errors_exit():
        arguments = parse_train_arguments(sys.argv[1:])
        gc.freeze()  # what was imported stays: Trainer's own collections need not look at it
        gc.enable()
        run(*arguments)


def run(
    model_args: ModelArguments,
    data_args: DataArguments,
    hub_args: HubArguments,
    run_args: RunArguments,
    args: "TrainingArguments",
) -> None:
    """Load, train, evaluate, save, write the card, and publish."""
    from transformers import set_seed
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from .benchmark import save_benchmark_result
    from .best_checkpoint import BestThatIsThere
    from .calibration import calibrate, label_log_prior, prior_rows
    from .checkpoint_push import CheckpointPush
    from .checkpoints import find_checkpoint, refuse_changes
    from .data import load_splits
    from .device import choose_precision, keep_freed_memory
    from .distributed import check_engine, connect, first_process_first, leave, on_first_process
    from .fingerprint import describe_run
    from .hub import default_model_name, limit_waiting
    from .label_word_task import build_task
    from .lora import add_adapter, check_lora
    from .microbatches import choose_microbatch
    from .model_card import card_values, check_metadata, save_card
    from .modeling import find_whole_model, load_config, load_tokenizer
    from .output import check_output_dir, clear_output_dir, log_to_console
    from .plan import advise, describe_plan
    from .plots import save_plots
    from .preflight import preflight, take_hub_options
    from .provenance import find_provenance
    from .publish import announce, publish_run
    from .results import save_results, summary
    from .streaming import check_streaming
    from .text_classification import check_text_classification, export_text_classification
    from .tokenization import tokenize_splits, tokenize_stream
    from .trainer import LabelWordTrainer
    from .training_model import load_training_model, merge_trained, save_trained
    from .zero_shot import ZeroShotBaseline

    # Checks: what can go wrong by mistake goes wrong here, before any long work.
    log_to_console(args)
    if run_args.keep_freed_memory:
        keep_freed_memory()
    limit_waiting(hub_args.hub_timeout)
    check_engine(args)
    connect(args)
    max_tokens = choose_microbatch(run_args.max_tokens_per_microbatch, args)
    check_streaming(data_args, args)
    checkpoint = find_checkpoint(args)
    check_output_dir(args, run_args.overwrite_output_dir, [model_args.model_name_or_path])
    model_name = default_model_name(model_args.model_name_or_path, data_args.name)
    hub_options = take_hub_options(args, hub_args)
    destination = (
        on_first_process(args, "asking the Hub", lambda: preflight(hub_options, model_name)) if hub_options else None
    )
    base = find_whole_model(model_args)
    config = load_config(base, publish=args.push_to_hub)
    check_lora(model_args, base.path, config, args)
    set_seed(args.seed)

    # Data, label words, and the tokenizer that puts the prompt around every text.
    with first_process_first(args, "loading the data set"):
        data = load_splits(data_args, args.seed, model_args.label_words)
    provenance = find_provenance(model_args, base, data_args, destination.repo_id if destination else None)
    on_first_process(args, "checking the card", lambda: check_metadata(provenance, model_name, destination))
    tokenizer = load_tokenizer(base, add_pad_token=not model_args.publish_adapter)
    task = build_task(model_args, base, config, tokenizer, data)
    with first_process_first(args, "tokenizing"):
        tokenized = tokenize_splits(task, data_args.preprocessing_num_workers)
    if run_args.export_text_classification:
        check_text_classification(config, task.tokenizer, task.verbalizer)
    advise(args, len(tokenized["train"]), task.prompt)
    precision = choose_precision(model_args.precision, args.device)
    if run_args.dry_run:
        if args.process_index == 0:
            print(describe_plan(args, task, tokenized, precision, destination))
        return

    # Train, between the evaluation of the untouched model and that of the trained one.
    clear_output_dir(args)
    base_model = load_training_model(task, args, precision, max(tokenized["train"]["length"][:]))
    described = describe_run(task, args, precision, base_model)
    if checkpoint:
        on_first_process(args, "comparing with the checkpoint", lambda: refuse_changes(checkpoint, described))
    trainer = LabelWordTrainer(
        run=described,
        verbalizer=task.verbalizer,
        precision=precision,
        class_weights=data.class_weights,
        constrained=model_args.constrain_generation,
        max_tokens=max_tokens,
        model=add_adapter(base_model, model_args),
        args=args,
        train_dataset=tokenize_stream(task, args) if data.stream else tokenized["train"],
        eval_dataset=tokenized["validation"],
        processing_class=task.tokenizer,
    )
    del base_model  # the trainer may let go of it
    content_free = prior_rows(model_args.calibration, tokenized, task.tokenizer)
    zero_shot = ZeroShotBaseline(
        trainer, tokenized.get("test") if model_args.zero_shot_baseline else None, content_free
    )
    trainer.add_callback(zero_shot)
    if checkpoint:
        trainer.add_callback(BestThatIsThere(checkpoint))
    if hub_options:
        trainer.add_callback(checkpoint_push := CheckpointPush(destination, args.hub_strategy))
    trained = trainer.train(resume_from_checkpoint=checkpoint)
    model = merge_trained(trainer, task)
    log_prior = label_log_prior(trainer, content_free)
    save_trained(trainer, task, model, log_prior)
    predictions = {split: trainer.predict(tokenized[split]) for split in tokenized if split != "train"}
    predictions = {split: calibrate(trainer, made, log_prior) for split, made in predictions.items()}

    # Results, card, and publication: once, on the first process.
    def finish() -> None:
        results = save_results(trainer, data, zero_shot.prediction, predictions, trained.metrics, zero_shot.calibrated)
        folder = Path(str(args.output_dir))
        save_plots(trainer, results, predictions)
        save_benchmark_result(provenance, data, results, folder)
        if run_args.export_text_classification:
            unset_hf_deepspeed_config()  # ZeRO-3 would divide what this process loads among all
            export_text_classification(folder)
        save_card(card_values(trainer, model_name, provenance, results, task, tokenized), folder)
        print(summary(results, args.output_dir))
        if destination:
            announce(publish_run(folder, checkpoint_push.destination or destination))

    on_first_process(args, "writing the results and publishing them", finish)
    leave()


if __name__ == "__main__":
    main()
