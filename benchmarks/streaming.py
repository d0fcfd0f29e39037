"""How fast the rows of a streamed train split are read, checked, shuffled, grouped and tokenized, and in what memory.

    python -m benchmarks.streaming --num_rows 200000

It writes a file of that many made-up rows of about 20 words, and reads it as `--streaming` does, on one thread.
"""

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

from .measure import MODEL


def write_rows(path: Path, num_rows: int) -> None:
    """Rows of words that tokenizers know, in Parquet."""
    from datasets import Dataset

    draw = random.Random(0)
    words = (Path(__file__).parent.parent / "LICENSE").read_text(encoding="utf-8").split()
    texts = [" ".join(draw.choices(words, k=draw.randint(5, 35))) for _ in range(num_rows)]
    Dataset.from_dict({"text": texts, "label": [draw.choice(["bad", "good"]) for _ in texts]}).to_parquet(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--num_rows", type=int, default=100_000)
    given = parser.parse_args()
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.data.splits import load_splits
    from hf_sentiment_ft.label_words.task import build_task
    from hf_sentiment_ft.label_words.tokenization import tokenize_stream
    from hf_sentiment_ft.model.loading import find_base_model, load_config

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.parquet")
        write_rows(path, given.num_rows)
        flags = ["--model_name_or_path", given.model, "--train_file", str(path), "--streaming", "--use_cpu", "true"]
        flags += ["--max_steps", str(given.num_rows // 16)]
        model_args, data_args, _, _, args = parse_train_arguments(flags)
        base = find_base_model(model_args)
        data = load_splits(data_args, args.seed)
        task = build_task(model_args, base, load_config(base), data)
        print("| rows | rows/s of wall time | rows/s of CPU time | peak memory, MB |\n|---|---|---|---|")
        wall, cpu = time.perf_counter(), time.process_time()
        for number, _ in enumerate(tokenize_stream(task, args), start=1):
            if number % (given.num_rows // 4) == 0:
                speeds = (number / (time.perf_counter() - wall), number / (time.process_time() - cpu))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
                print(f"| {number:,} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
