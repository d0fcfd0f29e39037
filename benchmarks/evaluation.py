"""Evaluation against the tutorial's Trainer, which keeps the whole vocabulary's logits at every position.

    python -m benchmarks.evaluation --dataset FOLDER

Run on `--rows` rows and on a quarter of them, to see how memory grows.
"""

from .material import model_folder
from .measure import Goal, finish, in_turn, median, parser, side


def main() -> None:
    args = parser("benchmarks.evaluation", rows=200, rounds=1).parse_args()
    folder = model_folder(args.model)
    sides = {}
    for rows in (args.rows // 4, args.rows):
        flags = ["--model", folder, "--dataset", args.dataset, "--rows", rows, "--evaluate"]
        sides[f"the tutorial's Trainer, {rows} rows"] = side("tutorial", *flags)
        sides[f"ours, {rows} rows"] = side("ours", *flags)
    runs = in_turn(sides, args.rounds)
    table = [
        {"": name, "samples/s": median(of, "samples_per_second"), "peak GiB": median(of, "peak_gib")}
        for name, of in runs.items()
    ]
    theirs, ours = table[2:]
    growth = (ours["peak GiB"] - table[1]["peak GiB"]) * 2**20 / (args.rows - args.rows // 4)
    their_growth = (theirs["peak GiB"] - table[0]["peak GiB"]) * 2**20 / (args.rows - args.rows // 4)
    goals = [
        Goal("evaluation against the tutorial's", ours["samples/s"] / theirs["samples/s"], 3),
        Goal("evaluation: memory per further row, KiB", growth, 100, True),
    ]
    notes = [f"Memory per further row: {their_growth:,.0f} KiB for the tutorial's Trainer, {growth:,.0f} KiB for ours."]
    finish("Evaluation against the tutorial's", args, table, goals, notes=notes, runs=runs)


if __name__ == "__main__":
    main()
