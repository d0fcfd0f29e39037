"""A short form of every comparison, one after the other, then docs/performance.md.

python -m benchmarks --dataset FOLDER
"""

import argparse
import subprocess
import sys
import time

from .measure import ROOT

COMPARISONS = {
    "training": ["--rows", "64", "--rounds", "1"],
    "against_trl": ["--rows", "48", "--rounds", "1"],
    "against_sequence_head": ["--rows", "32", "--rounds", "1"],
    "lora": ["--rows", "32", "--rounds", "1"],
    "defaults": ["--rows", "32"],
    "microbatches": ["--rows", "64", "--tokens", "1024"],
    "limit": ["--rows", "96", "--rounds", "1"],
    "step_budget": ["--rows", "96"],
    "evaluation": ["--rows", "256", "--rounds", "1"],
    "strong_scaling": ["--rows", "64"],
    "tokenization": ["--rounds", "3"],
    "startup": ["--rounds", "1"],
    "scaling": ["--sizes", "1000", "10000", "100000"],
    "prediction": ["--rows", "256", "--rounds", "1"],
    "questions": ["--rows", "16"],
    "onnx": ["--rows", "64", "--steps", "30", "--rounds", "1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--dataset", default="package:hf_sentiment_ft/sample_reviews", help="as --dataset_name")
    args = parser.parse_args()
    start = time.monotonic()
    failed = []
    for name, flags in COMPARISONS.items():
        command = [sys.executable, "-m", f"benchmarks.{name}", "--dataset", args.dataset, *flags]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
        print(f"{name} done, {time.monotonic() - start:.0f} s in all\n", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=True)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
