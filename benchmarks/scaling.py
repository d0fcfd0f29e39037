"""Cost per row from 1,000 to 1,000,000 rows: load, tokenize, group by length and batch one epoch, without the model.

    python -m benchmarks.scaling --dataset FOLDER --sizes 1000 1000000

Each size in a fresh process with an empty cache. The rows of the dataset are repeated, numbered so that none is the
same as another; batches come from our Trainer's dataloader, on a model of a few weights. A million rows take a few
minutes and about 2 GB of disk, which are free again afterwards.
"""

import argparse
import csv
import itertools
import os
import time
from pathlib import Path

from .clock import finish as finish_side
from .clock import output_dir, own_gib, peak_gib
from .material import load_rows, model_folder
from .measure import Goal, finish, median, parser, side


def write_csv(source: str, rows: int, path: Path) -> None:
    """A file of as many rows as asked for."""
    table = load_rows(source, 10**9).shuffle(seed=0)  # both labels among the first
    names = table.features["label"].names
    texts, labels = table["text"][:], [names[label] for label in table["label"]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        pairs = itertools.cycle(zip(texts, labels, strict=True))
        writer.writerows((f"{number} {text}", label) for number, (text, label) in zip(range(rows), pairs, strict=False))


def run_side(args: argparse.Namespace) -> None:
    """Load, tokenize and batch one file."""
    import datasets
    from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

    from hf_sentiment_ft.config.arguments import DataArguments
    from hf_sentiment_ft.data.splits import load_splits
    from hf_sentiment_ft.training.batches import LabelWordCollator
    from hf_sentiment_ft.training.resumable import ResumableTrainer

    from .tokenization import our_tokenization

    datasets.disable_progress_bars()
    path = Path(output_dir()) / "rows.csv"
    for rows in (2, args.rows):  # the first time brings what does not grow with the rows
        write_csv(args.dataset, max(rows, 200), path)
        before, own_before, times = peak_gib(), own_gib(), [time.perf_counter()]
        files = {"train_file": str(path), "validation_file": str(path), "test_split_percentage": 0}
        table = load_splits(DataArguments(**files, max_eval_samples=8), 42).splits["train"]
        loaded = time.perf_counter()
        tokenize = our_tokenization(args.model, table)
        setting_up = time.perf_counter() - loaded  # does not grow with the rows
        tokenized = tokenize(table)
        times += [loaded, time.perf_counter() - setting_up]
        tiny = LlamaForCausalLM(
            LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
        )
        trainer = ResumableTrainer(
            model=tiny,
            args=TrainingArguments(
                output_dir=output_dir(),
                per_device_train_batch_size=16,
                train_sampling_strategy="group_by_length",
                use_cpu=True,
                report_to="none",
            ),
            data_collator=LabelWordCollator(0, {"position_ids", "logits_to_keep"}),
            train_dataset=tokenized,
        )
        own = own_gib()
        for _ in trainer.get_train_dataloader():
            pass
        times.append(time.perf_counter() - setting_up)
        own = max(own, own_gib()) - own_before
    load, tokenize, batch = (1e6 * (b - a) / args.rows for a, b in itertools.pairwise(times))
    grown = {"grown_gib": peak_gib() - before, "own_grown_gib": own}
    finish_side(load_us=load, tokenize_us=tokenize, batch_us=batch, **grown)


def main() -> None:
    made = parser("benchmarks.scaling", rows=0, rounds=1)
    made.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="numbers of rows")
    made.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.side:
        os.environ["HF_DATASETS_CACHE"] = output_dir()
        return run_side(args)
    flags = ["--side", "--dataset", args.dataset, "--model", model_folder(args.model), "--rows"]
    from .measure import in_turn

    runs = in_turn({f"{size:,} rows": side("scaling", *flags, size) for size in args.sizes}, args.rounds)
    table = []
    for name, of in runs.items():
        row = {"": name} | {f"{what}, µs/row": median(of, f"{what}_us") for what in ("load", "tokenize", "batch")}
        row["together, µs/row"] = sum(list(row.values())[1:])
        row["memory grown, GiB"] = median(of, "grown_gib")
        table.append(row | {"without mapped files, GiB": median(of, "own_grown_gib")})
    few, many = table[0], table[-1]
    goals = [
        Goal("cost per row, most rows ÷ fewest", many["together, µs/row"] / few["together, µs/row"], 1.2, True),
        Goal(f"memory grown without mapped files, GiB, {many['']}", many["without mapped files, GiB"], 0.5, True),
    ]
    notes = [
        "Memory grown is that of the peak, with the pages of Arrow files that are mapped, which the kernel may drop. "
        "Without them it is looked at when the rows are tokenized and when they have been batched."
    ]
    return finish("Cost per row", args, table, goals, notes=notes, runs=runs)


if __name__ == "__main__":
    main()
