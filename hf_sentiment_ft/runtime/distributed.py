"""Coordination of several processes: what one of them does for all, and how all end when one fails."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from ..errors import RunError, UsageError, explain, explain_connection, system_fault

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from transformers import TrainingArguments

Answer = TypeVar("Answer")

CONNECTING_SECONDS = 300  # all arrive at nearly the same time; --ddp_timeout is for work that some wait for


def sharding_engines(args: "TrainingArguments") -> list[str]:
    """Return the engines that shard the model or its gradients, if the launch configuration or a flag requests any."""
    flags = {"FSDP": args.fsdp, "DEEPSPEED": args.deepspeed}
    return [name for name in flags if flags[name] or os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"]


def check_engine(args: "TrainingArguments", command: str = "train") -> None:
    """Refuse launch configurations that Accelerate would silently ignore, or that cannot work.

    Args:
        args: Training arguments, with the launch configuration.
        command: Name of the module that was started, for the message.

    Raises:
        UsageError: If the configuration requests FSDP or DeepSpeed on a CPU, where Accelerate would fall back to
            DistributedDataParallel; checkpoints that a sharded run could not load; evaluation by an
            engine that needs an optimizer; or one process for several GPUs.
    """
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    asked = sharding_engines(args)
    if asked and args.use_cpu:
        raise UsageError(
            f"the launch configuration requests {asked[0]}, which Accelerate supports on GPUs only, but this run is on "
            "the CPU. Use the configuration multi_cpu."
        )
    if asked and args.save_only_model and args.load_best_model_at_end:
        raise UsageError(
            f"--save_only_model is given, but {asked[0]} loads the best checkpoint from its own files. Remove "
            "--save_only_model, or add --load_best_model_at_end false."
        )
    if asked and command == "evaluate" and not is_deepspeed_zero3_enabled():
        raise UsageError(
            f"the launch configuration requests {asked[0]}, which shards a model together with its optimizer, but "
            "evaluation has no optimizer. Use the configuration multi_gpu, or deepspeed_zero3 for a model that "
            "does not fit one GPU."
        )
    if args.n_gpu > 1:
        raise UsageError(
            f"this process sees {args.n_gpu} GPUs, on which Trainer would use DataParallel, with wrong losses and "
            "gradients. Start one process for each GPU:\n\n"
            '    accelerate launch --config_file "$(python -m hf_sentiment_ft.paths multi_gpu)" '
            f"--num_processes {args.n_gpu} -m hf_sentiment_ft.{command} ...\n\n"
            "or set CUDA_VISIBLE_DEVICES=0 to use one GPU only."
        )


def connect(args: "TrainingArguments") -> None:
    """Connect the processes with gloo, over which they wait for each other even if training uses NCCL.

    This is done before any work, so that waiting processes notice at once if another one fails later.

    Raises:
        RunError: If the processes cannot reach each other.
    """
    if args.world_size == 1:
        return
    try:
        _waiting_group(args.ddp_timeout)
    except RuntimeError as error:
        raise RunError(explain_connection(error)) from error


@contextmanager
def without_weights() -> Iterator[None]:
    """Create models without weights, to inspect their layers; each process creates its own, even under ZeRO-3."""
    import torch
    from transformers.modeling_utils import set_zero3_state

    with set_zero3_state(), torch.device("meta"):
        yield


def on_first_process(args: "TrainingArguments", what: str, work: Callable[[], Answer]) -> Answer | None:
    """Call a function once, on the first process, while the others wait; if it fails, all processes end.

    Args:
        args: Training arguments, with the rank of this process and, in `ddp_timeout`, how long the others wait.
        what: Short description of the work, for the message of a timeout.
        work: The function, without arguments.

    Returns:
        Its result on the first process, None on the others.
    """
    answer = work() if args.process_index == 0 else None
    gather(args, what, None)
    return answer


def from_first_process(args: "TrainingArguments", what: str, work: Callable[[], Answer]) -> Answer:
    """Call a function once, as `on_first_process` does, and return its result on all processes."""
    answers = gather(args, what, work() if args.process_index == 0 else None)
    return answers[0]  # type: ignore[return-value]


@contextmanager
def first_process_first(args: "TrainingArguments", what: str) -> Iterator[None]:
    """Let the first process of each machine go first; the others then find its results in the caches."""
    first = args.local_process_index == 0
    if not first:
        gather(args, what, None)
    yield
    if first:
        gather(args, what, None)


def gather(args: "TrainingArguments", what: str, own: Answer) -> list[Answer]:
    """Wait for all processes, and gather one value from each.

    A process that fails never gets here: its connections close when it ends, and the waiting processes notice.

    Args:
        args: Training arguments, with the number of processes and, in `ddp_timeout`, how long they wait.
        what: Short description of what they wait for, for the message of a timeout.
        own: Value of this process.

    Returns:
        The values of all processes, in the order of their ranks.

    Raises:
        RunError: If a process does not arrive in time.
    """
    if args.world_size == 1:
        return [own]
    from torch.distributed import all_gather_object

    answers = [own] * args.world_size
    connect(args)
    try:
        all_gather_object(answers, own, group=_waiting_group(args.ddp_timeout))
    except RuntimeError as error:
        if system_fault(error):  # the other process has died
            raise
        raise RunError(
            f"process {args.process_index} waited {args.ddp_timeout} s (--ddp_timeout) for another process: {what}. If "
            f"that process was still working, raise --ddp_timeout ({explain(error)})."
        ) from error
    return answers


def greatest(args: "TrainingArguments", value: int) -> int:
    """Return the largest value among all processes; over gloo, so that no GPU has to finish its work first."""
    if args.world_size == 1:
        return value
    import torch
    from torch.distributed import ReduceOp, all_reduce

    values = torch.tensor(value)
    all_reduce(values, ReduceOp.MAX, group=_waiting_group(args.ddp_timeout))
    return int(values)


def shutdown() -> None:
    """Close the connections between the processes when all are done; at exit, their threads could abort a process."""
    from torch.distributed import destroy_process_group, is_initialized

    if is_initialized():
        _waiting_group.cache_clear()
        destroy_process_group()


@cache
def _waiting_group(seconds: int) -> "ProcessGroup":
    """Create a gloo group of all processes, even if training uses NCCL: waiting then occupies no GPU.

    On CPUs, nothing else applies `--ddp_timeout`; Trainer uses it for GPUs only.
    """
    from torch.distributed import new_group
    from torch.distributed.distributed_c10d import _set_pg_timeout

    group = new_group(backend="gloo", timeout=timedelta(seconds=CONNECTING_SECONDS))
    _set_pg_timeout(timedelta(seconds=seconds), group)
    return group
