"""Load the model and set up its training."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..label_words.tokenization import tokenize_stream
from ..model.lora import add_adapter
from ..runtime.device import choose_precision
from ..runtime.distributed import on_first_process
from .checkpoints import RecoverBestCheckpoint
from .fingerprint import describe_run, refuse_changes
from .plan import log_summary
from .trackers import keep_trackers_open
from .trainer import LabelWordTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainerCallback, TrainingArguments

    from ..config.arguments import Arguments
    from ..label_words.task import LabelWordTask
    from ..label_words.verbalizer import Verbalizer


def build_trainer(
    flags: "Arguments",
    task: "LabelWordTask",
    tokenized: "dict[str, Dataset]",
    checkpoint: str | None,
    compute_metrics: Callable[..., dict[str, float]],
    callbacks: Sequence["TrainerCallback"] = (),
) -> LabelWordTrainer:
    """Load the model and set up its training.

    Args:
        flags: Command-line arguments.
        task: Prompt, label words and rows.
        tokenized: Tokenized splits by name.
        checkpoint: Folder to resume from; None to start from the beginning.
        compute_metrics: Function that Trainer calls, with the additional arguments `verbalizer`, `constrained` and
            `questions`.
        callbacks: Callbacks that are called after those of this package.

    Raises:
        UsageError: If the model cannot be loaded, or the checkpoint belongs to a different run.
    """
    from transformers import set_seed

    args, constrained = flags.training, flags.model.constrain_generation
    _check_metric(args, task.verbalizer, constrained, soft="shares" in tokenized["train"].column_names)
    precision = choose_precision(flags.model.precision, args.device)
    set_seed(args.seed)  # for new embeddings, LoRA's matrices, and dropout
    model = task.load_model(args, precision, max(tokenized["train"]["length"][:]))
    run = describe_run(task, args, precision, model)
    if checkpoint:
        on_first_process(args, "comparing with the checkpoint", lambda: refuse_changes(checkpoint, run))
    log_summary(flags, task, tokenized, model)
    trainer = LabelWordTrainer(
        run=run,
        verbalizer=task.verbalizer,
        precision=precision,
        class_weights=task.data.class_weights,
        constrained=constrained,
        questions=task.questions,
        max_tokens=flags.run.max_tokens_per_microbatch or 0,
        compute_metrics=partial(
            compute_metrics, verbalizer=task.verbalizer, constrained=constrained, questions=task.questions
        ),
        model=add_adapter(model, flags.model),
        args=args,
        train_dataset=tokenize_stream(task, args) if task.data.stream else tokenized["train"],
        eval_dataset=tokenized["validation"],
        processing_class=task.tokenizer,
    )
    keep_trackers_open(trainer)
    if checkpoint:
        trainer.add_callback(RecoverBestCheckpoint(checkpoint))
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def _check_metric(args: "TrainingArguments", verbalizer: "Verbalizer", constrained: bool, soft: bool) -> None:
    """Refuse to choose the best checkpoint by a metric that this run does not compute."""
    metric = str(args.metric_for_best_model).removeprefix("eval_")
    if metric == "mean_absolute_error" and not verbalizer.numbers:
        shown = ", ".join(verbalizer.labels[:10])
        raise UsageError(
            f"--metric_for_best_model is {metric}, but the labels are not numbers: {shown}. Use log_loss or accuracy, "
            "or name their order with --ordered_labels."
        )
    if metric == "soft_log_loss" and not soft:
        raise UsageError(f"--metric_for_best_model is {metric}, but each row has a single label. Use log_loss.")
    if metric == "unconstrained_generation_accuracy" and not constrained:
        raise UsageError(
            f"--metric_for_best_model is {metric}, but --constrain_generation is false, so it is the same as "
            "generation_accuracy. Use that."
        )
