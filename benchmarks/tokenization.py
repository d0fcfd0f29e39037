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
    from hf_sentiment_ft.config import DEFAULT_PROMPT_TEMPLATE, ModelArguments
    from hf_sentiment_ft.modeling import find_base_model, load_tokenizer
    from hf_sentiment_ft.prompt import build_prompt, put_prompt_into_tokenizer
    from hf_sentiment_ft.tokenization import tokenize
    from hf_sentiment_ft.verbalizer import build_verbalizer, choose_label_words

    base = load_tokenizer(find_base_model(ModelArguments(model_name_or_path=str(folder))))
    prompt = build_prompt(base, DEFAULT_PROMPT_TEMPLATE)
    labels = rows.features["label"].names
    verbalizer = build_verbalizer(base, prompt, labels, choose_label_words(labels, None))
    tokenizer = put_prompt_into_tokenizer(base, prompt)
    options = {"max_length": 512, "truncation_side": "left", "for_training": True, "num_proc": None}
    return lambda rows: tokenize(rows, tokenizer, prompt, verbalizer, **options)


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
    goals = [Goal("tokenization against the tutorial's loop", ratio, 10)]
    finish("Tokenization", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
