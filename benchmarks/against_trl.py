"""Training against TRL's SFTTrainer, loss on the completion only: as documented, and its fastest set-up.

pip install ".[bench]" && python -m benchmarks.against_trl --dataset FOLDER
"""

from .material import best_precision, training_flags
from .measure import Goal, finish, in_turn, medians, parser, require, side
from .training import COLUMNS


def main() -> None:
    args = parser("benchmarks.against_trl", rows=96).parse_args()
    require("trl")
    common = training_flags(args)
    sides = {
        "TRL without gradient checkpointing, by length, fp32": side("trl_sft", *common, "--fast"),
        "ours, fp32": side("ours", *common),
    }
    if bf16 := best_precision() == "bf16":
        fast = [*common, "--precision", "bf16", "--fast"]
        sides |= {
            "TRL as documented (bf16, gradient checkpointing)": side("trl_sft", *common, "--precision", "bf16"),
            "TRL without gradient checkpointing, by length, bf16": side("trl_sft", *fast),
            "TRL the same, padding-free, bf16": side("trl_sft", *fast, "--padding_free"),
            "ours, bf16": side("ours", *common, "--precision", "bf16"),
        }
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS)
    speed = {row[""]: row["samples/s"] for row in table}
    for row in table:
        row["ours ÷ it"] = speed["ours, bf16" if "bf16" in row[""] else "ours, fp32"] / row["samples/s"]
    fp32, *by_bf16 = (row["ours ÷ it"] for row in table if row[""].startswith("TRL"))
    goals = [Goal("training against TRL's fastest, fp32", fp32, 2.5)]
    if bf16:
        goals.append(Goal("training against TRL as documented, bf16", by_bf16[0], 4))
        goals.append(Goal("training against TRL's fastest, bf16", min(by_bf16), 3))
    finish("Training against TRL SFTTrainer", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
