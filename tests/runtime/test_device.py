"""What a device does well."""

import logging
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_sentiment_ft.model.loading import ModelSource, load_model, load_tokenizer
from hf_sentiment_ft.runtime.device import choose_attention, choose_precision

# Large blocks, taken and freed in turn as training does; page faults tell whether they went back to the kernel.
COUNT_PAGE_FAULTS = """
import resource, sys
from hf_sentiment_ft.runtime.device import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use_memory():
    blocks = [bytearray(100 << 20) for _ in range(3)]
    for block in blocks:
        assert not any(block[:: 1 << 20])
        block[:: 1 << 20] = b"x" * 100

use_memory()
before = faults()
use_memory()
use_memory()
print(faults() - before)
"""


@pytest.mark.parametrize("requested", ["fp32", "bf16"])
@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_request_is_honoured_on_any_device(requested: str, device: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "hf_sentiment_ft"):
        assert choose_precision(requested, torch.device(device)) == requested
    assert caplog.messages == [f"Training in {requested}: set by --precision"]


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="only Linux lists a CPU's instructions there")
def test_auto_asks_the_cpu_and_says_what_it_found(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "hf_sentiment_ft"):
        precision = choose_precision("auto", torch.device("cpu"))
    listed = Path("/proc/cpuinfo").read_text().split()
    assert precision == ("bf16" if any(flag.endswith("bf16") for flag in listed) else "fp32")
    assert caplog.messages[0].startswith(f"Training in {precision}: this CPU has ")


def test_auto_is_fp32_where_bf16_was_not_tried():
    assert choose_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_auto_on_a_gpu_is_bf16_where_it_has_the_instructions():
    expected = "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp32"
    assert choose_precision("auto", torch.device("cuda")) == expected


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_freed_memory_is_kept_and_still_usable():
    """Memory that is used again is clean, and costs no page faults."""
    faults = {}
    for way in ("keep", "as it is"):
        finished = subprocess.run([sys.executable, "-c", COUNT_PAGE_FAULTS, way], capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        faults[way] = int(finished.stdout)
    assert faults["keep"] < faults["as it is"] / 10


@pytest.mark.parametrize(
    ("requested", "device", "longest", "expected"),
    [
        ("auto", "cpu", 128, "eager"),
        ("auto", "cpu", 129, None),
        ("auto", "cuda", 30, None),
        ("sdpa", "cpu", 30, "sdpa"),
    ],
)
def test_attention_is_chosen_by_device_and_length(
    requested: str, device: str, longest: int, expected: str | None, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, "hf_sentiment_ft"):
        assert choose_attention(requested, torch.device(device), longest) == expected
    assert caplog.messages[0].startswith(f"Attention: {expected or 'the model'}")


def test_attention_that_was_asked_for_reaches_the_model(tiny_gpt2: Path):
    base = ModelSource(str(tiny_gpt2), {})
    tokenizer = load_tokenizer(base)
    attentions = [load_model(base, "float32", tokenizer, name).config._attn_implementation for name in ("eager", None)]
    assert attentions == ["eager", "sdpa"]
