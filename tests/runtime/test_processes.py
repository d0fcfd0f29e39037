"""Two processes, of which one fails or is late: the other does not wait for ever, and the reason is shown once."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.distributed import TCPStore

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.runtime.distributed import check_engine

from .. import forked
from ..forked import FLAGS


@pytest.mark.parametrize(
    ("rank", "module", "function"),
    [
        (1, "hf_sentiment_ft.label_words", "tokenize_splits"),
        (0, "hf_sentiment_ft.training.trainer", "label_word_loss"),
        (1, "hf_sentiment_ft.training.trainer", "LabelWordTrainer.evaluation_loop"),
    ],
    ids=["second, preprocessing", "first, training", "second, evaluation"],
)
def test_an_error_in_one_process_ends_both(rank: int, module: str, function: str, tiny_gpt2: Path, tmp_path: Path):
    """Without a launcher that would end the other one."""
    failing = partial(forked.failing, module, function)
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=failing, rank=rank)
    assert all(codes), printed
    assert printed.count("RuntimeError: no more paper") == 1, printed
    assert printed.count("Traceback") == 1, printed
    assert "error: " not in printed


def test_one_that_waits_in_vain_says_for_what(tiny_gpt2: Path, tmp_path: Path):
    late = partial(forked.slow, "hf_sentiment_ft.data", "load_splits", 8)
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--ddp_timeout", 2]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=late)
    assert all(codes), printed
    assert printed.count("error: ") == 1, printed
    assert "error: process 1 waited 2 s (--ddp_timeout) for another process: loading the dataset. If that" in printed
    assert "Traceback" not in printed


def stuck_or_failing() -> None:
    """Let the first process fail in what the second one, which is stuck before, would wait for."""
    if os.environ["RANK"] == "0":
        forked.failing("hf_sentiment_ft.data", "load_splits")
    else:
        forked.slow("hf_sentiment_ft.model", "check_lora", 600)


def test_one_that_fails_does_not_wait_for_one_that_is_stuck(tiny_gpt2: Path, tmp_path: Path):
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    failing, stuck = forked.start(*flags, cwd=tmp_path, processes=2, before=stuck_or_failing, rank=None)
    failing.join(60)
    assert stuck.is_alive()
    stuck.kill()  # as the launcher does, now that one has ended
    assert failing.exitcode == 1
    assert "RuntimeError: no more paper" in (tmp_path / "printed.txt").read_text()


# What can hold up a process on its way out: Python's own list of things to do, a thread, a destructor of a C++ library.
HANGS = {
    "atexit": "import atexit; atexit.register(time.sleep, 600)",
    "thread": "import threading; threading.Thread(target=time.sleep, args=(600,)).start()",
    "destructor": "import ctypes; libc = ctypes.CDLL(None); libc.__cxa_atexit(libc.pause, None, None)",
}
FAILING = """
import time, torch.distributed
from hf_sentiment_ft import errors
{hang}
errors.SECONDS_TO_END = {seconds}
with errors.errors_exit():
    raise {error}("no more paper")
"""


def fail(hang: str, seconds: int = 2, error: str = "errors.UsageError", processes: int = 2) -> tuple[int, str]:
    """The exit code of one of several processes, and what it printed."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(processes), "RANK": "1"}
    script = FAILING.format(hang=hang, seconds=seconds, error=error)
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | env, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("error", ["errors.UsageError", "KeyError"])
@pytest.mark.parametrize("hang", HANGS)
def test_one_that_fails_ends_whatever_holds_it_up(hang: str, error: str):
    code, printed = fail(HANGS[hang], error=error)
    assert code == -signal.SIGALRM, printed
    assert printed.count("no more paper") == 1, printed


def test_one_that_is_not_held_up_ends_as_ever():
    assert fail("", seconds=30) == (2, "error: no more paper\n")


def test_a_single_process_takes_its_time():
    """No launcher waits for it, and a tracker may have a lot to send."""
    code, _ = fail("import atexit; atexit.register(time.sleep, 4)", processes=1)
    assert code == 2


PLAIN = {"fsdp": None, "deepspeed": None, "use_cpu": False, "world_size": 1}
PLAIN |= {"n_gpu": 1}


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_one_process_on_several_gpus_is_refused(command: str):
    """Trainer would use DataParallel, with the loss times the number of GPUs."""
    check_engine(SimpleNamespace(**PLAIN), command)
    with pytest.raises(UsageError) as error:
        check_engine(SimpleNamespace(**PLAIN | {"n_gpu": 4}), command)
    assert str(error.value).startswith("this process sees 4 GPUs, on which Trainer would use DataParallel")
    launch = 'paths multi_gpu)" --num_processes 4 -m hf_sentiment_ft.' + command
    assert launch in str(error.value)
    assert "CUDA_VISIBLE_DEVICES=0" in str(error.value)
