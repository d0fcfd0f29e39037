"""Memory of each GPU for weights, gradients and AdamW's state, and what it sends in a step: computed, as Markdown.

    python -m benchmarks.memory_estimate --num_processes 8

Counted as Rajbhandari et al. do (ZeRO, https://arxiv.org/abs/1910.02054, sections 3, 5 and 7), with this package's
numbers: weights, gradients and AdamW's two averages in fp32, 4 bytes each. DistributedDataParallel holds the gradients
once more, in its buckets. Autocast to bf16 leaves a copy of each weight, 2 bytes, for the backward pass, whole on every
GPU also where weights are divided; `--gradient_checkpointing` leaves one layer's (`memory_tiny` counts them). DeepSpeed
keeps the weights once more, divided, for the optimizer. Where weights are divided, one layer, the next one, and the
embeddings are whole for a moment. LoRA trains an adapter of rank 16 on all linear layers, on frozen weights in fp32.
Activations come on top.
"""

import argparse
from dataclasses import dataclass

BYTES = 4
COPY = 2


@dataclass(frozen=True)
class Size:
    """A model: all parameters, its layers, the parameters that are in no layer (embeddings, output), LoRA's adapter."""

    name: str
    parameters: float
    layers: int
    outside: float
    adapter: float


SIZES = (
    Size("SmolLM2-135M", 134.5e6, 30, 49152 * 576, 4.9e6),
    Size("SmolLM2-360M", 361.8e6, 32, 49152 * 960, 8.7e6),
    Size("SmolLM2-1.7B", 1711e6, 24, 49152 * 2048, 18.1e6),
    Size("Llama-3.1-8B", 8030e6, 32, 2 * 128256 * 4096, 41.9e6),
    Size("Llama-3.1-70B", 70554e6, 80, 2 * 128256 * 8192, 207.1e6),
)


def memory(size: Size, num_processes: int) -> dict[str, float]:
    """Bytes on each GPU for each launch configuration."""
    all_of, part, copies = size.parameters * BYTES, size.parameters * BYTES / num_processes, size.parameters * COPY
    moment = size.outside + 2 * (size.parameters - size.outside) / size.layers
    return {
        "single_gpu, LoRA": all_of + copies + 4 * size.adapter * BYTES,
        "single_gpu": 4 * all_of + copies,
        "multi_gpu": 5 * all_of + copies,
        "deepspeed_zero2": all_of + 4 * part + copies,
        "deepspeed_zero3": 5 * part + moment * BYTES + copies,
        "fsdp2": 4 * part + moment * BYTES + copies,
        "fsdp2, --gradient_checkpointing": 4 * part + moment * (BYTES + COPY),
    }


def sent(size: Size, num_processes: int) -> dict[str, float]:
    """Bytes that each GPU sends in a step: gradients once around and back; divided weights are gathered once more."""
    share = size.parameters * BYTES * (num_processes - 1) / num_processes
    return {"single_gpu": 0, "multi_gpu": 2 * share, "deepspeed_zero2": 2 * share, "deepspeed_zero3, fsdp2": 3 * share}


def table(rows: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(rows.values())))
    lines = ["| GB | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{n / 1e9:,.1f}" for n in row.values()) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_processes", type=int, default=8, help="GPUs (8)")
    number = parser.parse_args().num_processes
    print(f"Memory of each of {number} GPUs:\n\n{table({size.name: memory(size, number) for size in SIZES})}\n")
    print(f"Sent by each of {number} GPUs in a step:\n\n{table({size.name: sent(size, number) for size in SIZES})}")


if __name__ == "__main__":
    main()
