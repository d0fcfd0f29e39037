"""Memory of each GPU for weights, gradients and AdamW's state, and what it sends in a step: computed, as Markdown.

    python -m benchmarks.memory_estimate --num_processes 8

Counted as Rajbhandari et al. do (ZeRO, https://arxiv.org/abs/1910.02054, sections 3, 5 and 7), with this package's
numbers: weights, gradients and AdamW's two averages in fp32, 4 bytes each; bf16 is autocast and keeps no second copy.
DistributedDataParallel holds the gradients once more, in its buckets. Where weights are divided, one layer, the next
one, and the embeddings are whole for a moment. Activations come on top.
"""

import argparse
from dataclasses import dataclass

BYTES = 4


@dataclass(frozen=True)
class Size:
    """A model: all parameters, its layers, and the parameters that are in no layer (embeddings, output)."""

    name: str
    parameters: float
    layers: int
    outside: float


SIZES = (
    Size("SmolLM2-135M", 134.5e6, 30, 49152 * 576),
    Size("SmolLM2-360M", 361.8e6, 32, 49152 * 960),
    Size("SmolLM2-1.7B", 1711e6, 24, 49152 * 2048),
    Size("Llama-3.1-8B", 8030e6, 32, 2 * 128256 * 4096),
    Size("Llama-3.1-70B", 70554e6, 80, 2 * 128256 * 8192),
)


def memory(size: Size, num_processes: int) -> dict[str, float]:
    """Bytes on each GPU for each launch configuration."""
    all_of, part = size.parameters * BYTES, size.parameters * BYTES / num_processes
    whole = (size.outside + 2 * (size.parameters - size.outside) / size.layers) * BYTES
    return {
        "single_gpu": 4 * all_of,
        "multi_gpu": 5 * all_of,
        "deepspeed_zero2": all_of + 3 * part,
        "deepspeed_zero3, fsdp2": 4 * part + whole,
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
