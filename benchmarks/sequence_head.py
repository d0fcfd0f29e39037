"""AutoModelForSequenceClassification with Trainer, what transformers' run_classification.py does.

It pads every row to 128 tokens unless told; `--dynamic_padding` pads to the longest of a batch.
"""

from .clock import put_clock_on_trainers
from .material import load_rows, peer_settings, side_parser


def main() -> None:
    parser = side_parser("sequence_head")
    parser.add_argument("--dynamic_padding", action="store_true", help="pad to the longest row of a batch")
    args = parser.parse_args()

    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        default_data_collator,
    )

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2)
    model.config.pad_token_id = tokenizer.pad_token_id
    padding = False if args.dynamic_padding else "max_length"
    rows = load_rows(args.dataset, args.rows).map(
        lambda rows: tokenizer(rows["text"], padding=padding, max_length=128, truncation=True),
        batched=True,
        remove_columns=["text"],
    )
    training_args = TrainingArguments(**peer_settings(args))
    collator = DataCollatorWithPadding(tokenizer) if args.dynamic_padding else default_data_collator
    put_clock_on_trainers(args.warmup_steps, args.batch_size)
    Trainer(model=model, args=training_args, data_collator=collator, train_dataset=rows).train()


if __name__ == "__main__":
    main()
