"""Set up DistributedDataParallel, FSDP and DeepSpeed, and check that one of them is at work."""

from typing import TYPE_CHECKING, Any

from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, TrainingArguments


def set_up_engine(args: "TrainingArguments", config: "PretrainedConfig", precision: str) -> None:
    """Choose the engine's settings that fit label words, unless the user has set them.

    Args:
        args: Training arguments with the engine; changed in place.
        config: Configuration of the model.
        precision: `bf16` or `fp32`.
    """
    if args.ddp_find_unused_parameters is None:
        # Only a mixture of experts leaves weights out of a step; looking for them costs a walk through the graph.
        args.ddp_find_unused_parameters = any("expert" in name for name in config.to_dict())
    if args.deepspeed_plugin is not None:
        set_up_deepspeed(args.deepspeed_plugin.deepspeed_config, precision)


def set_up_deepspeed(config: dict[str, Any], precision: str) -> None:
    """Add to DeepSpeed's configuration what a launch configuration cannot express, unless the user has set it.

    Args:
        config: DeepSpeed configuration, changed in place.
        precision: `bf16` or `fp32`.
    """
    # By default, each GPU would reserve 2 GB for gradient exchange; with `auto`, transformers uses the hidden size.
    sizes = ("reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold")
    config["zero_optimization"] = dict.fromkeys(sizes, "auto") | config.get("zero_optimization", {})
    if precision == "bf16":
        # DeepSpeed disables any outer autocast and has its own. Without modules listed as safe for lower precision,
        # gradients are exchanged in fp32, as with the other engines.
        autocast = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
        config.setdefault("torch_autocast", autocast)


def exchanges_gradients(model: "nn.Module", deepspeed_engine: Any) -> bool:
    """Return whether the processes exchange the gradients of this model, rather than each training its own copy.

    Args:
        model: Model, as wrapped for training.
        deepspeed_engine: Trainer's DeepSpeed engine; None without DeepSpeed.
    """
    model = getattr(model, "_orig_mod", model)  # wrapper added by torch.compile
    wrappers = (DistributedDataParallel, FullyShardedDataParallel, FSDPModule)
    return isinstance(model, wrappers) or model is deepspeed_engine
