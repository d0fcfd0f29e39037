"""Every way to launch: read by Accelerate's own parser, and really started as far as a machine without GPUs allows."""

import os
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.paths import resource_path
from hf_sentiment_ft.runtime.distributed import check_engine

from . import forked
from .conftest import REVIEWS, ROOT, launch
from .hub_server import Fault, HubServer
from .local_hub import REPO, api_fixture, files_of, hub_fixture, record  # noqa: F401
from .publishing.test_publish import PUSHED

CONFIGS = sorted(path.stem for path in (ROOT / "accelerate_configs").glob("*.yaml"))
FEW = ["--dataset_name", REVIEWS, "--max_train_samples", 32, "--max_eval_samples", 16, "--max_test_samples", 17]
FEW += ["--num_train_epochs", 1, "--learning_rate", 1e-3, "--disable_tqdm", "true"]
PUSH = ["--push_to_hub", "--hub_model_id", REPO]

# An error in one process alone.
FAILURE = """
import importlib, os
if os.environ.get("RANK") == "1":
    def fail(*args, **kwargs):
        raise OSError("no more paper")
    importlib.import_module("hf_sentiment_ft.training.trainer").label_word_loss = fail
"""


@pytest.fixture
def on_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Have the processes that are started run some lines first."""

    def write(lines: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(lines)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)

    return write


@pytest.mark.parametrize("name", CONFIGS)
def test_accelerate_reads_it(name: str):
    """As `accelerate launch` does, which refuses keys that it does not know."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    path = str(resource_path(name))
    config = load_config_from_file(path)
    args, *_ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", path, "-m", "module"]))
    assert (
        args.num_processes
        == config.num_processes
        == {"cpu": 1, "single_gpu": 1, "multi_cpu": 2, "multi_node": 16}.get(name, 8)
    )
    assert args.num_machines == (2 if name == "multi_node" else 1)
    assert bool(args.use_cpu) is (name in ("cpu", "multi_cpu"))
    assert bool(args.use_fsdp) is (name == "fsdp2")
    assert bool(args.use_deepspeed) is name.startswith("deepspeed")
    assert bool(args.multi_gpu) is name.startswith("multi")
    assert args.mixed_precision == "no", "or evaluation would be in another precision than the saved weights"
    if args.use_fsdp:
        assert (args.fsdp_version, args.fsdp_state_dict_type) == (2, "FULL_STATE_DICT")
    if args.use_deepspeed:
        assert args.zero_stage == int(name[-1])
        assert args.gradient_accumulation_steps == args.gradient_clipping == "auto"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_command_is_there_to_copy(name: str):
    assert f"#     accelerate launch --config_file accelerate_configs/{name}.yaml" in resource_path(name).read_text()


def check_model(output: Path) -> None:
    """The saved model is whole: a fresh one says what the run's predictions say."""
    import csv

    from transformers import pipeline

    with (output / "test_predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17, "every row once"
    said = pipeline("text-generation", model=str(output))([row["text"] for row in rows], return_full_text=False)
    assert [answer[0]["generated_text"] for answer in said] == [row["generated_text"] for row in rows]


@pytest.mark.parametrize(
    ("engine", "args", "message"),
    [
        ("FSDP", {"use_cpu": True}, "requests FSDP, which Accelerate supports on GPUs only"),
        ("DEEPSPEED", {"use_cpu": True}, "requests DEEPSPEED, which Accelerate supports on GPUs only"),
        ("FSDP", {"save_only_model": True}, "--save_only_model is given, but FSDP loads the best checkpoint"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(engine: str, args: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    """On a CPU, Accelerate would train by DistributedDataParallel without a word."""
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    given = {"fsdp": None, "deepspeed": None, "use_cpu": False, "save_only_model": False}
    with pytest.raises(UsageError, match=message):
        check_engine(SimpleNamespace(**given | {"load_best_model_at_end": True} | args))


def launch_machines(flags: list[list[object]], tmp_path: Path) -> list[tuple[int, str]]:
    """Start one launcher for each machine, which meet on a loopback address; return exit codes and what was printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    started = []
    for rank, one in enumerate(flags):
        cwd = tmp_path / f"machine{rank}"
        cwd.mkdir()
        command = [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            str(resource_path("multi_node")),
        ]
        command += ["--num_machines", str(len(flags)), "--num_processes", str(len(flags)), "--machine_rank", str(rank)]
        command += ["--main_process_ip", "127.0.0.2", "--main_process_port", str(port), "-m", "hf_sentiment_ft.train"]
        environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
        started.append(
            subprocess.Popen(
                [*command, *map(str, one)],
                cwd=cwd,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        )
    said = [one.communicate(timeout=120)[0] for one in started]
    return [(one.returncode, text) for one, text in zip(started, said, strict=True)]


def test_two_machines(hub: HubServer, api: HfApi, tiny_gpt2: Path, tmp_path: Path):
    """With one output folder, as on a file system that both share, and a working directory each."""
    output = tmp_path / "shared"
    flags = ["--model_name_or_path", tiny_gpt2, *FEW, *PUSH, "--use_cpu", "true", "--output_dir", output]
    (first, printed), (second, quiet) = launch_machines([flags, flags], tmp_path)
    assert (first, second) == (0, 0), printed + quiet
    assert "test accuracy" in printed
    assert "test accuracy" not in quiet
    assert "| world_size | 2 |" in (output / "README.md").read_text(encoding="utf-8")
    assert not list(tmp_path.glob("machine*/*")), "all is in the output folder"
    assert record(output)["status"] == "verified"
    assert files_of(api) == PUSHED
    check_model(output)


def test_a_mistake_on_the_second_machine_ends_both(tiny_gpt2: Path, tmp_path: Path):
    flags = ["--model_name_or_path", tiny_gpt2, *FEW, "--use_cpu", "true", "--output_dir", tmp_path / "shared"]
    (first, here), (second, there) = launch_machines([flags, [*flags, "--label_words", "one"]], tmp_path)
    assert first != 0
    assert second != 0
    assert len(re.findall("^error: .*label_words", here + there, re.MULTILINE)) == 1, here + there
    assert "error: " in there, "where the mistake is"


def test_an_error_while_the_others_wait_ends_all(tiny_gpt2: Path, tmp_path: Path):
    flags = ["--model_name_or_path", tiny_gpt2, *FEW, "--use_cpu", "true"]
    failing = partial(forked.failing, "hf_sentiment_ft.data", "load_splits")
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=failing)
    assert all(codes), printed
    assert printed.count("RuntimeError: no more paper") == printed.count("Traceback") == 1, printed


def test_an_error_while_the_others_train_ends_all(on_start, tiny_gpt2: Path, tmp_path: Path):
    on_start(FAILURE)
    flags = ["--model_name_or_path", tiny_gpt2, *FEW, "--zero_shot_baseline", "false"]
    done = launch(*flags, config="multi_cpu", cwd=tmp_path)
    assert done.returncode != 0
    assert len(re.findall(r"^(\[rank\d\]: )?OSError: no more paper", done.stderr, re.MULTILINE)) == 1, done.stderr
    # One of ours, one of the launcher's own.
    assert len(re.findall(r"^(\[rank\d\]: )?Traceback", done.stderr, re.MULTILINE)) == 2, done.stderr


def test_a_refused_push_ends_all(hub: HubServer, tiny_gpt2: Path, tmp_path: Path):
    hub.inject(Fault("PUT", "/_storage/lfs/", times=None, status=403))
    flags = ["--model_name_or_path", tiny_gpt2, *FEW, *PUSH, "--zero_shot_baseline", "false"]
    use = partial(forked.use_test_hub, hub.endpoint, tmp_path)
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=use, rank=None)
    assert all(codes), printed
    assert printed.count("error: ") == 1, printed
    assert "The run is complete in output. To publish it:" in printed
    assert "test accuracy" in printed
