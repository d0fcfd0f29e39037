"""What the tests that need GPUs share: the cards they use, and what is looked at inside a run that is launched."""

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import ROOT, launch
from .forked import replaced
from .test_engines import count_precisions

DEVICE, ONE_CARD = torch.device("cuda"), "single_gpu"
VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")
CARDS = {number: {"CUDA_VISIBLE_DEVICES": ",".join(VISIBLE[:number])} for number in (1, 2)}
NEEDS_ONE = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")]
NEEDS_TWO = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")]

# Steps and evaluation batches between which waiting is counted: not the first ones, which bring things to the card.
FIRST, LAST = 2, 6
# Run first by what `accelerate launch` starts.
SITECUSTOMIZE = """
import os
if "ACCELERATE_MIXED_PRECISION" in os.environ:
    from tests.gpu import watch
    watch()
"""


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure, with the name of the card beside it, also of a test that passes."""

    def say(figure: str) -> None:
        with capsys.disabled():
            print(f"\n{torch.cuda.get_device_name()}: {figure}", flush=True)

    return say


def site(folder: Path, lines: str) -> dict[str, str]:
    """The environment in which processes run some lines first."""
    (folder / "site").mkdir(parents=True, exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(lines)
    return {"PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])}


def watched(*flags: object, cwd: Path, config: str = ONE_CARD, **options: Any) -> tuple[dict[str, Any], str]:
    """Launch the command; return what `watch` has kept, and what was printed."""
    done = launch(*flags, config=config, cwd=cwd, **site(cwd, SITECUSTOMIZE), **CARDS[1], **options)
    assert done.returncode == 0, done.stderr
    kept = [json.loads((cwd / name).read_text()) for name in ("watched.json", "precisions-0.json")]
    return {**kept[0], "precisions": kept[1]}, done.stdout + done.stderr


def watch() -> None:
    """Keep what layers compute in, the card's memory, and, where it is asked for, how often the card is waited for."""
    from transformers import TrainerCallback, trainer

    waits: dict[str, Counter[str]] = {}
    counting = {what: count_waits(waits, what) for what in ("a step", "an evaluation batch")}
    seen = Counter[str]()

    def passed(what: str) -> None:
        seen[what] += 1
        if seen[what] == FIRST:
            counting[what].__enter__()
        elif seen[what] == LAST:
            counting[what].__exit__(None, None, None)

    class Watch(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            passed("a step")

        def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
            passed("an evaluation batch")

    def kept(original: Callable[[], None]) -> Callable[[], None]:
        def keep_and_leave() -> None:
            found = {"peak_bytes": peak_bytes(), "cudnn_attention": torch.backends.cuda.cudnn_sdp_enabled()}
            Path("watched.json").write_text(json.dumps({**found, "waits": waits}))
            os.environ.setdefault("RANK", "0")  # by which the precisions are named; one process has none
            original()

        return keep_and_leave

    if "COUNT_WAITS" in os.environ:
        trainer.DEFAULT_CALLBACKS.append(Watch)
    count_precisions()
    replaced("hf_sentiment_ft.runtime", "shutdown", kept)


def peak_bytes() -> int:
    """The most memory of the card that this process has held; 0 if it has not used it."""
    return torch.cuda.max_memory_allocated()


@contextmanager
def count_waits(waits: dict[str, Counter[str]], what: str) -> Iterator[None]:
    """Count the places that wait for the card, copies to it of what is not in pinned memory included."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [one for one in caught if "synchronizing CUDA operation" in str(one.message)]
    waits[what] = Counter(f"{Path(one.filename).name}:{one.lineno}" for one in places)
