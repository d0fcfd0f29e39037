"""Two processes, of which one fails or is late: the other does not wait for ever, and the reason is shown once."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_sentiment_ft.distributed import check_engine
from hf_sentiment_ft.errors import UsageError

from . import forked
from .forked import FLAGS


@pytest.mark.parametrize(
    ("rank", "module", "function"),
    [
        (1, "hf_sentiment_ft.tokenization", "tokenize_splits"),
        (0, "hf_sentiment_ft.trainer", "label_word_loss"),
        (1, "hf_sentiment_ft.trainer", "LabelWordTrainer.evaluation_loop"),
    ],
    ids=["second, preprocessing", "first, training", "second, evaluation"],
)
def test_an_error_in_one_process_ends_both(rank: int, module: str, function: str, tiny_gpt2: Path, tmp_path: Path):
    """Without a launcher that would end the other one."""
    failing = partial(forked.failing, module, function)
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=failing, rank=rank)
    assert all(codes), printed
    assert printed.count("RuntimeError: no more paper") == 1, printed
    assert printed.count("Traceback") == 1, printed
    assert "error: " not in printed


def test_one_that_waits_in_vain_says_for_what(tiny_gpt2: Path, tmp_path: Path):
    late = partial(forked.slow, "hf_sentiment_ft.data", "load_splits", 8)
    flags = [*FLAGS, "--model_name_or_path", tiny_gpt2, "--ddp_timeout", 2]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, before=late)
    assert all(codes), printed
    assert printed.count("error: ") == 1, printed
    assert "error: process 1 waited 2 s (--ddp_timeout) for another one: loading the data set. If that" in printed
    assert "Traceback" not in printed


def test_no_batch_size_is_looked_for_by_each_process_alone():
    """One would begin anew while the other waits for it."""
    with pytest.raises(UsageError, match="--auto_find_batch_size looks for what one process has memory for"):
        check_engine(SimpleNamespace(fsdp=None, deepspeed=None, use_cpu=True, auto_find_batch_size=True, world_size=2))
