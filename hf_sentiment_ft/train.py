r"""Fine-tune a causal language model to answer with the label word.

    accelerate launch -m hf_sentiment_ft.train --model_name_or_path gpt2 \
        --dataset_name cornell-movie-review-data/rotten_tomatoes --push_to_hub

    accelerate launch -m hf_sentiment_ft.train recipes/tutorial.yaml --num_train_epochs 2
"""

import sys
from typing import TYPE_CHECKING

from .config import DataArguments, ModelArguments, RunArguments, parse_train_arguments
from .errors import usage_errors_exit

if TYPE_CHECKING:
    from transformers import TrainingArguments


def main() -> None:
    """Read the flags, run, and end without a traceback if the user has made a mistake."""
    with usage_errors_exit():
        run(*parse_train_arguments(sys.argv[1:]))


def run(
    model_args: ModelArguments, data_args: DataArguments, run_args: RunArguments, args: "TrainingArguments"
) -> None:
    """Load, train, evaluate, save, write the card, and push."""
    from transformers import set_seed

    from .data import load_splits
    from .device import choose_precision, keep_freed_memory
    from .hub import default_model_name, push, take_destination
    from .model_card import write_model_card
    from .modeling import context_length, find_base_model, load_model, load_tokenizer, prepare_for_generation
    from .output import check_output_dir, find_checkpoint, log_to_console
    from .prompt import build_prompt, put_prompt_into_tokenizer
    from .provenance import find_provenance
    from .results import save_results, summary
    from .tokenization import tokenize_splits
    from .trainer import LabelWordTrainer
    from .verbalizer import build_verbalizer, choose_label_words

    # Checks: what can go wrong by mistake goes wrong here, before any long work.
    log_to_console(args)
    keep_freed_memory()
    model_name = default_model_name(model_args.model_name_or_path, data_args.name)
    checkpoint = find_checkpoint(args)
    check_output_dir(args, run_args.overwrite_output_dir)
    destination = take_destination(args, model_name)
    base = find_base_model(model_args)
    set_seed(args.seed)

    # Data, label words, and the tokenizer that puts the prompt around every text.
    with args.main_process_first(desc="loading the data set"):
        data = load_splits(data_args, args.seed)
    base_tokenizer = load_tokenizer(base)
    prompt = build_prompt(base_tokenizer, model_args.prompt_template)
    words = choose_label_words(data.labels, model_args.label_words)
    verbalizer = build_verbalizer(base_tokenizer, prompt, data.labels, words)
    tokenizer = put_prompt_into_tokenizer(base_tokenizer, prompt)

    # Model, and the rows as it reads them.
    model = load_model(base, model_args.dtype, tokenizer)
    prepare_for_generation(model, tokenizer, model_args.prompt_template, verbalizer)
    with args.main_process_first(desc="tokenizing"):
        tokenized = tokenize_splits(
            data, tokenizer, prompt, verbalizer, model_args, context_length(model), data_args.preprocessing_num_workers
        )

    # Train, between the evaluation of the untouched model and that of the trained one.
    precision = choose_precision(model_args.precision, args.device)
    trainer = LabelWordTrainer(
        verbalizer=verbalizer,
        precision=precision,
        model=model,
        args=args,
        train_dataset=tokenized["train"],
        eval_dataset=tokenized["validation"],
        processing_class=tokenizer,
    )
    zero_shot = trainer.predict(tokenized["test"]) if model_args.zero_shot_baseline and "test" in tokenized else None
    trained = trainer.train(resume_from_checkpoint=checkpoint)
    prepare_for_generation(model, tokenizer, model_args.prompt_template, verbalizer)  # Trainer changes the config
    trainer.save_model()
    predictions = {split: trainer.predict(tokenized[split]) for split in tokenized if split != "train"}

    # Results, card, and publication: once, on the first process.
    if trainer.is_world_process_zero():
        results = save_results(trainer, data, zero_shot, predictions, trained.metrics)
        write_model_card(
            trainer,
            model_name=model_name,
            repo_id=destination.repo_id if destination else None,
            provenance=find_provenance(model_args, base, data_args, data),
            results=results,
            data=data,
            tokenized=tokenized,
            context_length=context_length(model),
            model_args=model_args,
        )
        print(summary(results, args.output_dir))
        if destination:
            print(f"published: {push(args.output_dir, destination).commit_url}")


if __name__ == "__main__":
    main()
