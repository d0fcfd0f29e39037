"""Share of the physical limit: 6 × weights in matrices × real tokens ÷ the GEMM FLOPS measured right beside.

python -m benchmarks.limit --dataset FOLDER
"""

from .material import best_precision, load_rows, model_folder, prompt_lengths, rows_by_length, training_flags
from .measure import Goal, finish, in_turn, median, parser, side

BOUNDS = {"fp32": 0.75, "bf16": 0.5}


def main() -> None:
    args = parser("benchmarks.limit", rows=96).parse_args()
    folder = model_folder(args.model)
    tokens = {}  # of a row, by batch size
    for batch_size in (8, 32):
        rows = load_rows(str(rows_by_length(args.dataset, folder, args.rows, batch_size)), args.rows)
        tokens[batch_size] = sum(prompt_lengths(folder, rows)) / len(rows)
    table, goals, kept = [], [], {}
    for precision in ["fp32"] + ["bf16"] * (best_precision() == "bf16"):
        for batch_size, per_row in tokens.items():
            flags = ["--precision", precision]
            gemm = side("gemm", "--model", folder, "--tokens", round(per_row * batch_size), *flags)
            ours = side("ours", *training_flags(args, batch_size), *flags)
            runs = in_turn({f"GEMM, {precision}": gemm, f"ours, {precision}, batch {batch_size}": ours}, args.rounds)
            products, trainings = runs.values()
            speed = median(trainings, "samples_per_second")
            flops = 6 * products[0]["weights"] * per_row * speed / 1e9
            row = {"": f"{precision}, batch {batch_size}", "tokens/row": per_row, "samples/s": speed, "GFLOPS": flops}
            row["GEMM, these shapes"] = median(products, "gflops")
            row["share"] = flops / row["GEMM, these shapes"]
            row["GEMM, 2048²"] = median(products, "square_gflops")
            row["share of that"] = flops / row["GEMM, 2048²"]
            table.append(row)
            kept |= runs
        best = max(row["share"] for row in table[-2:])
        goals.append(Goal(f"share of the physical limit, {precision}", best, BOUNDS[precision]))
    notes = [
        "Only real tokens count, no padding; the output layer works at the decision position only and is not counted."
    ]
    finish("Share of the physical limit", args, table, goals, notes=notes, runs=kept)


if __name__ == "__main__":
    main()
