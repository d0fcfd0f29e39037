"""A run that was stopped by a signal resumes as if nothing had happened; a run with other settings is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import TrainingArguments

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.training.checkpoints import CONTENTS, find_checkpoint

from ..conftest import REVIEWS, ROOT

FLAGS = ["--dataset_name", REVIEWS, "--zero_shot_baseline", "false", "--per_device_train_batch_size", 8]
FLAGS += ["--max_train_samples", 64, "--max_eval_samples", 8, "--max_test_samples", 8, "--learning_rate", 1e-3]
FLAGS += ["--max_steps", 14, "--eval_strategy", "steps", "--eval_steps", 3, "--save_strategy", "steps"]
FLAGS += ["--save_steps", 3, "--load_best_model_at_end", "false"]  # or all would end with the best, of step 3
ON = ["--resume_from_checkpoint", "true"]


def start(*flags: object, cwd: Path) -> subprocess.Popen:
    """Start the training process without a launcher, so that it can be killed."""
    command = [sys.executable, "-m", "hf_sentiment_ft.train", *map(str, flags)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def weights(cwd: Path) -> bytes:
    return (cwd / "output" / "model.safetensors").read_bytes()


def finish(*flags: object, cwd: Path) -> str:
    process = start(*flags, cwd=cwd)
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def uninterrupted(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an uninterrupted run with dropout; its second epoch begins after step 8."""
    cwd = tmp_path_factory.mktemp("uninterrupted")
    finish(*FLAGS, "--model_name_or_path", tiny_gpt2, cwd=cwd)
    return cwd


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signal_saves_and_says_how_to_go_on(signum: int, uninterrupted: Path, tiny_gpt2: Path, tmp_path: Path):
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    process = start(*flags, "--hub_token", "hf_secret", cwd=tmp_path)
    wait_for(tmp_path / "output" / "checkpoint-3", process)
    process.send_signal(signum)
    printed = process.communicate()[0]
    assert process.returncode == 128 + signum, printed
    assert "Traceback" not in printed
    assert "-m hf_sentiment_ft.train --dataset_name" in printed
    assert "--resume_from_checkpoint true" in printed
    assert "hf_secret" not in printed
    if signum == signal.SIGTERM:
        finish(*flags, *ON, cwd=tmp_path)
        assert weights(tmp_path) == weights(uninterrupted)


def test_a_changed_run_is_refused_with_what_changed(uninterrupted: Path, tiny_gpt2: Path):
    """The output folder is left unchanged."""
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--label_words", "bad,good", "--learning_rate", 2e-3]
    process = start(*flags, "--max_train_samples", 56, *ON, cwd=uninterrupted)
    printed = process.communicate()[0]
    assert process.returncode == 2, printed
    assert "label_words: [' negative', ' positive'] → ['bad', 'good']" in printed
    assert "learning_rate: 0.001 → 0.002" in printed
    assert "train rows: 64 (" in printed
    assert "prompt_template" not in printed


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
    process = start(*flags, cwd=tmp_path)
    printed = process.communicate()[0]
    assert process.returncode == 1, printed
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
