"""Begin a command: its messages, its memory, how long it waits for the Hub, and the other processes."""

import logging
from typing import TYPE_CHECKING

from ..hub import limit_waiting
from .device import keep_freed_memory
from .distributed import check_engine, connect

if TYPE_CHECKING:
    from ..config.arguments import Arguments


def start(flags: "Arguments", command: str = "train") -> None:
    """Set up what training and evaluation run on, and refuse a launch configuration that they cannot follow.

    Args:
        flags: The command's.
        command: The module that was started, for messages.

    Raises:
        UsageError: If the launch configuration asks for what cannot be done.
        RunError: If the processes cannot reach each other.
    """
    import datasets

    args = flags.training
    log_to_console(first_process=args.process_index == 0)
    if args.disable_tqdm:  # the flag of Trainer's bars is that of all bars
        datasets.disable_progress_bars()
    if flags.run.keep_freed_memory:
        keep_freed_memory()
    limit_waiting(flags.hub.hub_timeout)
    check_engine(args, command)
    connect(args)


def log_to_console(first_process: bool = True) -> None:
    """Show the notes of this package on the first process, and errors alone on the others."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hf_sentiment_ft").setLevel(logging.INFO if first_process else logging.ERROR)
