"""Our training command with a clock on the parts of each step: forward, backward, clipping, optimizer.

python -m benchmarks.step_parts --model FOLDER --dataset FOLDER --rows 96 --precision bf16

Timed by hand: torch's profiler makes the allocator return memory in each step, and then shows page faults as work.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .clock import finish, output_dir, wait_for_gpu
from .material import side_parser, steps

PARTS = ("forward", "backward", "clipping", "optimizer")


def bytes_per_second() -> float:
    """Bytes that this device reads and writes per second while it adds up large vectors."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    total, part = (torch.ones(2**27, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        wait_for_gpu()
        start = time.perf_counter()
        total.add_(part)
        wait_for_gpu()
        best = min(best, time.perf_counter() - start)
    return 3 * total.nbytes / best


def main() -> None:
    args = side_parser("step_parts").parse_args()

    import torch
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from transformers import TrainerCallback, trainer

    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run
    from hf_sentiment_ft.training.trainer import LabelWordTrainer

    seconds: dict[str, float] = defaultdict(float)
    bandwidth = bytes_per_second()

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            wait_for_gpu()
            start = time.perf_counter()
            made = function(*given, **named)
            wait_for_gpu()
            seconds[part] += time.perf_counter() - start
            return made

        return call

    places = ((LabelWordTrainer, "compute_loss"), (Accelerator, "backward"), (Accelerator, "clip_grad_norm_"))
    for part, (owner, name) in zip(PARTS, (*places, (AcceleratedOptimizer, "step")), strict=True):
        setattr(owner, name, timed(part, getattr(owner, name)))

    class Clock(TrainerCallback):
        """Counts whole steps after the warm-up."""

        started = 0.0

        def on_step_end(self, args_: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == args.warmup_steps:
                seconds.clear()
                self.started = time.perf_counter()

        def on_train_end(self, args_: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            count = state.global_step - args.warmup_steps
            whole = (time.perf_counter() - self.started) / count
            parts = {part: seconds[part] / count for part in PARTS}
            weights = sum(parameter.numel() for parameter in model.parameters())
            threads = torch.get_num_threads()
            finish(
                step=whole,
                **parts,
                rest=whole - sum(parts.values()),
                parameters=weights,
                bandwidth=bandwidth,
                threads=threads,
            )

    trainer.DEFAULT_CALLBACKS.append(Clock)
    flags = {"model_name_or_path": args.model, "dataset_name": args.dataset, "output_dir": output_dir()}
    flags |= {"train_sampling_strategy": "sequential", "disable_tqdm": True}
    flags |= {"per_device_train_batch_size": args.batch_size, "max_steps": steps(args), "precision": args.precision}
    flags |= {"max_train_samples": args.rows, "max_eval_samples": 4, "max_test_samples": 4, "save_strategy": "no"}
    flags |= {"eval_strategy": "no", "load_best_model_at_end": False, "zero_shot_baseline": False}
    run(parse_train_arguments([f"--{name}={value}" for name, value in flags.items()]))


if __name__ == "__main__":
    main()
