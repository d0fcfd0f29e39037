"""Settings that depend on the device, chosen by what it reports to support and never assumed."""

import ctypes
import gc
import logging
import platform
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .distributed import sharding_engines

if TYPE_CHECKING:
    import torch
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

EAGER_TOKENS = 128


def choose_precision(requested: str, device: "torch.device", log: bool = True) -> str:
    """Choose the precision of training, `fp32` or `bf16`, and log why.

    A CPU with bf16 instructions is several times faster in bf16 than in fp32; a CPU without them is ten times slower.

    Args:
        requested: A precision, or `auto` to choose by device.
        device: Device on which the model trains.
        log: Whether to log why.

    Returns:
        The requested precision, or the chosen one.
    """
    precision, reason = (requested, "set by --precision") if requested != "auto" else _fastest_precision(device)
    if log:
        logger.info("Training in %s: %s", precision, reason)
    return precision


def _fastest_precision(device: "torch.device") -> tuple[str, str]:
    import torch

    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU has bf16 instructions"
        return "fp32", "this GPU has no bf16 instructions"
    if device.type != "cpu":
        return "fp32", f"bf16 has not been tested on {device.type}"
    # Looked up, not timed: on a busy machine, timings would differ from run to run and between processes.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch lack it
    has = [name for name, present in capabilities.items() if name.endswith("bf16") and present]
    return ("bf16", f"this CPU has {', '.join(has)}") if has else ("fp32", "this CPU has no known bf16 instructions")


def choose_attention(requested: str, device: "torch.device", longest: int) -> str | None:
    """Choose the attention implementation of the run, and log why.

    On a CPU, the backward pass of torch's fused attention is slower than plain matrix products if the sequences are
    short; see docs/performance.md for the figures. Plain products need memory quadratic in the sequence length.

    Args:
        requested: A name that transformers knows, or `auto`.
        device: Device on which the model trains.
        longest: Length of the longest training prompt in tokens.

    Returns:
        The name of the implementation, None for the model's own default.
    """
    if requested != "auto":
        logger.info("Attention: %s, set by --attn_implementation", requested)
        return requested
    if device.type == "cpu" and longest <= EAGER_TOKENS:
        logger.info("Attention: eager, the fastest on a CPU for prompts of at most %d tokens", EAGER_TOKENS)
        return "eager"
    logger.info("Attention: the model's default, which is torch's fused attention (sdpa) if the model supports it")
    return None


def disable_cudnn_attention(device: "torch.device") -> None:
    """Exclude the cuDNN kernel from torch's fused attention.

    On H100, its gradients are NaN for rows of the mask that attend to nothing, such as left padding, at sequence
    lengths of 64 modulo 128 (https://github.com/pytorch/pytorch/issues/196678, torch 2.11 and later).

    Args:
        device: Device on which the model trains.
    """
    if device.type == "cuda":
        import torch

        torch.backends.cuda.enable_cudnn_sdp(False)
        logger.info("Attention: cuDNN's kernel is disabled, since its gradients may be NaN with padding")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the kernel.

    Every training step frees and allocates the same large blocks, and returning them each time costs page faults. The
    three settings are those of `mallopt` (malloc.h): the thresholds for mapping and trimming, and the padding of the
    growing heap. They affect nothing but speed, and do not exist on other systems.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 256 << 20)


def keep_random_state(device: "torch.device") -> AbstractContextManager[None]:
    """Put torch's random numbers back afterwards, those of the CPU and of the device.

    With several processes, Accelerate's data loaders draw from them, and dropout would be another one.
    """
    import torch

    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def return_freed_memory() -> None:
    """Collect garbage and return freed memory to the kernel and to the GPU, before another model is loaded.

    A model and its optimizer are in reference cycles, and `keep_freed_memory` keeps what they have taken.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


CPU_TOKENS = 1024  # larger batches are hardly faster on a CPU; see docs/performance.md


def choose_microbatch(requested: int | None, args: "TrainingArguments") -> int:
    """Choose the maximum number of tokens in one forward and backward pass, and log why.

    Args:
        requested: Value of `--max_tokens_per_microbatch`, None to choose by device.
        args: Training arguments, with the device and the engine.

    Returns:
        The number of tokens, 0 for whole batches.

    Raises:
        UsageError: If micro-batches are requested where processes with sharded weights would fall out of step.
    """
    sharded = sharding_engines(args)
    if requested and sharded:
        raise UsageError(
            f"--max_tokens_per_microbatch is {requested}, but with {sharded[0]} all processes must run "
            "the same number of forward passes. Remove it; to save memory, lower --per_device_train_batch_size instead."
        )
    if requested is not None:
        tokens, reason = requested, "set by --max_tokens_per_microbatch"
    elif args.device.type == "cpu" and not sharded:
        tokens, reason = CPU_TOKENS, "larger batches need more memory and are hardly faster on a CPU"
    else:
        tokens, reason = 0, f"{sharded[0]} requires it" if sharded else "off by default on GPUs"
    logger.info(
        "Micro-batches: %s: %s", f"at most {tokens} tokens" if tokens else "none, batches are not split", reason
    )
    return tokens
