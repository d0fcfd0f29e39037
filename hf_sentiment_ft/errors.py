"""What can go wrong by a user's mistake or on the way to the Hub, and how it is told."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType

# A process that has failed gets this long to end. Torch's launcher then kills the others after as long again.
SECONDS_TO_END = 30


class UsageError(Exception):
    """What the user gave cannot work; the message says what was given, what is expected, and how to fix it."""


class PublishError(Exception):
    """The Hub did not take a run, or took it otherwise than it was sent; the message says how to go on."""


class RunError(Exception):
    """A run cannot go on: a full disk, too little memory, a loss that is no number; the message says what to change."""


class Interrupted(Exception):
    """A signal has ended a run, after a checkpoint; the message says how to go on."""

    def __init__(self, message: str, signum: int) -> None:
        """Set what is printed, and the signal that the exit code tells of, as shells do: 128 more."""
        super().__init__(message)
        self.signum = signum


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, without its full stop; libraries go on with advice."""
    line = str(error).strip().partition("\n")[0].removesuffix(".")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


@contextmanager
def errors_exit() -> Iterator[None]:
    """Turn these errors into one message on standard error and an exit code, without a traceback.

    A `UsageError` exits with 2, as argparse does, an `Interrupted` with 143 for SIGTERM and 130 for SIGINT, the others
    with 1. Of several processes only the first one to fail says why, also by the traceback of an error that is none of
    these. Should one of several hang on its way out, the system ends it after `SECONDS_TO_END`.
    """
    sys.excepthook = _show_once
    failed = True
    try:
        yield
        failed = False
    except (UsageError, PublishError, RunError) as error:
        if first_to_fail():
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Interrupted as stop:
        if first_to_fail():
            print(stop, file=sys.stderr)
        sys.exit(128 + stop.signum)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, RuntimeError, MemoryError) as error:
        explained = explain_fault(error)
        if explained is None:
            raise
        if first_to_fail():
            print(f"error: {explained}", file=sys.stderr)
        sys.exit(1)
    finally:
        if failed and several_processes() and hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it needs no Python, and no thread that is still alive
            signal.alarm(SECONDS_TO_END)


def _show_once(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if first_to_fail():
        sys.__excepthook__(kind, error, traceback)


def first_to_fail() -> bool:
    """Whether no process of this run has failed before; errors that follow are mostly consequences of the first.

    Asked of the key-value store that the launcher keeps for its processes; where it keeps none, that is with the first
    process, and ends with it.
    """
    if not several_processes():
        return True
    from torch.distributed import DistError, TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=10))
        return bool(store.add("hf_sentiment_ft/failed", 1) == 1)
    except DistError:
        return os.environ["RANK"] == "0"


def several_processes() -> bool:
    """Whether the launcher has started several processes for this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
# What Accelerate, Trainer, cuBLAS and oneDNN say when memory is short, beside the allocators themselves.
TOO_LARGE = ("No executable batch size found", "out-of-memory", "CUBLAS_STATUS_ALLOC_FAILED")
ONEDNN_TOO_LARGE = "could not create a primitive"  # and no more: "… a primitive descriptor" is of something else
# What gloo says when it cannot connect the processes, to begin with.
NOT_CONNECTED = ("Unable to find address", "Unable to resolve hostname", "connectFullMesh failed")
# What gloo and NCCL say when the process at the other end has gone.
LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")


def explain_fault(error: Exception) -> str | None:
    """One sentence on a full disk, a missing permission, too little memory, a dead process; None for other errors."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}. Checkpoints saved before are intact."
    text = str(error)
    short = any(sign in text for sign in TOO_LARGE) or text.strip() == ONEDNN_TOO_LARGE
    if short or isinstance(error, MemoryError) or should_reduce_batch_size(error):
        first = text.strip().splitlines()[0] if text.strip() else "MemoryError"
        return (
            f"out of memory ({first}). Lower --per_device_train_batch_size and raise --gradient_accumulation_steps by "
            "the same factor, or lower --max_tokens_per_microbatch (not with FSDP and DeepSpeed): both change nothing "
            "else. Or lower --max_seq_length, use --gradient_checkpointing, or let --auto_find_batch_size search. If "
            "it was an evaluation, lower --per_device_eval_batch_size."
        )
    if "DataLoader worker" in text:
        return (
            f"{text.strip().splitlines()[0]}. A process that loads data has died, often for want of memory: lower "
            "--dataloader_num_workers (0 for none), then go on by --resume_from_checkpoint true."
        )
    if any(sign in text for sign in NOT_CONNECTED):
        return explain_connection(text.strip().splitlines()[0])
    if any(lost in text for lost in LOST):
        return (
            f"lost the connection to another process ({text.strip().split('. ')[0]}). It has failed or was killed; "
            "what is printed above, or the system's log, may say why. Go on by --resume_from_checkpoint true."
        )
    return None


def explain_connection(said: str) -> str:
    """One sentence on processes that gloo could not connect, with what it said."""
    return (
        f"the processes cannot be connected by gloo ({said}). On machines with several network interfaces, name the "
        "one by which they reach each other in the environment, such as GLOO_SOCKET_IFNAME=eth0 (NCCL on GPUs reads "
        "NCCL_SOCKET_IFNAME)."
    )
