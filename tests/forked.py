"""Training runs in processes forked from one that has imported everything, so that many can be killed in little time.

Each is a process of its own that reads its command line, trains and exits as `python -m hf_sentiment_ft.train` does.
Of several, the test keeps the key-value store, as a launcher does.
"""

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hf_sentiment_ft.errors import RunError, UsageError

from .conftest import REVIEWS, ROOT
from .engines import SHARDING, environment, take_cpu_for_gpu
from .engines import flags as engine_flags

CONTEXT = multiprocessing.get_context("forkserver")
SOURCES = [path.relative_to(ROOT) for path in (ROOT / "hf_sentiment_ft").rglob("*.py") if "__" not in path.name]
MODULES = [".".join(path.with_suffix("").parts) for path in SOURCES]
LATE = ["transformers.models.gpt2.modeling_gpt2", "matplotlib.figure", "evaluate", "sklearn.metrics", "scipy.stats"]
CONTEXT.set_forkserver_preload(["tests.local_hub", *MODULES, *LATE])
BEFORE_TESTS = dict(os.environ) | {"HF_HUB_OFFLINE": "1"}

FLAGS = ["--dataset_name", REVIEWS, "--zero_shot_baseline", "false", "--use_cpu", "true", "--disable_tqdm", "true"]
FLAGS += ["--max_train_samples", 64, "--max_eval_samples", 8, "--max_test_samples", 8, "--learning_rate", 1e-3]
FLAGS += ["--per_device_train_batch_size", 8, "--max_steps", 14, "--load_best_model_at_end", "false"]
FLAGS += ["--eval_strategy", "steps", "--eval_steps", 3, "--save_strategy", "steps", "--save_steps", 3]


def start(
    *flags: object,
    cwd: Path,
    processes: int = 1,
    engine: str = "ddp",
    before: Callable[[], Any] | None = None,
    rank: int | None = 0,
    **env: str,
) -> list[Any]:
    """Start the command on some processes; what they print goes to `printed.txt`.

    Args:
        *flags: The command line.
        cwd: The working directory.
        processes: How many train together.
        engine: By what, if it is several; see `engines`.
        before: What one of them does first, such as `partial(killed_at, ...)`.
        rank: Which one; None for all of them.
        **env: Additional environment variables.
    """
    _serve()
    env = dict(os.environ) | (environment(engine) if processes > 1 else {}) | env
    if processes > 1:
        store, of_store = _meeting_point(processes)
        env |= of_store
        flags = (*flags, *engine_flags(engine))
    started = []
    for number in range(processes):
        own = env | ({"RANK": str(number), "LOCAL_RANK": str(number)} if processes > 1 else {})
        own_before = before if rank in (number, None) else None
        process = CONTEXT.Process(target=_run, args=(flags, cwd, own, engine, own_before))
        process.start()
        process.store = store if processes > 1 else None  # for as long as the process
        started.append(process)
    return started


def wait(started: list[Any], cwd: Path) -> tuple[list[int], str]:
    """Wait for processes; return their exit codes, minus the signal for those killed, and what they have printed."""
    for process in started:
        process.join(120)
        assert process.exitcode is not None, "it hangs"
    return [process.exitcode for process in started], (cwd / "printed.txt").read_text()


def train(*flags: object, cwd: Path, **options: Any) -> tuple[list[int], str]:
    """Start, and wait."""
    return wait(start(*flags, cwd=cwd, **options), cwd)


def finish(*flags: object, cwd: Path, **options: Any) -> str:
    """Train to the end; return what was printed."""
    codes, printed = train(*flags, cwd=cwd, **options)
    assert not any(codes), printed
    return printed


def weights(cwd: Path) -> bytes:
    """The final weights."""
    return (cwd / "output" / "model.safetensors").read_bytes()


def replaced(module: str, function: str, make: Callable[[Any], Any]) -> None:
    """Put another function in place of one."""
    owner: Any = importlib.import_module(module)
    *owners, name = function.split(".")
    for one in owners:
        owner = getattr(owner, one)
    setattr(owner, name, make(getattr(owner, name)))


def killed_at(module: str, function: str, nth: int = 1, after: bool = False) -> None:
    """Have this process killed by SIGKILL at the nth call of a function, or right after it."""

    def make(original: Any) -> Any:
        calls = 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = original(*args, **kwargs)
            if calls == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counted

    replaced(module, function, make)


def failing(module: str, function: str) -> None:
    """Let a function fail."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no more paper")

    replaced(module, function, lambda original: fail)


def slow(module: str, function: str, seconds: float) -> None:
    """Let a function take its time, and say so by the file `slow`."""

    def make(original: Any) -> Any:
        def slowly(*args: Any, **kwargs: Any) -> Any:
            Path("slow").touch()
            time.sleep(seconds)
            return original(*args, **kwargs)

        return slowly

    replaced(module, function, make)


def little_memory(megabytes: int) -> None:
    """Limit this process to so much more memory than it has when training begins."""

    def make(original: Any) -> Any:
        def begin(*args: Any, **kwargs: Any) -> Any:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + megabytes * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            return original(*args, **kwargs)

        return begin

    replaced("hf_sentiment_ft.training.trainer", "LabelWordTrainer.train", make)


def use_test_hub(endpoint: str, cwd: Path, verify_here: bool = False, **given: str) -> None:
    """Talk to this Hub; `verify_here` spares a run of one process the fresh one that looks at what was published."""
    from . import local_hub

    local_hub.use_hub(endpoint, cwd, pytest.MonkeyPatch(), **given)
    if verify_here:
        local_hub.verify_here(pytest.MonkeyPatch(), cwd)


def _meeting_point(processes: int) -> tuple[Any, dict[str, str]]:
    """Return a key-value store for several processes, and the variables by which they find it."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(processes)}
    return store, env | {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}


@cache
def _serve() -> None:
    """Start the process that is forked, in which libraries read the environment: that of before any test."""
    with patch.dict(os.environ, BEFORE_TESTS, clear=True):
        forkserver.ensure_running()


def _run(
    flags: tuple[object, ...], cwd: Path, env: dict[str, str], engine: str, before: Callable[[], Any] | None
) -> None:
    from hf_sentiment_ft import train as command

    os.environ.update(env)
    os.chdir(cwd)
    log = os.open("printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["train", *map(str, flags)]
    if engine in SHARDING:
        take_cpu_for_gpu()
    if before:
        before()
    try:
        command.main()
    except Exception:  # of the test's own kind; multiprocessing would show it whatever the command wants
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.exit(1)


def together(processes: int, work: Callable[..., Any], *given: Any, machines: int = 1, **env: str) -> list[Any]:
    """What a function of `TrainingArguments` says, or raises, in each of several processes, with gloo between them."""
    _serve()
    store, of_store = _meeting_point(processes)
    env |= of_store
    pipes, started = [], []
    for rank in range(processes):
        here, there = multiprocessing.Pipe()
        own = env | {"RANK": str(rank), "LOCAL_RANK": str(rank % (processes // machines))}
        started.append(CONTEXT.Process(target=_work, args=(own, there, work, given)))
        started[-1].start()
        there.close()
        pipes.append(here)
    try:
        return [pipe.recv() if pipe.poll(120) else "it hangs" for pipe in pipes]
    finally:
        for process in started:
            process.kill()


def _work(env: dict[str, str], pipe: Any, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    from transformers import TrainingArguments

    os.environ.update(env)
    try:
        answer = work(TrainingArguments(use_cpu=True, ddp_timeout=30, disable_tqdm=True), *given)
    except (UsageError, RunError) as error:
        answer = error
    pipe.send(answer)
    pipe.poll(120)  # until the others are done; the end of a process ends what others do with it
