"""Compile the layers of a model for training."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)


def compile_layers(model: "nn.Module", args: "TrainingArguments") -> None:
    """Compile the model's layers in place, if `--torch_compile` asks for it, and log how.

    All layers run the same code, so that one layer's compilation serves all of them, and batches of any length: this
    takes less than a minute where the whole model takes many (see docs/performance.md).

    Args:
        model: Model to train.
        args: Training arguments.
    """
    if not args.torch_compile:
        logger.info("Not compiled: --torch_compile true makes long runs faster, after up to a minute of compiling")
        return
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers = max(stacks, key=len, default=[model])
    for layer in layers:
        layer.compile(dynamic=True, backend=args.torch_compile_backend, mode=args.torch_compile_mode)
    logger.info("Compiled: %d layers, set by --torch_compile", len(layers))


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled layers as they were written: evaluation computes what a user's `pipeline` will compute."""
    with torch.compiler.set_stance("force_eager"):
        yield
