"""On two GPUs, over NCCL, each engine ends with one GPU's weights, and an error in one process ends both."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import launch
from .gpu import CARDS, NEEDS_TWO, ONE_CARD, site
from .test_engines import FLAGS, OPTIMIZERS, difference, model, saved  # noqa: F401

pytestmark = [*NEEDS_TWO, pytest.mark.timeout(600)]

TWO_CARDS = ["multi_gpu", "fsdp2", "deepspeed_zero2", "deepspeed_zero3"]
FAILURE = """
import os
from pathlib import Path

if os.environ.get("RANK") == "1":
    from hf_sentiment_ft.training import trainer

    def fail(*args, **kwargs):
        Path("failed").touch()
        raise OSError("no more paper")

    trainer.label_word_loss = fail
"""


@pytest.fixture(scope="module")
def one_card(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:  # noqa: F811
    """Runs of one process, each made once."""
    made: dict[str, Path] = {}

    def run(optimizer: str) -> Path:
        if optimizer not in made:
            made[optimizer] = tmp_path_factory.mktemp("one")
            given = [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 8, *OPTIMIZERS[optimizer]]
            done = launch(*given, config=ONE_CARD, cwd=made[optimizer], **CARDS[1])
            assert done.returncode == 0, done.stderr
        return made[optimizer]

    return run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("config", TWO_CARDS)
def test_weights_are_those_of_one_card(
    config: str,
    optimizer: str,
    model: Path,  # noqa: F811
    one_card: Callable[[str], Path],
    tmp_path: Path,
):
    given = [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 4, *OPTIMIZERS[optimizer]]
    done = launch(*given, config=config, processes=2, cwd=tmp_path, **CARDS[2])
    assert done.returncode == 0, done.stderr
    assert "| world_size | 2 |" in (tmp_path / "output" / "README.md").read_text(encoding="utf-8")
    assert difference(saved(tmp_path), saved(one_card(optimizer))) < 1e-4


@pytest.mark.parametrize("config", TWO_CARDS)
def test_an_error_in_one_process_ends_both_within_a_minute(config: str, tiny_gpt2: Path, tmp_path: Path):
    """Though NCCL would wait for the lost one."""
    given = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--zero_shot_baseline", "false"]
    done = launch(*given, config=config, processes=2, cwd=tmp_path, **site(tmp_path, FAILURE), **CARDS[2])
    assert done.returncode != 0
    assert "no more paper" in done.stderr
    assert time.time() - (tmp_path / "failed").stat().st_mtime < 60


def test_one_process_on_two_cards_is_told_the_launch_line(tiny_gpt2: Path, tmp_path: Path):
    command = [sys.executable, "-m", "hf_sentiment_ft.train", *map(str, FLAGS), "--model_name_or_path", str(tiny_gpt2)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **CARDS[2]}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "error: this process sees 2 GPUs" in done.stderr
    assert '--config_file "$(python -m hf_sentiment_ft.paths multi_gpu)" --num_processes 2' in done.stderr
    assert not (tmp_path / "output").exists()
