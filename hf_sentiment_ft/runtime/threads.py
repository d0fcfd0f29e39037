"""Number of CPU threads, which launchers set to one unless told otherwise."""

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

LAUNCHERS = ("accelerate", "torchrun", "torch.distributed.run")


def use_cpu_threads(requested: int | None = None) -> None:
    """Use the cores that this process may use, shared with the other processes on this machine, and log why.

    `accelerate launch` and `torchrun` set `OMP_NUM_THREADS` to 1 where the user has not set it, and torch outside of
    them takes all cores of the machine, also in a container that may use two. Hyperthreads are not counted: matrix
    products keep a core's arithmetic units busy with one thread.

    Args:
        requested: Value of `--num_cpu_threads`, None for what the user has set elsewhere, or else the cores.
    """
    import joblib
    import torch

    chosen = _chosen_by_user()
    if requested:
        threads, reason = requested, "set by --num_cpu_threads"
    elif chosen:
        threads, reason = chosen
    else:
        cores = joblib.cpu_count(only_physical_cores=True)  # knows affinity and the limits of containers
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        threads = max(1, cores // processes)
        shared = f", shared by {processes} processes" if processes > 1 else ""
        reason = f"this process may use {cores} core{'s' * (cores > 1)}{shared}"
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for the processes that this one starts
    logger.info("CPU threads: %d (%s)", threads, reason)


def _chosen_by_user() -> tuple[int, str] | None:
    """Return the number of threads that the user has set on purpose, and how, rather than a launcher by default."""
    import psutil

    try:
        threads = int(os.environ["OMP_NUM_THREADS"].split(",")[0])
    except (KeyError, ValueError):
        return None
    by_environment = threads, "set by OMP_NUM_THREADS"
    try:
        launcher = psutil.Process(os.getppid())
        command = launcher.cmdline()
        if not any(Path(part).name.startswith(LAUNCHERS) for part in command[:4]):  # python -P -m NAME
            return by_environment
        if any(part.replace("-", "_").startswith("__num_cpu_threads_per_process") for part in command):
            return threads, "set by accelerate launch --num_cpu_threads_per_process"
        return by_environment if "OMP_NUM_THREADS" in launcher.environ() else None
    except psutil.Error:  # another user's process, or one that has ended
        return by_environment
