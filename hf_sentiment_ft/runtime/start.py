"""Start of a command: logging, memory, time limits of the Hub, and connections between processes."""

import logging
from typing import TYPE_CHECKING

from ..hub import limit_waiting
from .device import choose_microbatch, keep_freed_memory
from .distributed import check_engine, connect
from .threads import use_cpu_threads

if TYPE_CHECKING:
    from ..config.arguments import Arguments


def start(flags: "Arguments", command: str = "train") -> None:
    """Set up the process for training or evaluation, and refuse launch configurations that cannot work.

    Args:
        flags: Flags of the command.
        command: Name of the module that was started, for messages.

    Raises:
        UsageError: If the launch configuration cannot work.
        RunError: If the processes cannot reach each other.
    """
    import datasets

    args = flags.training
    log_to_console(first_process=args.process_index == 0)
    if args.disable_tqdm:  # made for Trainer's progress bars, but meant for all
        datasets.disable_progress_bars()
    if flags.run.keep_freed_memory:
        keep_freed_memory()
    if args.device.type == "cpu":
        use_cpu_threads(flags.run.num_cpu_threads)
    limit_waiting(flags.hub.hub_timeout)
    check_engine(args, command)
    connect(args)
    if command == "train":
        flags.run.max_tokens_per_microbatch = choose_microbatch(flags.run.max_tokens_per_microbatch, args)


def log_to_console(first_process: bool = True) -> None:
    """Show the log messages of this package on the first process, and only errors on the others."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hf_sentiment_ft").setLevel(logging.INFO if first_process else logging.ERROR)
