"""What this device does well, looked up, never assumed."""

import ctypes
import logging
import platform
from typing import TYPE_CHECKING, Any

import torch

from ..errors import UsageError
from .distributed import sharding_engines

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

EAGER_TOKENS = 128


def choose_precision(requested: str, device: "torch.device") -> str:
    """Choose the arithmetic of training, `fp32` or `bf16`, and log why.

    A CPU with bf16 instructions multiplies it several times faster than fp32; one without them is ten times slower.

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
    # Looked up, not timed: a busy machine would give another answer every time, and every process its own.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    has = [name for name, present in capabilities.items() if name.endswith("bf16") and present]
    return ("bf16", f"this CPU has {', '.join(has)}") if has else ("fp32", "this CPU has no bf16 instructions known")


def choose_attention(requested: str, device: "torch.device", longest: int) -> str | None:
    """Choose the attention implementation of the run, None for the model's own default, and log why.

    On a CPU, the backward pass of torch's fused attention takes longer than plain matrix products do, as long as the
    sequences are short; docs/performance.md has the figures. Plain ones need memory for sequence length².

    Args:
        requested: A name that transformers knows, or `auto`.
        device: Where the model trains.
        longest: Tokens of the longest training prompt.
    """
    if requested != "auto":
        logger.info("attention: %s, as --attn_implementation says", requested)
        return requested
    if device.type == "cpu" and longest <= EAGER_TOKENS:
        logger.info("attention: eager, the fastest on a CPU for prompts of at most %d tokens", EAGER_TOKENS)
        return "eager"
    logger.info("attention: the model's own default, which is torch's fused one where the model has it")
    return None


def leave_out_cudnn_attention(device: "torch.device") -> None:
    """Have torch's fused attention choose among its kernels without cuDNN's.

    On H100, the gradients of cuDNN's are not numbers in rows of the mask that attend to nothing, as padding on the
    left does, at widths of 64 modulo 128 (https://github.com/pytorch/pytorch/issues/196678, torch 2.11 and later).

    Args:
        device: Where the model trains.
    """
    if device.type == "cuda":
        import torch

        torch.backends.cuda.enable_cudnn_sdp(False)
        logger.info("attention: not cuDNN's, whose gradients may be NaN where there is padding")


def log_compilation(compiled: bool) -> None:
    """Say that training is compiled, or why not: batches of all widths are compiled for minutes.

    docs/performance.md has what it gains on a CPU, which is nothing.
    """
    reason = "as --torch_compile says" if compiled else "it takes minutes; --torch_compile true does it"
    logger.info("%s: %s", "compiled" if compiled else "not compiled", reason)


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


CPU_TOKENS = 1024  # a CPU's matrix products gain little from more; see docs/performance.md


def choose_microbatch(requested: int | None, args: "TrainingArguments") -> int:
    """Choose the most tokens of one forward and backward pass, 0 for whole batches, and log why.

    Args:
        requested: What `--max_tokens_per_microbatch` says, None for a choice by device.
        args: Say where the model trains.

    Raises:
        UsageError: If it is asked for where processes that share weights would fall out of step.
    """
    sharded = sharding_engines(args)
    if requested and sharded:
        raise UsageError(
            f"--max_tokens_per_microbatch is {requested}, but with {sharded[0]} all processes must go through the "
            "model equally often; leave it out, and lower --per_device_train_batch_size for less memory."
        )
    if requested is not None:
        tokens, reason = requested, "as --max_tokens_per_microbatch says"
    elif args.device.type == "cpu" and not sharded:
        tokens, reason = CPU_TOKENS, "more take memory, and gain a CPU little"
    else:
        tokens, reason = 0, f"{sharded[0]} needs it" if sharded else "parts were not tried on GPUs"
    logger.info("micro-batches: %s: %s", f"at most {tokens} tokens" if tokens else "none, batches are whole", reason)
    return tokens
