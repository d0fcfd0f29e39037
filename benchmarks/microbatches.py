"""Batches of many tokens, whole and in parts: what `--max_tokens_per_microbatch` costs and saves.

python -m benchmarks.microbatches --dataset FOLDER
"""

from .material import best_precision, training_flags
from .measure import finish, in_turn, medians, parser, side
from .training import COLUMNS

BATCH = 64


def main() -> None:
    made = parser("benchmarks.microbatches", rows=256, rounds=1)
    made.add_argument("--tokens", type=int, nargs="+", default=[4096, 2048, 1024, 512], help="the most of a part")
    args = made.parse_args()
    common = [*training_flags(args, BATCH), "--precision", best_precision()]
    flags = {f"in parts of at most {tokens} tokens": tokens for tokens in args.tokens} | {"whole": 0}
    sides = {name: side("ours", *common, "--max_tokens_per_microbatch", most) for name, most in flags.items()}
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS)
    for row in table:
        row["× whole"] = row["samples/s"] / table[-1]["samples/s"]
    finish(f"Batches of {BATCH} in parts, {best_precision()}", args, table, [], runs=runs)


if __name__ == "__main__":
    main()
