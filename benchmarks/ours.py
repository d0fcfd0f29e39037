"""Our side: the training command as a user runs it, with a clock on its Trainer.

    python -m benchmarks.ours --model FOLDER --dataset FOLDER --rows 96 [any flag of hf_sentiment_ft.train]

Checkpoints and evaluations are off, since the other sides make none either.
"""

import sys

from .clock import output_dir, put_clock_on_predictions, put_clock_on_trainers
from .material import side_parser, steps


def main() -> None:
    parser = side_parser("ours")
    parser.add_argument("--recipe", help="recipe to start from")
    parser.add_argument("--evaluate", action="store_true", help="time the evaluation of the test split instead")
    args, flags = parser.parse_known_args()
    argv = [args.recipe] if args.recipe else []
    if not args.recipe and not args.evaluate:
        argv += ["--train_sampling_strategy", "sequential"]  # `rows_by_length` has brought them into order
    argv += ["--model_name_or_path", str(args.model), "--dataset_name", args.dataset, "--output_dir", output_dir()]
    argv += ["--overwrite_output_dir", "--precision", args.precision, "--disable_tqdm", "true"]
    argv += ["--per_device_train_batch_size", str(args.batch_size), "--max_train_samples", str(args.rows)]
    argv += ["--save_strategy", "no", "--eval_strategy", "no", "--load_best_model_at_end", "false"]
    argv += ["--max_steps", str(steps(args)), "--max_eval_samples", "4"]
    argv += ["--max_test_samples", str(args.rows if args.evaluate else 4), "--zero_shot_baseline", str(args.evaluate)]

    from hf_sentiment_ft import train

    if args.evaluate:
        put_clock_on_predictions()
    else:
        put_clock_on_trainers(args.warmup_steps, args.batch_size)
    sys.argv[1:] = [*argv, *flags]
    train.main()


if __name__ == "__main__":
    main()
