"""What a terminal and a log file show of a run."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from .. import forked
from ..conftest import REVIEWS

FLAGS = ["--dataset_name", REVIEWS, "--max_train_samples", 40, "--max_eval_samples", 8, "--max_test_samples", 8]
FLAGS += ["--per_device_train_batch_size", 8, "--logging_steps", 2, "--use_cpu", True]


def on_terminal(*flags: object, cwd: Path) -> str:
    """What the training command writes to a terminal of 80 columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "hf_sentiment_ft.train", *map(str, flags)]
    process = subprocess.Popen(command, cwd=cwd, stdin=its, stdout=its, stderr=its)
    os.close(its)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end has been closed
            break
        written += part
        if not part:
            break
    os.close(ours)
    assert process.wait() == 0, written.decode()
    return written.decode()


def test_terminal_shows_a_summary_and_one_bar_with_loss_and_accuracy(tiny_gpt2: Path, tmp_path: Path):
    written = on_terminal("--model_name_or_path", tiny_gpt2, *FLAGS, cwd=tmp_path)
    lines = written.replace("\r", "\n").splitlines()
    for beginning in ("Model: ", "Data: ", "Labels and their words: ", "Prompt: ", "CPU threads: ", "Training in "):
        assert len([line for line in lines if line.startswith(beginning)]) == 1, beginning
    assert any(re.match("Training: 5 steps of 8 rows on cpu in .*; about a second, and the eval", one) for one in lines)
    assert "\x1b[3" not in written, "no colours"
    bars = [line for line in lines if "/5 [" in line]
    assert bars
    assert all("Training" in bar or bar.startswith("  0%") for bar in bars)
    assert "loss=" in bars[-1]
    assert "validation accuracy=" in bars[-1]
    assert max(map(len, bars)) <= 80
    for noise in ("Loading weights", "Generating", "Tokenizing", "Writing model", "{'", "[transformers]"):
        assert noise not in written


def test_log_file_has_plain_lines(tiny_gpt2: Path, tmp_path: Path):
    printed = forked.finish("--model_name_or_path", tiny_gpt2, *FLAGS, cwd=tmp_path)
    assert "step 2 of 5: loss " in printed
    assert "step 5 of 5: validation accuracy " in printed
    assert "it/s" not in printed
    assert "{'" not in printed


def test_verbose_shows_what_the_libraries_say(tiny_gpt2: Path, tmp_path: Path):
    printed = forked.finish("--model_name_or_path", tiny_gpt2, *FLAGS, "--verbose", cwd=tmp_path)
    assert "Loading weights" in printed
