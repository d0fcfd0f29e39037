"""Training engines on the CPU: what Accelerate runs on GPUs only, over gloo in two processes.

Everything but the device is as on GPUs: the launch configurations, and the engines' own code.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from hf_sentiment_ft.paths import resource_path

ROOT = Path(__file__).parents[1]  # not by conftest, which processes that are started must not run again

# Engine: its launch configuration. With `ddp`, each process holds the whole model (DistributedDataParallel).
CONFIGS = {"ddp": "multi_cpu", "fsdp2": "fsdp2", "zero2": "deepspeed_zero2", "zero3": "deepspeed_zero3"}
SHARDING = ("fsdp2", "zero2", "zero3")
ON_CPU = {"DS_ACCELERATOR": "cpu", "ACCELERATE_TORCH_DEVICE": "cpu"}
# Run first by each process that is started, which takes the CPU for a GPU of its own.
SITECUSTOMIZE = """
import os
if "LOCAL_RANK" in os.environ:
    from tests.engines import take_cpu_for_gpu
    take_cpu_for_gpu()
"""


def take_cpu_for_gpu() -> None:
    """Have Accelerate shard on the CPU, which it does on GPUs only, and connect the processes over gloo alone.

    DeepSpeed would compile a connection of its own between CPUs, for a minute, which GPUs do not have.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    PartialState._prepare_backend = lambda *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


@cache
def environment(engine: str) -> dict[str, str]:
    """Return the variables by which `accelerate launch` tells a process of its engine, as it really sets them."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(resource_path(CONFIGS[engine]))]
    command += ["--num_processes", "2", "--no_python", "sh", "-c", "[ $RANK = 1 ] || env -0"]
    launched = subprocess.run(command, check=True, capture_output=True, text=True)
    variables = dict(line.split("=", 1) for line in launched.stdout.split("\0") if "=" in line)
    return {name: value for name, value in variables.items() if name.startswith(("ACCELERATE_", "FSDP_"))} | (
        ON_CPU if engine in SHARDING else {}
    )


def flags(engine: str) -> list[str]:
    """Return what must be on the command line for the engine not to be refused on a CPU."""
    return ["--use_cpu", "false"] if engine in SHARDING else ["--use_cpu", "true"]


def write_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started by a launcher take the CPU for a GPU, too."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
