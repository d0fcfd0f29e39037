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


def trained_model(base: Path, dataset: str, steps: int = 30) -> Path:
    """A model that our command has trained for some steps; made once."""
    rows = dataset.rstrip("/").rpartition("/")[2]
    folder = base.with_name(f"{base.name}-trained-{rows}-{steps}")
    if not (folder / "all_results.json").is_file():
        flags = f"--max_steps {steps} --per_device_train_batch_size 8 --max_eval_samples 8 --max_test_samples 8"
        flags += " --zero_shot_baseline false --save_only_model"
        flags += f" --dataset_name {dataset} --model_name_or_path {base} --output_dir {folder} --overwrite_output_dir"
        command = [sys.executable, "-m", "hf_sentiment_ft.train", *flags.split()]
        subprocess.run(command, cwd=ROOT, env=os.environ | ONE_GPU, check=True, capture_output=True)
    return folder


def run_side(args: argparse.Namespace) -> None:
    """Label the test rows by one way or the other."""
    import torch

    texts = load_rows(args.dataset, args.rows, "test")["text"][:]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    probabilities: list[float] = []
    if args.side == "pipeline":
        from transformers import pipeline

        generate = pipeline("text-generation", model=str(args.model), batch_size=32, device=device)

        def answer(texts: list[str]) -> list[str]:
            return [rows[0]["generated_text"] for rows in generate(texts, return_full_text=False)]
    else:
        from hf_sentiment_ft.data.columns import Columns
        from hf_sentiment_ft.label_words.labelling import label_rows
        from hf_sentiment_ft.label_words.model import load_label_word_model

        loaded = load_label_word_model(str(args.model))
        loaded.model.to(device)

        def answer(texts: list[str]) -> list[str]:
            rows, columns = ({"text": text} for text in texts), Columns(["text"], label="")
            labelled = list(label_rows(loaded, rows, columns, 32, precision=args.side))
            probabilities.extend(row[f"probability_{loaded.verbalizer.labels[0]}"] for row in labelled)
            return [row["label_word"] for row in labelled]

    answer(texts[:4])
    probabilities.clear()
    start = time.perf_counter()
    answers = answer(texts)
    finish_side(
        rows_per_second=len(texts) / (time.perf_counter() - start), answers=answers, probabilities=probabilities
    )


def main() -> None:
    made = parser("benchmarks.prediction", rows=128)
    made.add_argument("--side", choices=("pipeline", "fp32", "bf16"), help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.side:
        return run_side(args)
    del args.side
    folder = trained_model(model_folder(args.model), args.dataset)
    flags = ["--model", folder, "--dataset", args.dataset, "--rows", args.rows, "--side"]
    names = {"pipeline, batch 32": "pipeline", "ours": "fp32", "ours, --precision bf16": "bf16"}
    runs = in_turn({name: side("prediction", *flags, key) for name, key in names.items()}, args.rounds)
    table = medians(runs, {"rows_per_second": "rows/s", "peak_gib": "peak GiB"})
    for row in table:
        row["× pipeline"] = row["rows/s"] / table[0]["rows/s"]
    theirs, ours, in_bf16 = (of[0]["answers"] for of in runs.values())
    _, exact, rounded = (of[0]["probabilities"] for of in runs.values())
    apart = max(abs(a - b) for a, b in zip(exact, rounded, strict=True))
    for of in runs.values():
        for run in of:
            del run["answers"], run["probabilities"]
    goals = [
        Goal("predict against a loop over pipeline", table[1]["× pipeline"], 3),
        Goal("predict in bf16 against a loop over pipeline", table[2]["× pipeline"], 3),
        Goal("share of the same answers", share(theirs, ours), 1),
    ]
    notes = [
        f"In bf16, {share(ours, in_bf16):.2%} of the answers are the same, probabilities at most {apart:.2g} apart."
    ]
    return finish("Prediction", args, table, goals, notes=notes, runs=runs)


def share(some: list[str], others: list[str]) -> float:
    """The share of rows with the same answer."""
    return sum(a == b for a, b in zip(some, others, strict=True)) / len(some)


if __name__ == "__main__":
    main()
