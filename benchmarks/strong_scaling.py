"""The same training on one process and on two, one thread each: how much faster two are.

    python -m benchmarks.strong_scaling --rows 128

The global batch is 16 in both, of the same rows, so that both do the same mathematics.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hf_sentiment_ft.paths import resource_path

from .material import model_folder, rows_by_length
from .measure import Figures, finish, medians, parser

GLOBAL_BATCH = 16


def train(num_processes: int, model: Path, dataset: Path) -> Figures:
    """Train once, through `accelerate launch`, and return what Trainer measured."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(resource_path("multi_cpu"))]
        command += ["--num_processes", str(num_processes), "-m", "hf_sentiment_ft.train", "--output_dir", folder]
        command += ["--model_name_or_path", str(model), "--dataset_name", str(dataset)]
        command += ["--train_sampling_strategy", "sequential", "--max_eval_samples", "2", "--max_test_samples", "2"]
        command += ["--per_device_train_batch_size", str(GLOBAL_BATCH // num_processes), "--num_train_epochs", "1"]
        command += ["--zero_shot_baseline", "false", "--eval_strategy", "no", "--save_strategy", "no"]
        command += ["--load_best_model_at_end", "false", "--use_cpu", "true"]  # also where there is a GPU
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
        measured = json.loads(Path(folder, "train_results.json").read_text(encoding="utf-8"))
        return {"rows_per_second": measured["train_samples_per_second"]}


def main() -> None:
    args = parser("benchmarks.strong_scaling", rows=128, rounds=1).parse_args()
    folder = model_folder(args.model)
    rows = rows_by_length(args.dataset, folder, args.rows, GLOBAL_BATCH)
    runs: dict[str, list[Figures]] = {"one process": [], "two processes": []}
    for _ in range(args.rounds):
        for number, of in enumerate(runs.values(), start=1):
            of.append(train(number, folder, rows))
    table = medians(runs, {"rows_per_second": "rows/s"})
    for row in table:
        row["× one process"] = row["rows/s"] / table[0]["rows/s"]
    finish("Strong scaling, the same global batch of 16, one thread a process", args, table, [], runs=runs)


if __name__ == "__main__":
    main()
