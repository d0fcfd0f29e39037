"""What this device does well, found out by looking or measuring, never assumed."""

import ctypes
import logging
import platform
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


def choose_precision(requested: str, device: "torch.device") -> str:
    """Choose the arithmetic of training, `fp32` or `bf16`, and log why.

    A CPU with bf16 instructions (avx512_bf16, AMX) multiplies it several times faster than fp32; one without them is
    ten times slower, so a CPU is asked by multiplications of a few milliseconds.

    Args:
        requested: `fp32`, `bf16` or `auto`.
        device: Where the model trains.
    """
    precision, reason = (requested, "as --precision says") if requested != "auto" else _what_device_does_well(device)
    logger.info("training in %s: %s", precision, reason)
    return precision


def _what_device_does_well(device: "torch.device") -> tuple[str, str]:
    import torch

    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU has bf16 instructions"
        return "fp32", "this GPU has no bf16 instructions"
    if device.type != "cpu":
        return "fp32", f"bf16 was not tried on {device.type}"

    matrices = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds = dict.fromkeys(matrices, float("inf"))
    for _ in range(12):  # in turn, and the best of many: other processes get in between
        for dtype, matrix in matrices.items():
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    ratio = seconds[torch.float32] / seconds[torch.bfloat16]
    return ("bf16" if ratio > 1.5 else "fp32"), f"this CPU multiplies bf16 at {ratio:.1f} times the speed of fp32"


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of giving it back to the kernel.

    A training step frees and takes the same large blocks again and again; each return costs page faults. The three
    settings are those of `mallopt` (malloc.h): the thresholds for mapping and trimming, and the padding of growth. On
    other systems nothing is changed but speed.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 256 << 20)
