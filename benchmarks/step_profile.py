"""Where the time of a training step goes: torch's profiler on our command, a few steps of it.

python -m benchmarks.step_profile --model FOLDER --dataset FOLDER --rows 64 --precision bf16
"""

from typing import Any

from .clock import output_dir
from .material import rows_by_length, side_parser, steps


def main() -> None:
    parser = side_parser("step_profile")
    args = parser.parse_args()

    import torch
    from transformers import TrainerCallback, trainer

    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    profiler = torch.profiler.profile()

    class Profile(TrainerCallback):
        """Profiles the steps after the warm-up."""

        def on_step_end(self, args_: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == args.warmup_steps:
                profiler.start()

        def on_train_end(self, args_: Any, state: Any, control: Any, **kwargs: Any) -> None:
            profiler.stop()
            sort_by = f"self_{'cuda' if torch.cuda.is_available() else 'cpu'}_time_total"
            print(profiler.key_averages().table(sort_by=sort_by, row_limit=25, max_name_column_width=45))
            raise SystemExit

    trainer.DEFAULT_CALLBACKS.append(Profile)
    rows = rows_by_length(args.dataset, args.model, args.rows, args.batch_size)
    flags = {"model_name_or_path": args.model, "dataset_name": rows, "output_dir": output_dir()}
    flags |= {"train_sampling_strategy": "sequential"}
    flags |= {"per_device_train_batch_size": args.batch_size, "max_steps": steps(args), "precision": args.precision}
    flags |= {"max_train_samples": args.rows, "max_eval_samples": 4, "max_test_samples": 4, "save_strategy": "no"}
    flags |= {"eval_strategy": "no", "load_best_model_at_end": False, "zero_shot_baseline": False}
    run(parse_train_arguments([f"--{name}={value}" for name, value in flags.items()]))


if __name__ == "__main__":
    main()
