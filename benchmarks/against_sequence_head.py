"""Training against AutoModelForSequenceClassification with Trainer (run_classification.py), same precision.

python -m benchmarks.against_sequence_head --dataset FOLDER
"""

from .material import best_precision, training_flags
from .measure import Goal, finish, in_turn, medians, parser, side
from .training import COLUMNS


def main() -> None:
    args = parser("benchmarks.against_sequence_head", rows=48).parse_args()
    common = training_flags(args)
    precisions = ["fp32"] + ["bf16"] * (best_precision() == "bf16")
    sides = {}
    for precision in precisions:
        flags = [*common, "--precision", precision]
        sides[f"{precision}, head, padded to 128 (its default)"] = side("sequence_head", *flags)
        sides[f"{precision}, head, padded by batch"] = side("sequence_head", *flags, "--dynamic_padding")
        sides[f"{precision}, ours"] = side("ours", *flags)
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS)
    speed = {row[""]: row["samples/s"] for row in table}
    for row in table:
        row["ours ÷ it"] = speed[f"{row[''][:4]}, ours"] / row["samples/s"]
    ratio = {row[""]: row["ours ÷ it"] for row in table}
    goals = [
        Goal(f"training against {name.partition(', ')[2]}, {name[:4]}", ratio[name], 1.5)
        for name in ratio
        if "head" in name
    ]
    finish("Training against a sequence classification head", args, table, goals, runs=runs)


if __name__ == "__main__":
    main()
