"""Training against the tutorial's script as it stands: speed, memory, and the same loss curve.

python -m benchmarks.training --dataset FOLDER
"""

from .material import best_precision, training_flags
from .measure import Goal, finish, in_turn, medians, parser, run_side, side

COLUMNS = {"samples_per_second": "samples/s", "peak_gib": "peak GiB"}


def loss_curves(common: list[str]) -> tuple[list[float], list[float]]:
    """Losses of every step when ours has the tutorial's rows, order, seed, learning rate and precision."""
    tutorial = run_side(side("tutorial", *common, "--logging_steps", 1))["losses"]
    as_tutorial = ["--recipe", "recipes/tutorial.yaml", "--gradient_checkpointing", "false", "--save_dataset_dir", ""]
    ours = run_side(side("ours", *common, *as_tutorial, "--logging_steps", 1))["losses"]
    return tutorial, ours


def main() -> None:
    args = parser("benchmarks.training", rows=96).parse_args()
    common = training_flags(args)
    best = best_precision()
    sides = {
        "the tutorial's script, fp32, batch 8": side("tutorial", *common),
        "ours, fp32, batch 8": side("ours", *common),
    }
    if best == "bf16":
        sides["ours, bf16, batch 8"] = side("ours", *common, "--precision", "bf16")
    saving = side("ours", *common, "--precision", best, "--gradient_checkpointing", "true")
    sides[f"ours, {best}, batch 8, gradient checkpointing as the tutorial's"] = saving
    large = [*training_flags(args, 32), "--precision", best]
    sides[f"ours, {best}, batch 32"] = side("ours", *large)
    compiled = ["--torch_compile", "true"]
    sides[f"ours, {best}, batch 8, compiled"] = side("ours", *common, "--precision", best, *compiled)
    sides[f"ours, {best}, batch 32, compiled"] = side("ours", *large, *compiled)
    runs = in_turn(sides, args.rounds)
    table = medians(runs, COLUMNS)
    for row in table:
        row["× tutorial"] = row["samples/s"] / table[0]["samples/s"]
    tutorial, ours = loss_curves(common)
    apart = max(abs(a - b) for a, b in zip(tutorial, ours, strict=True))
    by_name = {row[""]: row for row in table}
    default, large_batch, saving_memory = (
        by_name[f"ours, {best}, batch {which}"] for which in ("8", "32", "8, gradient checkpointing as the tutorial's")
    )
    speed = "training against the tutorial's script, batch"
    goals = [
        Goal(f"{speed} 8, {best}", default["× tutorial"], 4 if best == "bf16" else 3),
        Goal(f"{speed} 32, {best}", large_batch["× tutorial"], 8 if best == "bf16" else 4),
        Goal("peak memory of training, GiB, against the tutorial's", default["peak GiB"], table[0]["peak GiB"], True),
        Goal("the same with gradient checkpointing", saving_memory["peak GiB"], table[0]["peak GiB"], True),
        Goal("speed with gradient checkpointing against the tutorial's", saving_memory["× tutorial"], 1),
        Goal("largest difference of the two loss curves", apart, 0.01, True),
    ]
    notes = [f"Loss curves, the tutorial's tokens, order and seed: {len(ours)} steps, at most {apart:.2g} apart."]
    finish(
        "Training against the tutorial's script", args, table, goals, notes=notes, losses=[tutorial, ours], runs=runs
    )


if __name__ == "__main__":
    main()
