"""Batches of long texts go through the model in parts, so that memory does not depend on the longest texts.

What a forward pass keeps for the backward pass grows with the tokens of the batch, padding included. A batch of the
longest texts has several times as many as others, and would decide what a run needs. Gradients of its parts add up to
its own, so only rounding tells the difference. fairseq bounds its batches by `--max-tokens`, which changes how many
rows a step learns from; here that stays as it is.
"""

import logging
from typing import TYPE_CHECKING, Any

import torch

from .distributed import sharding_engines
from .errors import UsageError

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

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


def split_batch(batch: dict[str, Any], max_tokens: int) -> list[dict[str, Any]]:
    """Split a batch into parts of rows of similar length, padded no further than each part needs.

    Args:
        batch: `attention_mask` and others of (batch, seq), padded on the left; `labels`, (batch, label tokens); what is
            no tensor goes into every part.
        max_tokens: The most tokens of a part, padding included; a part has at least one row. 0 for no split.

    Returns:
        The parts, the one of the longest rows first; or the batch itself.
    """
    num_rows, width = batch["attention_mask"].shape
    if not max_tokens or num_rows * width <= max_tokens:
        return [batch]
    lengths = batch["attention_mask"].sum(dim=1)
    num_parts = -(-num_rows // max(1, max_tokens // width))
    tensors = {name: value for name, value in batch.items() if torch.is_tensor(value)}
    parts = []
    for rows in lengths.argsort(descending=True, stable=True).tensor_split(num_parts):
        longest = max(int(lengths[rows[0]]), batch["labels"].size(1))  # logits are wanted at each label token
        part = {name: value[rows] if name == "labels" else value[rows, -longest:] for name, value in tensors.items()}
        parts.append(batch | part)
    return parts
