"""Training runs in processes forked from one that has imported everything, so that many can be killed in little time.

Each is a process of its own that reads its command line, trains and exits as `python -m hf_sentiment_ft.train` does.
"""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import ROOT

CONTEXT = multiprocessing.get_context("forkserver")
MODULES = [f"hf_sentiment_ft.{path.stem}" for path in (ROOT / "hf_sentiment_ft").glob("[a-z]*.py")]
CONTEXT.set_forkserver_preload([*MODULES, "transformers.models.gpt2.modeling_gpt2"])


def train(
    *flags: object, cwd: Path, processes: int = 1, before: Callable[[], None] | None = None, rank: int = 0, **env: str
) -> tuple[list[int | None], str]:
    """Run the command on some processes.

    Args:
        *flags: The command line.
        cwd: The working directory.
        processes: How many train together.
        before: What one of them does first, such as `partial(killed_at, ...)`.
        rank: Which one.
        **env: Additional environment variables.

    Returns:
        Exit codes (minus the signal's number for those killed), and what all have printed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    started = []
    for number in range(processes):
        own = dict(os.environ) | env | {"RANK": str(number), "LOCAL_RANK": str(number)} if processes > 1 else env
        process = CONTEXT.Process(target=_run, args=(flags, cwd, own, before if number == rank else None))
        process.start()
        started.append(process)
    for process in started:
        process.join()
    return [process.exitcode for process in started], (cwd / "printed.txt").read_text()


def killed_at(module: str, function: str, nth: int, after: bool = False) -> None:
    """Have this process killed by SIGKILL at the nth call of a function, or right after it."""
    owner: Any = importlib.import_module(module)
    *owners, name = function.split(".")
    for one in owners:
        owner = getattr(owner, one)
    original, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*args, **kwargs)
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, counted)


def _run(flags: tuple[object, ...], cwd: Path, env: dict[str, str], before: Callable[[], None] | None) -> None:
    from hf_sentiment_ft import train

    os.environ.update(env)
    os.chdir(cwd)
    log = os.open("printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["train", *map(str, flags)]
    if before:
        before()
    train.main()
