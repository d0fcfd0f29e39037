"""From the command to the first optimizer step, caches warm, against importing the libraries and loading the weights.

python -m benchmarks.startup --dataset FOLDER
"""

import os
import sys
import time

from .material import best_precision, model_folder
from .measure import Figures, Goal, finish, medians, parser, run_side, side

BASELINE = """
import json, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer
AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="float32")
model.to("cuda" if torch.cuda.is_available() else "cpu")
seconds = time.time() - float(sys.argv[2])
print(json.dumps({"seconds_to_training": seconds, "seconds_to_first_step": seconds}))
"""


def main() -> None:
    args = parser("benchmarks.startup", rows=8, rounds=3).parse_args()
    folder = str(model_folder(args.model))
    ours = side("ours", "--model", folder, "--dataset", args.dataset, "--rows", args.rows, "--warmup_steps", 0)
    ours += ["--precision", best_precision()]
    alone = [sys.executable, *ours[ours.index("benchmarks.ours") - 1 :]]
    sides = {"imports and weights": None, "python -m hf_sentiment_ft.train": alone, "accelerate launch -m …": ours}
    runs: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(args.rounds + 1):  # the first round warms the caches
        for name, command in sides.items():
            started = str(time.time())
            os.environ["BENCHMARK_STARTED"] = started
            figures = run_side(command or [sys.executable, "-c", BASELINE, folder, started])
            if number:
                runs[name].append(figures)
    table = medians(runs, {"seconds_to_training": "training begins, s", "seconds_to_first_step": "first step done, s"})
    for row in table:
        row["× imports and weights"] = row["first step done, s"] / table[0]["first step done, s"]
    goals = [
        Goal("command to first optimizer step, s", table[1]["first step done, s"], 15, True),
        Goal("the same ÷ importing and loading", table[1]["× imports and weights"], 1.2, True),
    ]
    notes = ["With `--zero_shot_baseline false`: the untouched model's evaluation would come before the first step."]
    finish("From command to first step", args, table, goals, notes=notes, runs=runs)


if __name__ == "__main__":
    main()
