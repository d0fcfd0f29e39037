"""What a run would do: all of it for `--dry_run`, and advice where it would learn too little."""

import logging
import math
import time
from typing import TYPE_CHECKING

from ..runtime.distributed import without_weights

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, TrainingArguments

    from ..config.arguments import ModelArguments
    from ..label_words.prompt import Prompt
    from ..label_words.task import LabelWordTask

logger = logging.getLogger(__name__)

LIBRARIES = 0.5  # GB that torch and transformers take
FEW_STEPS = 50  # on 128 rows of rotten_tomatoes, SmolLM2-135M came to 78 % in 8 steps, to 83 % in 24


def num_steps(args: "TrainingArguments", num_rows: int) -> int:
    """Optimizer steps of a run on so many train rows."""
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * math.ceil(num_rows / batch))


def advise(args: "TrainingArguments", num_rows: int, prompt: "Prompt") -> None:
    """Log what would teach the model more: several passes over few rows, and something to read before the text."""
    steps = num_steps(args, num_rows)
    if args.max_steps <= 0 and args.num_train_epochs <= 1 and steps < FEW_STEPS:
        logger.warning(
            "%d rows are %d steps only: --num_train_epochs 3 often learns more from so few, and with "
            "--label_smoothing_factor 0.1 its probabilities stay modest.",
            num_rows,
            steps,
        )
    if not prompt.beginning_ids:
        logger.warning(
            "The prompt begins with the text itself; with something before it, if only a line break, a model often "
            r"learns more: begin --prompt_template with \n."
        )


def num_parameters(config: "PretrainedConfig", trust_remote_code: bool) -> int:
    """How many parameters a causal language model of this configuration has, without making it."""
    from transformers import AutoModelForCausalLM

    with without_weights():
        return int(AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code).num_parameters())


def flops_per_second(precision: str) -> float:
    """What this device multiplies in a second, measured on one matrix product."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    left = torch.ones(1024, 1024, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    torch.mm(left, left).sum().item()
    start = time.perf_counter()
    for _ in range(3):
        torch.mm(left, left)
    torch.mm(left, left).sum().item()
    return 4 * 2 * 1024**3 / (time.perf_counter() - start)


def describe_plan(
    args: "TrainingArguments", task: "LabelWordTask", tokenized: "dict[str, Dataset]", precision: str
) -> str:
    """Data, label words, prompts, steps and estimates, in lines."""
    data, verbalizer = task.data, task.verbalizer
    lines = ["data"]
    lines += [f"  {split}: {len(dataset)} rows" for split, dataset in data.splits.items()]
    lines += [f"  train is streamed from {data.stream.source}; these are its first rows"] if data.stream else []
    lines += [f"  {note}" for note in data.notes]
    lines.append("label words")
    for label, word, ids in zip(verbalizer.labels, verbalizer.words, verbalizer.token_ids, strict=True):
        lines.append(f"  {label}: {word!r}, tokens {ids}")
    lines.append("prompts as the model reads them, and the word that it learns")
    for row in range(min(3, len(tokenized["train"]))):
        prompt = task.tokenizer.decode(task.tokenizer(data.splits["train"][row]["text"]).input_ids)
        lines.append(f"  {prompt!r} → {verbalizer.words[data.splits['train'][row]['label']]!r}")
    lengths = tokenized["train"]["length"][:]
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = num_steps(args, len(lengths))
    lines.append("training")
    lines.append(
        f"  {steps} steps of {batch} rows, {sum(lengths) / len(lengths):.0f} tokens a row on average, {precision}"
    )
    tokens = steps * batch * sum(lengths) / len(lengths) / args.world_size
    parameters = num_parameters(task.config, task.args.trust_remote_code)
    lines.append(f"  {estimate(parameters, tokens, flops_per_second(precision), task.args)}")
    return "\n".join(lines)


def estimate(parameters: int, tokens: float, flops: float, args: "ModelArguments") -> str:
    """How long training takes and how much memory, roughly, in words.

    Time is 6 × parameters × tokens (forward and backward; Kaplan et al. 2020, https://arxiv.org/abs/2001.08361) at half
    the speed of a matrix product; memory is weights, gradients and the two moments of AdamW in fp32. LoRA spares the
    gradients of the weights, so it takes 4 × and the weights alone.

    Args:
        parameters: Of the model.
        tokens: That a process reads.
        flops: Operations in a second.
        args: Whether it is LoRA, and on 4-bit weights.
    """
    operations, size = (4, 0.5 if args.load_in_4bit else 4) if args.use_peft else (6, 16)
    seconds = operations * parameters * tokens / (flops / 2)
    time = duration(seconds) if seconds >= 1 else "a second"
    memory = size * parameters / 1e9 + LIBRARIES
    return f"about {time} and {memory:.1f} GB, {LIBRARIES} of them the libraries ({parameters:,} parameters)"


def duration(seconds: float) -> str:
    """Seconds in words, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s") if hours or minutes else f"{rest} s"
