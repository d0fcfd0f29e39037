"""A run that was stopped by a signal resumes as if nothing had happened; a run with other settings is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import TrainingArguments

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.training.checkpoints import CONTENTS, find_checkpoint

from .. import forked
from ..conftest import ROOT
from ..forked import FLAGS, finish, weights

ON = ["--resume_from_checkpoint", "true"]


@pytest.fixture(scope="module")
def uninterrupted(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an uninterrupted run with dropout; its second epoch begins after step 8."""
    cwd = tmp_path_factory.mktemp("uninterrupted")
    finish(*FLAGS, "--model_name_or_path", tiny_gpt2, cwd=cwd)
    return cwd


def wait_for(path: Path, alive: Callable[[], bool], printed: Path) -> None:
    while not path.exists():
        assert alive(), printed.read_text()
        time.sleep(0.002)


def test_signal_saves_and_says_how_to_go_on(uninterrupted: Path, tiny_gpt2: Path, tmp_path: Path):
    """As typed, without a launcher, so that the command is one to type again."""
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    command = [sys.executable, "-m", "hf_sentiment_ft.train", *flags, "--hub_token", "hf_secret"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "printed.txt").open("w") as log:
        process = subprocess.Popen([*map(str, command)], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    wait_for(tmp_path / "output" / "checkpoint-3", lambda: process.poll() is None, tmp_path / "printed.txt")
    process.send_signal(signal.SIGTERM)
    process.wait()
    printed = (tmp_path / "printed.txt").read_text()
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert "Traceback" not in printed
    assert "-m hf_sentiment_ft.train --dataset_name" in printed
    assert "--resume_from_checkpoint true" in printed
    assert "hf_secret" not in printed
    finish(*flags, *ON, cwd=tmp_path)
    assert weights(tmp_path) == weights(uninterrupted)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGUSR1])
def test_other_signals_do_too(signum: signal.Signals, tiny_gpt2: Path, tmp_path: Path):
    started = forked.start(*FLAGS, "--model_name_or_path", tiny_gpt2, "--hub_token", "hf_secret", cwd=tmp_path)
    wait_for(tmp_path / "output" / "checkpoint-3", started[0].is_alive, tmp_path / "printed.txt")
    os.kill(started[0].pid, signum)
    codes, printed = forked.wait(started, tmp_path)
    assert codes == [128 + signum], printed
    assert "Traceback" not in printed
    assert "--resume_from_checkpoint true" in printed
    assert "hf_secret" not in printed


def test_a_changed_run_is_refused_with_what_changed(uninterrupted: Path, tiny_gpt2: Path):
    """The output folder is left unchanged."""
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--label_words", "bad,good", "--learning_rate", 2e-3]
    before = {path: path.stat().st_mtime_ns for path in (uninterrupted / "output").rglob("*")}
    codes, printed = forked.train(*flags, "--max_train_samples", 56, *ON, cwd=uninterrupted)
    assert codes == [2], printed
    assert "label_words: [' negative', ' positive'] → ['bad', 'good']" in printed
    assert "learning_rate: 0.001 → 0.002" in printed
    assert "train rows: 64 (" in printed
    assert "prompt_template: " not in printed
    assert {path: path.stat().st_mtime_ns for path in (uninterrupted / "output").rglob("*")} == before


@pytest.mark.parametrize("damage", ["missing", "cut", "no list", "no state"])
def test_a_damaged_checkpoint_is_passed_over(damage: str, uninterrupted: Path, tmp_path: Path):
    """Deleting or copying a checkpoint may be interrupted."""
    shutil.copytree(uninterrupted / "output", tmp_path / "output")
    checkpoints = sorted((tmp_path / "output").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    newest, before = checkpoints[-1], checkpoints[-2]
    args = TrainingArguments(output_dir=str(tmp_path / "output"), resume_from_checkpoint="true")
    assert find_checkpoint(args) == str(newest)
    names = {
        "missing": "optimizer.pt",
        "cut": "model.safetensors",
        "no list": CONTENTS,
        "no state": "trainer_state.json",
    }
    path = newest / names[damage]
    path.write_bytes(path.read_bytes()[:-1]) if damage == "cut" else path.unlink()
    assert find_checkpoint(args) == str(before)
    if damage in ("missing", "cut"):
        args.resume_from_checkpoint = str(newest)
        with pytest.raises(UsageError, match=rf"it is incomplete \({names[damage]} is missing or truncated\)"):
            find_checkpoint(args)


def test_without_a_checkpoint_training_begins(tmp_path: Path):
    assert find_checkpoint(TrainingArguments(output_dir=str(tmp_path), resume_from_checkpoint="true")) is None


def test_diverged_run_ends_without_saving_it(tiny_gpt2: Path, tmp_path: Path):
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--learning_rate", 1000, "--max_grad_norm", 0, "--optim", "sgd"]
    codes, printed = forked.train(*flags, cwd=tmp_path)
    assert codes == [1], printed
    assert "training has diverged" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "output" / "model.safetensors").exists()
    for saved in (tmp_path / "output").glob("checkpoint-*/model.safetensors"):
        assert all(value.isfinite().all() for value in load_file(saved).values())


def test_full_disk_leaves_the_last_good_checkpoint(tiny_gpt2: Path, tmp_path: Path):
    """The file system has two megabytes, which is enough for one checkpoint of this model but not for two."""
    (tmp_path / "output").mkdir()
    namespace = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this system has no user namespaces")
    script = 'mount -t tmpfs -o size=2500k tmpfs output && "$@"; code=$?; ls output output/*; exit $code'
    command = [*namespace, "sh", "-c", script, "sh", sys.executable, "-m", "hf_sentiment_ft.train"]
    flags = map(str, [*FLAGS, "--model_name_or_path", tiny_gpt2])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([*command, *flags], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    assert "error: checkpoint-6 could not be written to ./output: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "checkpoint-3" in ended.stdout
    assert "checkpoint-6" not in ended.stdout
    assert "unfinished" not in ended.stdout
