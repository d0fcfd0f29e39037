"""LoRA: ours (`--use_peft`) against PEFT by TRL, rank 16 on all linear layers.

pip install ".[bench]" && python -m benchmarks.lora --dataset FOLDER
"""

import dataclasses
import sys

from hf_sentiment_ft.config.arguments import ModelArguments

from .material import best_precision, training_flags
from .measure import Goal, finish, in_turn, medians, parser, require, side
from .training import COLUMNS

OURS = ["--use_peft", "true", "--lora_r", 16, "--lora_alpha", 32, "--lora_dropout", 0.05]


def main() -> None:
    args = parser("benchmarks.lora", rows=96).parse_args()
    require("trl")
    require("peft")
    if "use_peft" not in {field.name for field in dataclasses.fields(ModelArguments)}:
        sys.exit("skipped: this version of hf_sentiment_ft has no --use_peft.")
    precision = best_precision()
    flags = [*training_flags(args), "--precision", precision]
    sides = {
        "LoRA by TRL as documented (gradient checkpointing)": side("trl_sft", *flags, "--lora"),
        "LoRA by TRL without gradient checkpointing, by length": side("trl_sft", *flags, "--lora", "--fast"),
        "ours, --use_peft": side("ours", *flags, *OURS),
    }
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS)
    for row in table:
        row["ours ÷ it"] = table[-1]["samples/s"] / row["samples/s"]
    goals = [Goal(f"training LoRA against PEFT by TRL as documented, {precision}", table[0]["ours ÷ it"], 2)]
    finish(f"LoRA, {precision}", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
