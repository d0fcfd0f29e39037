"""Bytes for each parameter of a tiny model in one training step, on one process and divided over two: counted.

    python -m benchmarks.memory_tiny

What `memory_estimate` reckons with: weights, gradients, AdamW's averages, and the bf16 copies of weights that autocast
leaves for the backward pass. Under FSDP2 too these are whole on every process, unless activations are recomputed.
"""

import os
from typing import Any

import torch
from torch import Tensor, nn


def bytes_of(tensors: Any) -> int:
    """What this process holds of them."""
    return sum(getattr(tensor, "to_local", lambda tensor=tensor: tensor)().nbytes for tensor in tensors)


def step(model: nn.Module) -> dict[str, int]:
    """Train one step under autocast, and count."""
    shapes = {tuple(weight.shape) for weight in model.parameters() if weight.dim() == 2}
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    copies: dict[int, int] = {}

    def saved(tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.bfloat16 and {tuple(tensor.shape), tuple(tensor.shape)[::-1]} & shapes:
            copies[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    rows = torch.randint(0, 2000, (2, 7))
    with (
        torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        loss = model(rows, labels=rows).loss
    loss.backward()
    optimizer.step()
    return {
        "weights": bytes_of(model.parameters()),
        "gradients": bytes_of(weight.grad for weight in model.parameters()),
        "AdamW": bytes_of(value for state in optimizer.state.values() for value in state.values()),
        "bf16 copies": sum(copies.values()),
    }


def measure(rank: int, world_size: int) -> None:
    """Print a row of the table for each way to train."""
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531"}
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
    for recomputed in (False, True):
        model = LlamaForCausalLM(LlamaConfig(vocab_size=2000, **sizes, tie_word_embeddings=True, use_cache=False))
        num_parameters = model.num_parameters()
        if recomputed:
            model.activation_checkpointing_enable()
        model.train()
        if world_size > 1:
            for part in (*model.model.layers, model):
                fully_shard(part)
        counted = {what: number / num_parameters for what, number in step(model).items()}
        if rank == 0:
            name = ("fsdp2, 2 processes" if world_size > 1 else "one process") + (
                ", --gradient_checkpointing" if recomputed else ""
            )
            print(f"| {name} | " + " | ".join(f"{number:.1f}" for number in counted.values()) + " |", flush=True)
    dist.destroy_process_group()


def main() -> None:
    print("| bytes for each parameter | weights | gradients | AdamW | bf16 copies |\n|---|---|---|---|---|", flush=True)
    for world_size in (1, 2):
        torch.multiprocessing.spawn(measure, (world_size,), world_size)


if __name__ == "__main__":
    main()
