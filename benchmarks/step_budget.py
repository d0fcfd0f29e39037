"""Where the time of a training step goes, beside the least that this device would need for it.

python -m benchmarks.step_budget --dataset FOLDER
"""

from typing import Any

from .material import best_precision, load_rows, model_folder, prompt_lengths, rows_by_length, training_flags
from .measure import finish, in_turn, median, parser, side
from .step_parts import PARTS

# Floating-point operations per weight and token; bytes per parameter that have to be read or written.
PRODUCTS = {"forward": 2, "backward": 4}
BYTES = {
    "clipping": 4,
    "optimizer": 28,
}  # AdamW reads weight, gradient and two moments, and writes all but the gradient


def main() -> None:
    args = parser("benchmarks.step_budget", rows=96, rounds=1).parse_args()
    folder, precision = model_folder(args.model), best_precision()
    table: list[dict[str, Any]] = []
    kept = {}
    for batch_size in (8, 32):
        rows = load_rows(str(rows_by_length(args.dataset, folder, args.rows, batch_size)), args.rows)
        tokens = sum(prompt_lengths(folder, rows)) / len(rows) * batch_size
        flags = ["--precision", precision]
        name = f"{precision}, batch {batch_size}"
        gemm = side("gemm", "--model", folder, "--tokens", round(tokens), *flags)
        runs = in_turn(
            {f"GEMM, {name}": gemm, name: side("step_parts", *training_flags(args, batch_size), *flags)}, args.rounds
        )
        products, steps = runs.values()
        flops, weights = median(products, "gflops") * 1e9, products[0]["weights"]
        floor = {part: PRODUCTS[part] * weights * tokens / flops for part in PRODUCTS}
        floor |= {part: BYTES[part] * steps[0]["parameters"] / median(steps, "bandwidth") for part in BYTES}
        for part in (*PARTS, "rest", "step"):
            least = sum(floor.values()) if part == "step" else floor.get(part)
            row = {"": f"{name}, {part}", "ms": 1000 * median(steps, part)}
            row["at least, ms"] = None if least is None else 1000 * least
            row["share"] = None if least is None else 1000 * least / row["ms"]
            table.append(row)
        kept |= runs
    notes = [
        "At least: the products of all linear layers at the speed of `benchmarks.gemm` for as many tokens, without "
        "padding and without attention; reading all gradients once for clipping; what AdamW reads and writes, at the "
        "speed at which this device adds up large vectors. The rest is reading batches and Trainer's own work.",
    ]
    finish("Where the time of a step goes", args, table, [], notes=notes, runs=kept)


if __name__ == "__main__":
    main()
