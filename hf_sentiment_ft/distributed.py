"""Several processes: what one of them does for all, and how all end when one fails."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from .errors import RunError, UsageError, first_line
from .faults import explain_fault

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from transformers import TrainingArguments

Answer = TypeVar("Answer")


def sharding_engines(args: "TrainingArguments") -> list[str]:
    """The engines that share out the model or its gradients, if the launch configuration or a flag asks for one."""
    flags = {"FSDP": args.fsdp, "DEEPSPEED": args.deepspeed}
    return [name for name in flags if flags[name] or os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"]


def check_engine(args: "TrainingArguments") -> None:
    """Refuse a launch configuration that Accelerate would not follow without a word.

    Raises:
        UsageError: If it asks for FSDP or DeepSpeed on a CPU, where Accelerate would train by DistributedDataParallel,
            for checkpoints that a sharded run could not load, or for a batch size of each process's own.
    """
    asked = sharding_engines(args)
    if asked and args.use_cpu:
        raise UsageError(
            f"the launch configuration asks for {asked[0]}, which Accelerate runs on GPUs only, and this run is on the "
            "CPU. Use the configuration multi_cpu."
        )
    if asked and args.save_only_model and args.load_best_model_at_end:
        raise UsageError(
            f"--save_only_model is given, but {asked[0]} loads the best checkpoint from its own files. Leave it out, "
            "or add --load_best_model_at_end false."
        )
    if args.auto_find_batch_size and args.world_size > 1:
        raise UsageError(
            "--auto_find_batch_size looks for what one process has memory for, but there are "
            f"{args.world_size}, which must train in step. Give them a smaller --per_device_train_batch_size."
        )


def on_first_process(args: "TrainingArguments", what: str, work: Callable[[], Answer]) -> Answer | None:
    """Do something once, on the first process, while the others wait; if it fails, all end.

    Args:
        args: They say which process this is, and by `--ddp_timeout` how long the others wait.
        what: What is done, for the log.
        work: Does it.

    Returns:
        The answer on the first process, None on the others.
    """
    answer, failed = None, True
    try:
        if args.process_index == 0:
            answer = work()
        failed = False
    finally:
        _meet(args, what, failed)
    return answer


@contextmanager
def first_process_first(args: "TrainingArguments", what: str) -> Iterator[None]:
    """Let the first process of each machine work before its others, which then find the results in the caches."""
    first = args.local_process_index == 0
    if not first:
        _meet(args, what, failed=False)
    failed = True
    try:
        yield
        failed = False
    finally:
        if first:
            _meet(args, what, failed)


def _meet(args: "TrainingArguments", what: str, failed: bool) -> None:
    """Wait for all processes, and leave if one of them has failed: that one shows why."""
    if args.world_size == 1:
        return
    from torch.distributed import all_gather_object

    failures = [False] * args.world_size
    try:
        all_gather_object(failures, failed, group=_waiting_group(args.ddp_timeout))
    except RuntimeError as error:
        if explain_fault(error):  # the other one has gone
            raise
        raise RunError(
            f"process {args.process_index} waited {args.ddp_timeout} s (--ddp_timeout) for another one: {what}. If "
            f"that one was still at work, give it more time by a larger --ddp_timeout ({first_line(error)})."
        ) from error
    if any(failures) and not failed:
        time.sleep(1)  # the launcher stops all when one ends; the one that failed has yet to say why
        sys.exit(1)


def leave() -> None:
    """Close what connects the processes, now that all are done; at exit, its threads could abort one of them."""
    from torch.distributed import destroy_process_group, is_initialized

    if is_initialized():
        _waiting_group.cache_clear()
        destroy_process_group()


@cache
def _waiting_group(seconds: int) -> "ProcessGroup":
    """All processes, over gloo also where training uses NCCL: waiting takes no GPU.

    On CPUs nobody else sets `--ddp_timeout`; Trainer hands it to GPUs only.
    """
    from torch.distributed import new_group

    return new_group(backend="gloo", timeout=timedelta(seconds=seconds))
