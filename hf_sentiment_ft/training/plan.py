"""Describe what a run would do, for `--dry_run`, and give advice if it would learn too little."""

import logging
import math
import time
from typing import TYPE_CHECKING

from ..label_words.tokenization import description_cost
from ..runtime.device import choose_precision
from ..runtime.distributed import without_weights

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, TrainingArguments

    from ..config.arguments import Arguments, ModelArguments
    from ..label_words.prompt import Prompt
    from ..label_words.task import LabelWordTask

logger = logging.getLogger(__name__)

LIBRARIES = 0.5  # GB of memory used by torch and transformers
SHOWN_LABELS = 5
FEW_STEPS = 50  # on 128 rows of rotten_tomatoes, SmolLM2-135M reached 78 % after 8 steps and 83 % after 24


def num_steps(args: "TrainingArguments", num_rows: int) -> int:
    """Return the number of optimizer steps of a run on `num_rows` train rows."""
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * math.ceil(num_rows / batch))


def warn_of_shortcomings(args: "TrainingArguments", num_rows: int, task: "LabelWordTask") -> None:
    """Warn if the run would learn little, or its model would not be a decision model, and say what would help.

    Args:
        args: Training arguments, for the number of steps.
        num_rows: Number of train rows.
        task: Prompt and label words.
    """
    warn_if_little_is_learned(args, num_rows, task.prompt)
    task.warn_if_no_decision_model()


def warn_if_little_is_learned(args: "TrainingArguments", num_rows: int, prompt: "Prompt") -> None:
    """Warn if the run has few steps, or nothing comes before the text, and say what would help the model learn more.

    Args:
        args: Training arguments, for the number of steps.
        num_rows: Number of train rows.
        prompt: Prompt, to check whether anything comes before the text.
    """
    steps = num_steps(args, num_rows)
    if args.max_steps <= 0 and args.num_train_epochs <= 1 and steps < FEW_STEPS:
        logger.warning(
            "Training on %d rows takes only %d steps. Use --num_train_epochs 3, which often learns more from so few "
            "rows, with --label_smoothing_factor 0.1 to avoid overconfident probabilities.",
            num_rows,
            steps,
        )
    if not prompt.beginning_ids:
        logger.warning(
            "The prompt begins with the text itself. A model often learns more if something comes before the text, "
            r"even just a line break: begin --prompt_template with \n."
        )


def num_parameters(config: "PretrainedConfig", trust_remote_code: bool) -> int:
    """Return the number of parameters of a causal language model with this config, without allocating them."""
    from transformers import AutoModelForCausalLM

    with without_weights():
        return int(AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code).num_parameters())


def flops_per_second(precision: str) -> float:
    """Measure the floating-point operations per second of this device on a matrix product."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    left = torch.ones(1024, 1024, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    torch.mm(left, left).sum().item()
    start = time.perf_counter()
    for _ in range(3):
        torch.mm(left, left)
    torch.mm(left, left).sum().item()
    return 4 * 2 * 1024**3 / (time.perf_counter() - start)


def log_summary(
    flags: "Arguments", task: "LabelWordTask", tokenized: "dict[str, Dataset]", model: "PreTrainedModel"
) -> None:
    """Log in a few short lines what is about to be trained on what.

    Args:
        flags: Command-line arguments.
        task: Rows, prompt and label words.
        tokenized: Tokenized splits by name.
        model: Model to train.
    """
    args, verbalizer = flags.training, task.verbalizer
    rows = [f"{len(dataset):,} {split}" for split, dataset in task.data.splits.items()]
    logger.info("Model: %s, %s parameters", flags.model.model_name_or_path, f"{model.num_parameters():,}")
    logger.info("Data: %s; %s rows", flags.data.name, ", ".join(rows))
    words = [f"{label} {word!r}" for label, word in zip(verbalizer.labels, verbalizer.words, strict=True)]
    logger.info("Labels and their words: %s", listed(words))
    question = ""
    if task.questions:
        names = task.questions.names
        logger.info("Questions: %s, each about every text", listed(names))
        question = f"{task.questions.between}{{label}}"
    logger.info("Prompt: %r", f"{task.prompt.beginning}{{text}}{question}{task.prompt.ending}")
    if cost := description_cost(task):
        logger.info("Label descriptions: %s", cost)
    if args.process_index > 0:  # it would measure the others' work, too
        return
    steps, batch, tokens = _amount(args, tokenized["train"])
    precision = choose_precision(flags.model.precision, args.device, log=False)
    seconds = training_seconds(model.num_parameters(), tokens, flops_per_second(precision), flags.model)
    logger.info(
        "Training: %s steps of %d rows on %s in %s; about %s, and the evaluations",
        f"{steps:,}",
        batch,
        args.device,
        precision,
        duration(seconds) if seconds >= 1 else "a second",
    )


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f", and {len(names) - SHOWN_LABELS} more" if len(names) > SHOWN_LABELS else ""
    return ", ".join(names[:SHOWN_LABELS]) + more


def _amount(args: "TrainingArguments", train: "Dataset") -> tuple[int, int, float]:
    """Return the number of steps, the rows of each, and about how many tokens one process reads."""
    lengths = train["length"][:]
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = num_steps(args, len(lengths))
    return steps, batch, steps * batch * sum(lengths) / len(lengths) / args.world_size


def print_plan(
    flags: "Arguments", task: "LabelWordTask", tokenized: "dict[str, Dataset]", publication: list[str]
) -> None:
    """Print data, label words, prompts, steps, estimates and publication on the first process.

    Args:
        flags: Command-line arguments.
        task: Rows, prompt and label words.
        tokenized: Tokenized splits by name.
        publication: Lines that describe what would be published where.
    """
    args = flags.training
    precision = choose_precision(flags.model.precision, args.device)
    if args.process_index > 0:
        return
    data, verbalizer = task.data, task.verbalizer
    lines = ["data"]
    lines += [f"  {split}: {len(dataset)} rows" for split, dataset in data.splits.items()]
    lines += [f"  train is streamed from {data.stream.source}; these are its first rows"] if data.stream else []
    lines += [f"  {note}" for note in data.notes]
    lines.append("label words")
    for label, word, ids in zip(verbalizer.labels, verbalizer.words, verbalizer.token_ids, strict=True):
        lines.append(f"  {label}: {word!r}, tokens {ids}")
    lines.append("prompts as the model reads them, and the label words that it learns to generate")
    for row in range(min(3, len(tokenized["train"]))):
        example = data.splits["train"][row]
        texts, answers = [example["text"]], example.get("answers") or [example["label"]]
        if task.questions:
            texts = task.questions.ask(texts)
        for text, answer in list(zip(texts, answers, strict=True))[:SHOWN_LABELS]:
            lines.append(f"  {task.tokenizer.decode(task.tokenizer(text).input_ids)!r} → {verbalizer.words[answer]!r}")
    if cost := description_cost(task):
        lines.append(f"  label descriptions: {cost}")
    lengths = tokenized["train"]["length"][:]
    steps, batch, tokens = _amount(args, tokenized["train"])
    lines.append(f"training, with each of {flags.run.num_seeds} seeds" if flags.run.num_seeds > 1 else "training")
    lines.append(
        f"  {steps} steps of {batch} rows, {sum(lengths) / len(lengths):.0f} tokens per row on average, {precision}"
    )
    parameters = num_parameters(task.config, task.args.trust_remote_code)
    lines.append(f"  {estimate(parameters, tokens, flops_per_second(precision), task.args)}")
    print(*lines, "publication", *(f"  {line}" for line in publication), sep="\n")


def estimate(parameters: int, tokens: float, flops: float, args: "ModelArguments") -> str:
    """Describe roughly how long training takes and how much memory it needs.

    The memory is that of the weights, the gradients and AdamW's two moments in fp32. LoRA needs only the memory of the
    weights.

    Args:
        parameters: Number of parameters of the model.
        tokens: Number of tokens that one process reads.
        flops: Floating-point operations per second.
        args: Model arguments, for whether LoRA is used, and 4-bit weights.
    """
    size = (0.5 if args.load_in_4bit else 4) if args.use_peft else 16
    seconds = training_seconds(parameters, tokens, flops, args)
    time = duration(seconds) if seconds >= 1 else "a second"
    memory = size * parameters / 1e9 + LIBRARIES
    return f"about {time} and {memory:.1f} GB of memory ({LIBRARIES} GB for the libraries; {parameters:,} parameters)"


def training_seconds(parameters: int, tokens: float, flops: float, args: "ModelArguments") -> float:
    """Estimate the time of training: 6 × parameters × tokens at half the speed of a matrix product.

    That is forward and backward (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361). LoRA needs no gradients of the
    base weights, so it takes 4 × parameters × tokens.

    Args:
        parameters: Number of parameters of the model.
        tokens: Number of tokens that one process reads.
        flops: Floating-point operations per second.
        args: Model arguments, for whether LoRA is used.
    """
    return (4 if args.use_peft else 6) * parameters * tokens / (flops / 2)


def duration(seconds: float) -> str:
    """Format seconds for people, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s") if hours or minutes else f"{rest} s"
