"""What each default of the training command is worth: all of them, and all but one.

python -m benchmarks.defaults --dataset FOLDER
"""

from .material import best_precision, training_flags
from .measure import finish, in_turn, medians, parser, side
from .training import COLUMNS

WITHOUT = {
    "in fp32": ["--precision", "fp32"],
    "with the model's own attention": ["--attn_implementation", "sdpa"],
    "without fused AdamW": ["--optim", "adamw_torch"],
    "rows in a random order": ["--train_sampling_strategy", "random"],
    "freed memory given back": ["--keep_freed_memory", "false"],
    "with gradient checkpointing": ["--gradient_checkpointing", "true"],
    "compiled": ["--torch_compile", "true"],
}


def main() -> None:
    args = parser("benchmarks.defaults", rows=64, rounds=1).parse_args()
    common = [*training_flags(args), "--precision", best_precision(), "--warmup_steps", args.rows // 8]
    sides = {"as it is": side("ours", *common)}
    sides |= {name: side("ours", *common, *flags) for name, flags in WITHOUT.items()}
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS | {"run_seconds": "whole run, s"})
    for row in table:
        row["× as it is"] = row["samples/s"] / table[0]["samples/s"]
        row["flag"] = f"`{' '.join(WITHOUT[row['']])}`" if row[""] in WITHOUT else ""
    notes = ["Every side trains on the rows twice, and the second time counts: compiling has been done by then."]
    finish("What each default is worth", args, table, [], notes=notes, runs=runs)


if __name__ == "__main__":
    main()
