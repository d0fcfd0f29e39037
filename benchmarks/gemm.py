"""How fast this device multiplies the model's matrices: the limit that a training step cannot pass.

Every shape of the model's linear layers, forward and both products of backward, for as many tokens as a batch has.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

from .clock import finish, wait_for_gpu


def flops_per_second(shapes: Counter, tokens: int, precision: str, seconds: float) -> float:
    """Multiplications and additions per second, each shape weighted by how often the model has it."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    work = spent = 0.0
    for (wide, deep), count in shapes.items():
        x, w, g = (
            torch.randn(*size, device=device).to(dtype) for size in ((tokens, deep), (wide, deep), (tokens, wide))
        )
        products = (lambda x=x, w=w: x @ w.T, lambda g=g, w=w: g @ w, lambda g=g, x=x: g.T @ x)
        for product in products:
            product()
            wait_for_gpu()
            best, until = float("inf"), time.perf_counter() + seconds / len(shapes) / 3
            while time.perf_counter() < until:
                start = time.perf_counter()
                product()
                wait_for_gpu()
                best = min(best, time.perf_counter() - start)
            work += count * 2 * tokens * wide * deep
            spent += count * best
    return work / spent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gemm", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=216, help="tokens of a batch")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--seconds", type=float, default=6, help="time to spend")
    args = parser.parse_args()

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(args.model))
    head = model.get_output_embeddings()  # at one position of a row only
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    shapes = Counter(tuple(module.weight.shape) for module in linear)
    finish(
        gflops=flops_per_second(shapes, args.tokens, args.precision, args.seconds) / 1e9,
        square_gflops=flops_per_second(Counter({(2048, 2048): 1}), 2048, args.precision, args.seconds / 3) / 1e9,
        weights=sum(wide * deep * count for (wide, deep), count in shapes.items()),
    )


if __name__ == "__main__":
    main()
