"""`predict` against ONNX Runtime, in float32 and in int8: the same answers, probabilities, size, and speed.

    python -m benchmarks.onnx --dataset FOLDER

The model is trained first, for `--steps` steps, so that its probabilities say something. Texts come one at a time, as a
service gets them, and in batches of 32 in the order of their length, as `predict` takes them.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .clock import finish as finish_side
from .material import load_rows, model_folder
from .measure import ROOT, Figures, Goal, finish, in_turn, medians, parser, require, side
from .prediction import trained_model

BATCH = 32
SIDES = {"predict": None, "ONNX, float32": "onnx", "ONNX, int8": "onnx-int8"}


def by_onnx(folder: Path) -> Callable[[list[str]], list[list[float]]]:
    """Answer as docs/deploy.md shows it."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def answer(texts: list[str]) -> list[list[float]]:
        batch = tokenizer.encode_batch(texts)
        feed = {"input_ids": [one.ids for one in batch], "attention_mask": [one.attention_mask for one in batch]}
        (logits,) = session.run(["logits"], {name: np.array(rows) for name, rows in feed.items()})
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).tolist()

    return answer


def by_predict(folder: Path) -> Callable[[list[str]], list[list[float]]]:
    from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities

    loaded = load_label_word_model(str(folder))
    return lambda texts: predict_probabilities(loaded, texts, BATCH).tolist()


def run_side(args: argparse.Namespace) -> None:
    """Label the test rows in one way, in batches and then one at a time."""
    texts = sorted(load_rows(args.dataset, args.rows, "test")["text"], key=len)
    answer = by_onnx(args.run / args.side) if args.side in SIDES.values() else by_predict(args.run)
    answer(texts[:4])
    start = time.perf_counter()
    batches = [answer(texts[first : first + BATCH]) for first in range(0, len(texts), BATCH)]
    seconds = time.perf_counter() - start
    few = texts[:: max(1, len(texts) // 50)]
    start = time.perf_counter()
    for text in few:
        answer([text])
    alone = (time.perf_counter() - start) / len(few)
    finish_side(
        rows_per_second=len(texts) / seconds,
        milliseconds=alone * 1000,
        probabilities=[row for batch in batches for row in batch],
    )


def compare(table: list[Figures], probabilities: list[list[list[float]]]) -> None:
    """Add to each side how its answers differ from those of the first one."""
    first = probabilities[0]
    for row, other in zip(table, probabilities, strict=True):
        pairs = list(zip(first, other, strict=True))
        row["same answers"] = sum(a.index(max(a)) == b.index(max(b)) for a, b in pairs) / len(pairs)
        apart = sorted(max(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in pairs)
        row["probabilities apart, mean"], row["at most"] = sum(apart) / len(apart), apart[-1]


def megabytes(folder: Path, pattern: str) -> float:
    """The size of a model's files."""
    return sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6


def main() -> None:
    made = parser("benchmarks.onnx", rows=200)
    made.add_argument("--steps", type=int, default=200, help="steps of training, with batches of 8")
    made.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    made.add_argument("--side", help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.side:
        return run_side(args)
    del args.side, args.run
    require("onnxruntime")
    folder = trained_model(model_folder(args.model), args.dataset, args.steps)
    for flags in ([], ["--quantize", "int8"]):
        command = [sys.executable, "-m", "hf_sentiment_ft.export", str(folder), *flags]
        subprocess.run(command, cwd=ROOT, check=True)
    flags = ["--run", folder, "--dataset", args.dataset, "--rows", args.rows, "--side"]
    runs = in_turn({name: side("onnx", *flags, key or "predict") for name, key in SIDES.items()}, args.rounds)
    table = medians(runs, {"rows_per_second": "rows/s", "milliseconds": "one text, ms", "peak_gib": "peak GiB"})
    for row, name in zip(table, SIDES.values(), strict=True):
        row["MB"] = megabytes(folder / name, "model.onnx*") if name else megabytes(folder, "model*.safetensors")
    compare(table, [of[0]["probabilities"] for of in runs.values()])
    for of in runs.values():
        for run in of:
            del run["probabilities"]
    _, whole, quantized = table
    goals = [
        Goal("ONNX in float32: probabilities apart from those of predict", whole["at most"], 1e-4, at_most=True),
        Goal("ONNX in int8: share of the same answers", quantized["same answers"], 0.97),
        Goal("ONNX in int8: size against float32", quantized["MB"] / whole["MB"], 0.5, at_most=True),
        Goal("ONNX in int8: rows/s against float32", quantized["rows/s"] / whole["rows/s"], 1.5),
    ]
    return finish("ONNX Runtime against predict", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
