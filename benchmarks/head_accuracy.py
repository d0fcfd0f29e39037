"""A classification head on the same model, rows, steps and learning rate: what label words are compared with.

python -m benchmarks.head_accuracy [flags of hf_sentiment_ft.train]
"""

import sys
from collections.abc import Callable
from typing import Any

from .clock import finish, output_dir


def figures_of(data: Any, score: Callable[[Any], Any]) -> dict[str, float]:
    """Measure validation and test; `score` takes rows and returns log-probabilities or logits, (rows, num_labels)."""
    import numpy as np

    from hf_sentiment_ft.evaluation.metrics import measure

    figures = {}
    for split, prefix in (("validation", "eval"), ("test", "test")):
        rows = data.splits[split]
        scores = np.asarray(score(rows))
        measured = measure(scores, scores.argmax(1), np.asarray(rows["label"][:]), data.labels)
        measured.pop("generation_accuracy")  # it generates nothing
        figures |= {f"{prefix}_{name}": value for name, value in measured.items() if isinstance(value, float)}
    return figures


def main() -> None:
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        set_seed,
    )

    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.data.splits import load_splits
    from hf_sentiment_ft.runtime.device import choose_precision

    model_args, data_args, _, _, args = parse_train_arguments([*sys.argv[1:], "--output_dir", output_dir()])
    set_seed(args.seed)
    data = load_splits(data_args, args.seed)
    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(
        model_args.model_name_or_path, num_labels=len(data.labels)
    )
    model.config.pad_token_id = tokenizer.pad_token_id

    def tokenize(rows: dict[str, Any]) -> dict[str, Any]:
        encoded = tokenizer(rows["text"], truncation=True, max_length=model_args.max_seq_length)
        return {**encoded, "length": [len(ids) for ids in encoded["input_ids"]]}

    args.save_strategy = args.eval_strategy = "no"
    args.load_best_model_at_end = False
    args.bf16 = choose_precision(model_args.precision, args.device) == "bf16"
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=data.splits["train"].map(tokenize, batched=True),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    figures = {"train_runtime": trainer.train().metrics["train_runtime"]}
    figures |= figures_of(data, lambda rows: trainer.predict(rows.map(tokenize, batched=True)).predictions)
    finish(**figures)


if __name__ == "__main__":
    main()
