"""Describe what a run's weights depend on, so that a change is noticed before the run is resumed."""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..label_words.task import LabelWordTask
from .checkpoints import CONTENTS

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, TrainingArguments

    from ..config.arguments import Arguments

logger = logging.getLogger(__name__)

# Model arguments that do not affect what is learned, or that the description covers in another form.
NOT_LEARNT = {
    "model_name_or_path", "model_revision", "trust_remote_code", "zero_shot_baseline", "label_words", "ordered_labels",
    "constrain_generation", "calibration", "temperature_scaling",
}  # fmt: skip
TRAINING_ARGUMENTS = (
    "learning_rate", "num_train_epochs", "max_steps", "warmup_steps", "lr_scheduler_type", "lr_scheduler_kwargs",
    "optim", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "label_smoothing_factor", "neftune_noise_alpha", "train_sampling_strategy", "dataloader_drop_last", "seed",
    "data_seed",
)  # fmt: skip


def describe_run(
    task: LabelWordTask, args: "TrainingArguments", precision: str, model: "PreTrainedModel"
) -> dict[str, Any]:
    """Describe everything that the final weights depend on: names, numbers and digests, no paths.

    The number of processes may change as long as the number of rows per step stays the same.

    Args:
        task: Prompt, label words and rows. Rows are described by a digest of their texts and labels, wherever they are
            stored.
        args: Training arguments, for the schedule.
        precision: Precision chosen for this machine, `fp32`, `bf16` or `fp16`.
        model: Base model as loaded.
    """
    data, verbalizer = task.data, task.verbalizer
    run: dict[str, Any] = {"base model": _digest_weights(model)}
    run |= {f"{split} rows": _digest_rows(rows) for split, rows in data.splits.items() if "test" not in split}
    if data.stream:  # apart from its first rows, all that is known of it without reading it
        run |= {"train stream": data.stream.source, "shuffle_buffer_size": data.stream.buffer_size}
    run |= {"questions": vars(task.questions) if task.questions else None}
    run |= {"labels": verbalizer.labels, "label_words": verbalizer.words, "class weights": data.class_weights}
    run |= {name: value for name, value in dataclasses.asdict(task.args).items() if name not in NOT_LEARNT}
    run["precision"] = precision
    run["rows of a step"] = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return run | {name: getattr(args, name) for name in TRAINING_ARGUMENTS}


def _digest_rows(rows: "Dataset") -> str:
    digest = hashlib.sha256()
    for batch in rows.iter(batch_size=1000):
        for text, label in zip(
            batch["text"], batch.get("shares") or batch.get("label") or batch["answers"], strict=True
        ):
            digest.update(f"{label}\t{text}\n".encode())
    return f"{len(rows)} ({digest.hexdigest()[:12]})"


def _digest_weights(model: "PreTrainedModel") -> str:
    """Return a digest of a few values of every parameter: no two models share them all."""
    import torch

    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        # ZeRO-3 leaves a parameter empty and keeps this process's shard in `ds_tensor`; rank 0 holds the first values.
        shape, values = getattr(parameter, "ds_shape", parameter.shape), getattr(parameter, "ds_tensor", parameter)
        digest.update(f"{name} {tuple(shape)}".encode())
        if not parameter.is_meta:
            digest.update(values.detach().flatten()[:8].to("cpu", torch.float32).numpy().tobytes())
    return f"{model.config.model_type} ({digest.hexdigest()[:12]})"


def refuse_changes(checkpoint: str, run: dict[str, Any]) -> None:
    """Check that a run is resumed with the same settings it was started with.

    Args:
        checkpoint: Folder to resume from.
        run: Return value of `describe_run` for the current run.

    Raises:
        UsageError: If the data, the label words, the prompt, the base model, or an argument that affects the weights
            has changed.
    """
    path = Path(checkpoint) / CONTENTS
    if not path.is_file():
        logger.warning(
            "%s has no %s, so there is no check whether data or arguments have changed since.", checkpoint, CONTENTS
        )
        return
    before = json.loads(path.read_text(encoding="utf-8"))["run"]
    now = json.loads(json.dumps(run))
    changes = [
        f"  {name}: {before[name]} → {now[name]}" for name in before if name in now and before[name] != now[name]
    ]
    if changes:
        listed = "\n".join(changes)
        raise UsageError(
            f"{checkpoint} belongs to a different run. These settings have changed:\n{listed}\n"
            "Resume with the original settings, or start a new run in another --output_dir. To start it from a trained "
            "model, pass that model as --model_name_or_path."
        )


def settings_of(flags: "Arguments") -> dict[str, Any]:
    """Return what the weights depend on of the flags, in the form of JSON, for several trainings that belong together.

    Unlike `describe_run`, this needs neither the rows nor the model.
    """
    settings = {**dataclasses.asdict(flags.model), **dataclasses.asdict(flags.data)}
    names = (*TRAINING_ARGUMENTS, "per_device_train_batch_size", "gradient_accumulation_steps")
    settings |= {name: getattr(flags.training, name) for name in names}
    return dict(json.loads(json.dumps(settings)))


def refuse_other_settings(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that trainings that belong together are resumed with the settings they were begun with.

    Args:
        folder: Output folder of all of them.
        before: Settings when they were begun.
        now: Current settings.

    Raises:
        UsageError: If a setting has changed.
    """
    changes = [f"  {name}: {before.get(name)} → {now[name]}" for name in now if before.get(name) != now[name]]
    if changes:
        listed = "\n".join(changes)
        raise UsageError(
            f"{folder} was begun with other settings:\n{listed}\nResume with the original settings, or start a "
            "new run in another --output_dir."
        )
