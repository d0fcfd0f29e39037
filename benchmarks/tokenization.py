"""Tokenization in rows per second, against the tutorial's loop over the rows.

    python -m benchmarks.tokenization --dataset FOLDER

Both in one process, in turn, without a cache, one process each for `Dataset.map`.
"""

import argparse
import time
from typing import Any

from .material import load_rows, model_folder
from .measure import Figures, Goal, finish, medians, parser


def our_tokenization(folder: Any, rows: Any) -> Any:
    """What train.py does with the train split, ready to be called."""
    from hf_sentiment_ft.config.arguments import ModelArguments
    from hf_sentiment_ft.data.splits import LabelledSplits
    from hf_sentiment_ft.label_words.task import build_task
    from hf_sentiment_ft.label_words.tokenization import features_of, tokenize
    from hf_sentiment_ft.model.loading import find_base_model, load_config

    args = ModelArguments(model_name_or_path=str(folder))
    base = find_base_model(args)
    data = LabelledSplits({"train": rows}, rows.features["label"].names)
    task = build_task(args, base, load_config(base), data)
    to_features = features_of(task, task.max_train_length, for_training=True)
    return lambda rows: tokenize(rows, to_features)


def tokens_alone(tokenizer: Any) -> Any:
    """The limit for all: texts in, encodings out, no columns made of them."""
    return lambda rows: tokenizer.backend_tokenizer.encode_batch_fast(rows["text"][:])


def run(args: argparse.Namespace) -> dict[str, list[Figures]]:
    """Time both, in turn; the first round warms up and is left out."""
    import datasets

    from . import tutorial

    datasets.disable_progress_bars()
    datasets.disable_caching()
    rows = load_rows(args.dataset, args.rows)
    rows = datasets.concatenate_datasets([rows] * max(1, args.rows // len(rows)))
    folder = model_folder(args.model)
    tokenizer = tutorial.load_tokenizer(folder)
    ways = {
        "the tutorial's loop": lambda rows: tutorial.tokenize(rows, tokenizer),
        "ours": our_tokenization(folder, rows),
        "the tokenizers library alone": tokens_alone(tokenizer),
    }
    runs: dict[str, list[Figures]] = {name: [] for name in ways}
    for number in range(args.rounds + 1):
        for name, tokenize in ways.items():
            start = time.perf_counter()
            tokenize(rows)
            if number:
                runs[name].append({"rows_per_second": len(rows) / (time.perf_counter() - start)})
    return runs


def main() -> None:
    args = parser("benchmarks.tokenization", rows=8000, rounds=5).parse_args()
    runs = run(args)
    table = medians(runs, {"rows_per_second": "rows/s"})
    ratio = table[1]["rows/s"] / table[0]["rows/s"]
    goals = [Goal("tokenization against the tutorial's loop", ratio, 4)]
    finish("Tokenization", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
