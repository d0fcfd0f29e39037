"""What goes wrong with the machine under a run: one clear error, and the last good checkpoint is there."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from hf_sentiment_ft.training.checkpoints import find_damage

from . import forked
from .conftest import ROOT
from .forked import FLAGS, finish


@pytest.fixture
def given(tiny_gpt2: Path) -> list[object]:
    return [*FLAGS, "--model_name_or_path", tiny_gpt2]


def wait_for(path: Path, process) -> None:
    while not path.exists():
        assert process.is_alive()
        time.sleep(0.01)


def refused(printed: str, says: str) -> None:
    """With one error and no traceback."""
    assert printed.count("error: ") == 1, printed
    assert says in printed
    assert "Traceback" not in printed


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_out_of_memory_names_what_to_lower(given: list[object], tmp_path: Path):
    before = partial(forked.little_memory, 8)
    codes, printed = forked.train(*given, "--per_device_train_batch_size", 64, cwd=tmp_path, before=before)
    assert codes == [1], printed
    refused(printed, "error: out of memory (")
    assert "Lower --per_device_train_batch_size and raise --gradient_accumulation_steps" in printed
    assert "--max_seq_length" in printed
    assert "--gradient_checkpointing" in printed


def test_dead_worker_ends_the_run(given: list[object], tmp_path: Path):
    started = forked.start(
        *given,
        "--dataloader_num_workers",
        1,
        cwd=tmp_path,
        before=partial(forked.slow, "hf_sentiment_ft.training.trainer", "label_word_loss", 0.2),
    )
    wait_for(tmp_path / "output" / "checkpoint-3", started[0])
    workers = [child for child in psutil.Process(started[0].pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    assert workers
    for worker in workers:
        worker.kill()
    codes, printed = forked.wait(started, tmp_path)
    assert codes == [1], printed
    refused(
        printed, "A data loading process has died, often because it ran out of memory. Lower --dataloader_num_workers"
    )
    assert find_damage(tmp_path / "output" / "checkpoint-3") is None


def test_second_run_in_the_same_folder_is_refused(given: list[object], tmp_path: Path):
    """As long as the first one lives, and also by another spelling; a killed one leaves nothing to clear away."""
    slow = partial(forked.slow, "hf_sentiment_ft.training.trainer", "label_word_loss", 60)
    started = forked.start(*given, cwd=tmp_path, before=slow)
    wait_for(tmp_path / "slow", started[0])
    second = ["--output_dir", tmp_path / "output", "--resume_from_checkpoint", "true"]
    codes, printed = forked.train(*given, *second, cwd=tmp_path)
    assert codes == [2], printed
    refused(printed, f"--output_dir {tmp_path / 'output'} is in use by another run.")
    started[0].kill()
    forked.wait(started, tmp_path)
    finish(*given, *second, "--max_steps", 1, cwd=tmp_path)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_leaves_at_once(signum: signal.Signals, given: list[object], tmp_path: Path):
    """Shells, schedulers and containers show 143 and 130 for an end by these signals."""
    started = forked.start(
        *given, cwd=tmp_path, before=partial(forked.slow, "hf_sentiment_ft.training.trainer", "label_word_loss", 60)
    )
    wait_for(tmp_path / "slow", started[0])
    os.kill(started[0].pid, signum)
    time.sleep(3)  # on a busy machine it may notice late, and take a signal within a second for the same one
    assert started[0].is_alive(), "the first one lets it finish the step"
    os.kill(started[0].pid, signum)
    started[0].join(10)
    assert started[0].exitcode == -signum


def test_folder_that_goes_away_while_training(given: list[object], tmp_path: Path):
    """As when a disk is unmounted."""
    started = forked.start(*given, cwd=tmp_path)
    wait_for(tmp_path / "output" / "checkpoint-3", started[0])
    (tmp_path / "output").rename(tmp_path / "elsewhere")
    (tmp_path / "output").touch()
    codes, printed = forked.wait(started, tmp_path)
    assert codes == [1], printed
    refused(printed, "could not be written to ./output: ")
    assert find_damage(tmp_path / "elsewhere" / "checkpoint-3") is None


def test_file_in_place_of_the_folder_is_refused_before_training(given: list[object], tmp_path: Path):
    (tmp_path / "output").touch()
    codes, printed = forked.train(*given, cwd=tmp_path)
    assert codes == [2], printed
    refused(printed, "error: --output_dir output is not a folder. Use another name.")


@pytest.mark.parametrize("reason", ["Permission denied", "Read-only file system"])
def test_folder_that_cannot_be_written_is_refused_before_training(reason: str, given: list[object], tmp_path: Path):
    """Permissions bind root too, where it lacks the capability to pass over them."""
    (tmp_path / "output").mkdir(mode=0o555 if reason == "Permission denied" else 0o755)
    if reason == "Read-only file system":
        script = 'mount -t tmpfs -o ro tmpfs output && "$@"'
        under = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    else:
        under = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else ["env"]
    if subprocess.run([*under, "true"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("this system does not let us")
    command = [*under, sys.executable, "-m", "hf_sentiment_ft.train", *map(str, given)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    refused(ended.stderr, f"error: --output_dir output cannot be written to: {reason}.")
