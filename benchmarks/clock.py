"""A clock on any Trainer: ours, the tutorial's, TRL's. The same for all, and without a change to any of them."""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def peak_gib() -> float:
    """The most memory that this process has held, in GiB."""
    # Not ru_maxrss where there is another way: it would also count the parent's, from before the program was loaded.
    return _of_status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # bytes on macOS


def own_gib() -> float:
    """Memory that this process holds now, in GiB; on Linux without files that are mapped, which the kernel may drop."""
    return _of_status("RssAnon") or peak_gib()


def _of_status(name: str) -> float:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith(name)), 0.0)


def gpu_peak_gib() -> float:
    """The most memory that tensors of this process have held on its GPU, in GiB; 0 if it has not used one."""
    import torch

    return float(torch.cuda.max_memory_allocated() / 2**30)


def wait_for_gpu() -> None:
    """Let what was begun on the GPU come to its end: without that, only the time to ask for it would be measured."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def output_dir() -> str:
    """Where this side may write; it is gone afterwards."""
    return os.environ.get("BENCHMARK_OUTPUT_DIR") or tempfile.mkdtemp()


def finish(**figures: Any) -> None:
    """Print the figures for the comparison to read, and end the process; memory is the GPU's where one was used."""
    figures |= {"peak_gib": gpu_peak_gib() or peak_gib(), "cpu_seconds": time.process_time()}
    print("\n" + json.dumps(figures), flush=True)
    sys.exit()


def put_clock_on_trainers(warmup_steps: int, rows_per_step: int) -> None:
    """Make every Trainer of this process print its speed when training ends, and stop there.

    The first `warmup_steps` steps do not count. A side trains for that many more steps than the rows make, so that
    the counted steps see every row once, also where rows come in a fixed order.
    """
    from transformers import TrainerCallback, trainer

    class Clock(TrainerCallback):
        """Begins at the end of the last step that does not count."""

        started = 0.0
        training = 0.0
        first_step = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.training = time.time()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not self.first_step or state.global_step == warmup_steps:
                wait_for_gpu()
            self.first_step = self.first_step or time.time()
            if state.global_step == warmup_steps:
                self.started = time.perf_counter()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            wait_for_gpu()
            seconds = time.perf_counter() - self.started
            rows = (state.global_step - warmup_steps) * rows_per_step
            launched = os.environ.get("BENCHMARK_STARTED")
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            finish(
                samples_per_second=rows / seconds if warmup_steps else None,
                seconds_to_training=self.training - float(launched) if launched else None,
                seconds_to_first_step=self.first_step - float(launched) if launched else None,
                losses=losses,
            )

    trainer.DEFAULT_CALLBACKS.append(Clock)


def put_clock_on_predictions() -> None:
    """Make every Trainer of this process print the speed of its first `predict`, and stop there."""
    from transformers import TrainerCallback, trainer

    class Clock(TrainerCallback):
        """Reads what Trainer itself has measured."""

        def on_predict(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
            finish(samples_per_second=metrics["test_samples_per_second"])

    trainer.DEFAULT_CALLBACKS.append(Clock)
