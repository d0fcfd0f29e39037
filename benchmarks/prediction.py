"""`predict` in rows per second against a loop over `pipeline("text-generation")`, batches of 32, and the same answers.

    python -m benchmarks.prediction --dataset FOLDER

The model is trained first, on a few rows, so that it answers with label words.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from .clock import finish as finish_side
from .material import load_rows, model_folder
from .measure import ONE_GPU, ROOT, Goal, finish, in_turn, medians, parser, side


def trained_model(base: Path, dataset: str) -> Path:
    """A model that our command has trained for a few steps; made once."""
    folder = base.with_name(f"{base.name}-trained")
    if not (folder / "all_results.json").is_file():
        flags = "--max_steps 30 --max_eval_samples 8 --max_test_samples 8 --zero_shot_baseline false --save_only_model"
        flags += f" --dataset_name {dataset} --model_name_or_path {base} --output_dir {folder} --overwrite_output_dir"
        command = [sys.executable, "-m", "hf_sentiment_ft.train", *flags.split()]
        subprocess.run(command, cwd=ROOT, env=os.environ | ONE_GPU, check=True, capture_output=True)
    return folder


def run_side(args: argparse.Namespace) -> None:
    """Label the test rows by one way or the other."""
    import torch

    texts = load_rows(args.dataset, args.rows, "test")["text"][:]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.side == "pipeline":
        from transformers import pipeline

        generate = pipeline("text-generation", model=str(args.model), batch_size=32, device=device)

        def answer(texts: list[str]) -> list[str]:
            return [rows[0]["generated_text"] for rows in generate(texts, return_full_text=False)]
    else:
        from hf_sentiment_ft.data.columns import Columns
        from hf_sentiment_ft.label_words.model import load_label_word_model
        from hf_sentiment_ft.predict import label_rows

        loaded = load_label_word_model(str(args.model))
        loaded.model.to(device)

        def answer(texts: list[str]) -> list[str]:
            rows, columns = ({"text": text} for text in texts), Columns(["text"], label="")
            return [row["label_word"] for row in label_rows(loaded, rows, columns, 32)]

    answer(texts[:4])
    start = time.perf_counter()
    answers = answer(texts)
    finish_side(rows_per_second=len(texts) / (time.perf_counter() - start), answers=answers)


def main() -> None:
    made = parser("benchmarks.prediction", rows=128)
    made.add_argument("--side", choices=("pipeline", "ours"), help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.side:
        return run_side(args)
    del args.side
    folder = trained_model(model_folder(args.model), args.dataset)
    flags = ["--model", folder, "--dataset", args.dataset, "--rows", args.rows, "--side"]
    sides = {
        name: side("prediction", *flags, key) for name, key in (("pipeline, batch 32", "pipeline"), ("ours", "ours"))
    }
    runs = in_turn(sides, args.rounds)
    table = medians(runs, {"rows_per_second": "rows/s", "peak_gib": "peak GiB"})
    (theirs, ours) = (of[0].pop("answers") for of in runs.values())
    same = sum(a == b for a, b in zip(theirs, ours, strict=True)) / len(ours)
    for of in runs.values():
        for run in of:
            run.pop("answers", None)
    goals = [
        Goal("predict against a loop over pipeline", table[1]["rows/s"] / table[0]["rows/s"], 3),
        Goal("share of the same answers", same, 1),
    ]
    return finish("Prediction", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
