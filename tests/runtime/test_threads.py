"""Every process computes with its share of the cores, however it is launched, unless its user says otherwise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import pytest

from hf_sentiment_ft.paths import resource_path

CORES = joblib.cpu_count(only_physical_cores=True)
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]
SAFE = [sys.executable, "-P", "-m", "accelerate.commands.launch"]  # as the quickstart does
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
CPU = ["--config_file", str(resource_path("cpu"))]
TWO = ["--config_file", str(resource_path("multi_cpu"))]
# What the training command does first, without 4 s of imports for the rest.
COUNT = """
import logging, os, torch
from hf_sentiment_ft.runtime.threads import use_cpu_threads
logging.basicConfig(level="INFO", format="%(message)s")
use_cpu_threads()
with open(os.environ["THREADS_REPORT"], "a") as file:
    print(torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], file=file)
"""
# Written by training processes as they end, which is before any model is loaded: there is none of this name.
REPORT = """
import atexit, os, sys
def report():
    if "torch" in sys.modules and "hf_sentiment_ft.train" in sys.orig_argv:
        with open(os.environ["THREADS_REPORT"], "a") as file:
            print(sys.modules["torch"].get_num_threads(), os.environ["OMP_NUM_THREADS"], file=file)
if "accelerate.commands.launch" not in sys.orig_argv:
    atexit.register(report)
"""
TRAIN = ["-m", "hf_sentiment_ft.train", "--use_cpu", "true", "--model_name_or_path", "./none"]


@pytest.fixture
def threads(tmp_path: Path):
    """Run a command that sets its threads and ends; return what it logs, and the number of threads of each process."""
    (tmp_path / "sitecustomize.py").write_text(REPORT)
    (tmp_path / "count_threads.py").write_text(COUNT)
    report = tmp_path / "report.txt"

    def run(command: list[str], affinity: set[int] | None = None, **environment: str):
        clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        clean["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, [clean.get("PYTHONPATH")])])
        finished = subprocess.run(
            command if "hf_sentiment_ft.train" in command else [*command, "-m", "count_threads"],
            env={**clean, "THREADS_REPORT": str(report), **environment},
            preexec_fn=(lambda: os.sched_setaffinity(0, affinity)) if affinity else None,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        log = re.search(r"CPU threads: .*", finished.stderr)
        assert log, finished.stderr
        return log[0], report.read_text().splitlines()

    return run


@pytest.mark.parametrize(
    "command",
    [[sys.executable], ACCELERATE, SAFE, [*ACCELERATE, *CPU, *TRAIN]],
    ids=["python", "accelerate", "safe path", "training"],
)
def test_one_process_uses_every_core(threads, command):
    log, found = threads(command)
    assert log == f"CPU threads: {CORES} (this process may use {CORES} core{'s' * (CORES > 1)})"
    assert found == [f"{CORES} {CORES}"], "and so will the processes that it starts"


@pytest.mark.parametrize("command", [[*ACCELERATE, *TWO], TORCHRUN], ids=["accelerate", "torchrun"])
def test_two_processes_share_the_cores(threads, command):
    log, found = threads(command)
    share = max(1, CORES // 2)
    assert log.endswith(", shared by 2 processes)")
    assert found == [f"{share} {share}"] * 2


@pytest.mark.skipif(CORES < 2, reason="needs two cores, to be given one")
def test_cores_that_the_process_may_not_use_do_not_count(threads):
    log, found = threads(ACCELERATE, affinity={min(os.sched_getaffinity(0))})
    assert log == "CPU threads: 1 (this process may use 1 core)"
    assert found == ["1 1"]


@pytest.mark.parametrize(
    ("command", "environment", "reason"),
    [
        ([*ACCELERATE, *TWO, *TRAIN, "--num_cpu_threads", "3"], {"OMP_NUM_THREADS": "5"}, "--num_cpu_threads"),
        (ACCELERATE, {"OMP_NUM_THREADS": "3"}, "OMP_NUM_THREADS"),
        ([sys.executable], {"OMP_NUM_THREADS": "3"}, "OMP_NUM_THREADS"),
        ([*ACCELERATE, "--num_cpu_threads_per_process", "3"], {}, "accelerate launch --num_cpu_threads_per_process"),
    ],
    ids=["flag", "environment", "environment without a launcher", "launcher"],
)
def test_what_the_user_sets_on_purpose_wins(threads, command, environment, reason):
    log, found = threads(command, **environment)
    assert log == f"CPU threads: 3 (set by {reason})"
    assert set(found) == {"3 3"}
