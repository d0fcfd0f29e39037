"""A tiny random GPT-2 with a small trained tokenizer, a small labelled table, and one real run of the command."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before any test module imports the libraries, which read these once: caches of our own, and one thread a process,
# since the machine is shared with the processes that the tests start.
PREFIX = f"hf_sentiment_ft_tests_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_"
if PREFIX not in os.environ.get("HF_HOME", ""):  # processes started from here use these, and clear nothing away
    CACHES = tempfile.TemporaryDirectory(prefix=PREFIX)
    os.environ |= {
        "HF_HOME": CACHES.name,
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    if not shutil.which("nvidia-smi"):  # or DeepSpeed prints on standard output that it has not found a GPU
        os.environ["DS_ACCELERATOR"] = "cpu"
    os.environ.pop("HF_TOKEN", None)

ROOT = Path(__file__).parent.parent
REVIEWS = ROOT / "hf_sentiment_ft" / "sample_reviews"


@pytest.fixture(scope="session", autouse=True)
def _no_real_hub_in_started_processes() -> None:
    """This process may ask the test Hub, for which it must not be offline."""
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a GPT-2 of two layers with random weights; its tokenizer has no pad token, as GPT-2's has none."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("tiny_gpt2")
    bpe = ByteLevelBPETokenizer()
    bpe.train(
        [str(REVIEWS / "train.csv"), *map(str, ROOT.glob("*.md"))],
        vocab_size=1000,
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    # One token each, as in GPT-2's own vocabulary.
    tokenizer = GPT2TokenizerFast(tokenizer_object=bpe._tokenizer, model_max_length=128)
    tokenizer.add_tokens([" negative", " positive"])
    tokenizer.save_pretrained(folder)
    set_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=128,
        n_embd=64,
        n_layer=2,
        n_head=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def launch(
    *flags: object, config: str = "cpu", module: str = "train", processes: int = 0, cwd: Path, **environment: str
):
    """Run a command of the package by `accelerate launch`, as a user does, and return the finished process."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [str(ROOT / "accelerate_configs" / f"{config}.yaml")]
    command += ["--num_processes", str(processes)] if processes else []
    command += ["-m", f"hf_sentiment_ft.{module}"]
    return subprocess.run(
        [*command, *map(str, flags)], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.fixture(scope="session")
def run_dir(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of one finished run on the sample reviews; tests must not change it."""
    cwd = tmp_path_factory.mktemp("run")
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--num_train_epochs", 2]
    finished = launch(*flags, "--learning_rate", 1e-3, "--save_only_model", cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    (cwd / "printed.txt").write_text(finished.stdout + finished.stderr)
    return cwd / "output"


@pytest.fixture(scope="session")
def results(run_dir: Path) -> dict:
    return json.loads((run_dir / "all_results.json").read_text())


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A real browser; one for each module, since an event loop runs as long as it is open."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; install it by sudo apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])  # root has no sandbox
