"""Errors caused by the user, the machine or the Hub, and how they are reported."""

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType

# Seconds that a failed process has to exit. After as many again, torch's launcher kills the remaining processes.
SECONDS_TO_END = 30


class UsageError(Exception):
    """Invalid user input; the message says what was given, what is expected, and how to fix it."""


class PublishError(Exception):
    """The Hub rejected a run, or stored it differently from what was sent; the message says how to continue."""


class RunError(Exception):
    """A run cannot continue: disk full, out of memory, a loss that is not finite; the message says what to change."""


class Diverged(RunError):
    """The weights have become useless; a search goes on with other values."""


class Interrupted(Exception):
    """A signal ended a run after a checkpoint was saved; the message says how to resume."""

    def __init__(self, message: str, signum: int) -> None:
        """Create the error.

        Args:
            message: What is printed on standard error.
            signum: Number of the signal. The exit code is 128 + signum, as in shells.
        """
        super().__init__(message)
        self.signum = signum


def status_code(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of the Hub's client, None if there was no response."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return getattr(response, "status_code", None)


def explain(error: BaseException) -> str:
    """Describe any error in one line, without the full stop, to be put into a sentence.

    A message of ours is returned as it is. A library's message is put on one line, whole, after the HTTP status if the
    Hub has sent one, otherwise after the error's type.
    """
    if isinstance(error, (UsageError, PublishError, RunError, Interrupted)):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, json.JSONDecodeError):
        return f"its response is not JSON ({error})"
    message = _one_line(getattr(error, "server_message", None) or str(error))
    if message.startswith('{"errors"'):  # how the Hub rejects a card
        return "; ".join(one["message"].removesuffix(".") for one in json.loads(message)["errors"])
    # huggingface_hub raises a bare RuntimeError for a failed upload, and the reason is its cause.
    cause = f" ({explain(error.__cause__)})" if type(error) is RuntimeError and error.__cause__ else ""
    status = status_code(error)
    kind = f"HTTP {status}" if status else type(error).__name__
    return (f"{kind}: {message}" if message else kind) + cause


def _one_line(message: str) -> str:
    """Join the lines of a library's message, without the C++ frames that torch appends and the full stop."""
    return " ".join(message.partition("\nException raised from")[0].split()).removesuffix(".")


@contextmanager
def errors_exit() -> Iterator[None]:
    """Report expected errors as one message on standard error and an exit code, without a traceback.

    A `UsageError` exits with 2, as in argparse, an `Interrupted` with 143 for SIGTERM and 130 for SIGINT, the others
    with 1. If there are several processes, only the first one to fail reports its error, or the traceback of an
    unexpected one. If one of several processes hangs while exiting, the operating system kills it after
    `SECONDS_TO_END`.
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
        fault = system_fault(error)
        if fault is None:
            raise
        if first_to_fail():
            print(f"error: {fault}", file=sys.stderr)
        sys.exit(1)
    finally:
        if failed and several_processes() and hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # this works even if Python and all its threads hang
            signal.alarm(SECONDS_TO_END)


def _show_once(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if first_to_fail():
        sys.__excepthook__(kind, error, traceback)


def first_to_fail() -> bool:
    """Return whether no process of this run has failed before; later errors are mostly consequences of the first.

    The processes count their failures in the launcher's key-value store. If the launcher has none, the first process
    hosts the store; once that has ended, only the first process reports its error.
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
    """Return whether the launcher has started several processes for this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
# Out-of-memory messages of Accelerate, Trainer, cuBLAS and oneDNN, in addition to those of the allocators.
TOO_LARGE = ("No executable batch size found", "out-of-memory", "CUBLAS_STATUS_ALLOC_FAILED")
ONEDNN_TOO_LARGE = "could not create a primitive"  # the whole message: "… a primitive descriptor" is a different error
# Messages of gloo when it cannot connect the processes at startup.
NOT_CONNECTED = ("Unable to find address", "Unable to resolve hostname", "connectFullMesh failed")
# Messages of gloo and NCCL when the process at the other end has died.
LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")


def system_fault(error: Exception) -> str | None:
    """Return what to do about an error that is a fault of the system and not of the code.

    Args:
        error: Any exception.

    Returns:
        A message on a full disk, a missing permission, out of memory, processes that cannot be connected, or a dead
        process; None for any other error.
    """
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return (
            f"{error.filename or 'a file'} cannot be written: {error.strerror}. Checkpoints saved earlier are intact."
        )
    text = str(error)
    short = any(sign in text for sign in TOO_LARGE) or text.strip() == ONEDNN_TOO_LARGE
    if short or isinstance(error, MemoryError) or should_reduce_batch_size(error):
        return (
            f"out of memory ({_one_line(text) or type(error).__name__}). Lower --per_device_train_batch_size and raise "
            "--gradient_accumulation_steps by the same factor, or lower --max_tokens_per_microbatch (not with FSDP and "
            "DeepSpeed): neither changes the result. Or lower --max_seq_length, or use --gradient_checkpointing. In an "
            "evaluation, lower --per_device_eval_batch_size."
        )
    if "DataLoader worker" in text:
        return (
            f"{_one_line(text)}. A data loading process has died, often because it ran out of memory. "
            "Lower --dataloader_num_workers (0 for none), then resume with --resume_from_checkpoint true."
        )
    if any(sign in text for sign in NOT_CONNECTED):
        return explain_connection(error)
    if any(lost in text for lost in LOST):
        return (
            f"lost the connection to another process ({_one_line(text)}). It has failed or was killed; "
            "see the output above or the system log for the reason. Resume with --resume_from_checkpoint true."
        )
    return None


def explain_connection(error: Exception) -> str:
    """Return what to do if gloo could not connect the processes."""
    return (
        f"gloo could not connect the processes ({explain(error)}). On machines with several network interfaces, set "
        "the one that connects them in the environment, such as GLOO_SOCKET_IFNAME=eth0 (NCCL on GPUs reads "
        "NCCL_SOCKET_IFNAME)."
    )
