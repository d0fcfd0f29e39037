"""The tutorial's script: Trainer on rows of 32 tokens, gradient checkpointing, a loss at the label's token only.

Its choices, not its words. Text, end-of-text token and label make a row; the row is cut from the left or padded on the
right with id 0, the attention mask likewise. `[PAD]` is added to the tokenizer, then its id is set to 0.
"""

from typing import Any

from .clock import output_dir, put_clock_on_predictions, put_clock_on_trainers
from .material import load_rows, side_parser, steps

MAX_LEN = 32


def load_tokenizer(model: Any) -> Any:
    """The tokenizer with the tutorial's pad id."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.pad_token_id = 0
    return tokenizer


def tokenize(rows: Any, tokenizer: Any, **map_options: Any) -> Any:
    """Text by text, as the tutorial does it."""
    label_ids = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("neg", "pos")]

    def process(examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        features: dict[str, list[Any]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for text, label in zip(examples["text"], examples["label"], strict=True):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id, label_ids[label]]
            ids = ids[-MAX_LEN:]
            padding = MAX_LEN - len(ids)
            features["input_ids"].append(ids + [0] * padding)
            features["attention_mask"].append([1] * len(ids) + [tokenizer.pad_token_id] * padding)
            features["labels"].append([-100] * (len(ids) - 1) + [label_ids[label]] + [-100] * padding)
        return features

    return rows.map(process, batched=True, remove_columns=rows.column_names, **map_options)


def main() -> None:
    parser = side_parser("tutorial")
    parser.add_argument("--evaluate", action="store_true", help="time an evaluation that keeps the logits instead")
    parser.add_argument("--logging_steps", type=int, default=100)
    args = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM, DataCollatorWithPadding, Trainer, TrainingArguments

    model = AutoModelForCausalLM.from_pretrained(args.model)
    tokenizer = load_tokenizer(args.model)
    rows = tokenize(load_rows(args.dataset, args.rows, "test" if args.evaluate else "train"), tokenizer)
    training_args = TrainingArguments(
        output_dir=output_dir(),
        max_steps=steps(args),
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        learning_rate=2e-5,
        logging_steps=args.logging_steps,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.accelerator.is_available(),
    )
    if args.evaluate:
        put_clock_on_predictions()
    else:
        put_clock_on_trainers(args.warmup_steps, args.batch_size)
    model.gradient_checkpointing_enable()
    collator = DataCollatorWithPadding(tokenizer=tokenizer, return_tensors="pt")
    trainer = Trainer(model=model, args=training_args, data_collator=collator, train_dataset=rows, eval_dataset=rows)
    if args.evaluate:
        trainer.predict(rows)
    trainer.train()


if __name__ == "__main__":
    main()
