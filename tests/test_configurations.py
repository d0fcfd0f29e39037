"""What `accelerate launch` makes of a launch configuration, up to the processes that it would start."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from hf_sentiment_ft.paths import resource_path

from .test_launch import CONFIGS

MACHINES = ["--num_machines", "2", "--num_processes", "16", "--machine_rank", "1"]
MACHINES += ["--main_process_ip", "10.0.0.1", "--main_process_port", "29500"]
# Accelerate's defaults, written down for those who want another value; and threads, which this machine may lack.
TO_CHANGE = {"mixed_precision", "fsdp_reshard_after_forward", "fsdp_offload_params", "fsdp_cpu_ram_efficient_loading"}
TO_CHANGE |= {"multi_node: main_process_port", "multi_cpu: use_cpu"}


def started(path: Path, *flags: str) -> tuple[dict[str, Any], dict[str, str]]:
    """How torch's launcher, or Python itself, is called, and the environment of the processes."""
    given = launch_command_parser().parse_args(["--config_file", str(path), *flags, "-m", "module"])
    args, *_ = _validate_launch_command(given)
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""
        environment = prepare_deepspeed_cmd_env(args)[1]
    elif args.use_fsdp or args.multi_gpu:
        environment = prepare_multi_gpu_env(args)
    else:
        environment = prepare_simple_launcher_cmd_env(args)[1]
    torch_arguments = ("nproc_per_node", "nnodes", "node_rank", "master_port", "rdzv_endpoint", "rdzv_backend")
    return {name: getattr(args, name, None) for name in torch_arguments}, environment


def lines(config: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every setting with the mapping that it is in."""
    return [(config, name) for name in config] + [
        (inner, name) for inner in config.values() if isinstance(inner, dict) for name in inner
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_line_does_something(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("accelerate.utils.launch.get_free_port", lambda: 12345)
    text = resource_path(name).read_text()
    usages = [[], MACHINES]
    whole = [started(resource_path(name), *usage) for usage in usages]
    for number in range(len(lines(yaml.safe_load(text)))):
        config = yaml.safe_load(text)
        owner, line = lines(config)[number]
        del owner[line]
        (tmp_path / "less.yaml").write_text(yaml.safe_dump(config))
        try:
            without = [started(tmp_path / "less.yaml", *usage) for usage in usages]
        except ValueError:  # it cannot do without
            continue
        assert without != whole or {line, f"{name}: {line}"} & TO_CHANGE, line


@pytest.mark.parametrize("name", ["single_gpu", "multi_gpu", "fsdp2", "deepspeed_zero2", "deepspeed_zero3"])
def test_the_gpus_are_those_that_the_environment_names(name: str, monkeypatch: pytest.MonkeyPatch):
    """A scheduler gives a job its share of the machine so."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert started(resource_path(name))[1]["CUDA_VISIBLE_DEVICES"] == "2,3"


@pytest.mark.parametrize("name", ["multi_node", "fsdp2", "deepspeed_zero2", "deepspeed_zero3"])
def test_two_machines_of_eight_gpus_meet(name: str):
    """The second one's launcher starts eight processes, which look for the others on the first one."""
    torch_arguments, _ = started(resource_path(name), *MACHINES)
    assert torch_arguments == {
        "nproc_per_node": "8",
        "nnodes": "2",
        "node_rank": 1,
        "master_port": None,
        "rdzv_endpoint": "10.0.0.1:29500",
        "rdzv_backend": "static",
    }


def test_threads_of_processes_on_the_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 16)
    assert started(resource_path("multi_cpu"))[1]["OMP_NUM_THREADS"] == "8"
    assert started(resource_path("multi_cpu"), "--num_processes", "4")[1]["OMP_NUM_THREADS"] == "4"
