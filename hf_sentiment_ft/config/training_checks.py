"""Refuse values of TrainingArguments that make no sense here, or that would fail only in training."""

import copy
import dataclasses
import json
import math
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError, several_processes
from .training_arguments import (
    DURING_BACKWARD,
    JSON_FIELDS,
    JSON_OR_FILE,
    METRICS,
    REFUSED,
    SCHEDULER_ARGUMENTS,
    USUAL,
)

if TYPE_CHECKING:
    from transformers import TrainingArguments

# Limits that TrainingArguments does not check: the flag, its smallest and its largest sensible value.
LIMITS: tuple[tuple[str, float, float], ...] = (
    ("per_device_train_batch_size", 1, math.inf),
    ("per_device_eval_batch_size", 1, math.inf),
    ("gradient_accumulation_steps", 1, math.inf),
    ("eval_accumulation_steps", 1, math.inf),
    ("learning_rate", 0, 1000),
    ("warmup_steps", 0, math.inf),
    ("weight_decay", 0, 1000),
    ("max_grad_norm", 0, math.inf),
    ("label_smoothing_factor", 0, 1),
    ("adam_epsilon", 0, 1),
    ("save_total_limit", 1, math.inf),
    ("eval_delay", 0, math.inf),
    ("dataloader_num_workers", 0, math.inf),
    ("dataloader_prefetch_factor", 1, math.inf),
    ("seed", 0, 2**32 - 1),
    ("data_seed", 0, 2**32 - 1),
    ("ddp_timeout", 1, math.inf),
    ("ddp_bucket_cap_mb", 1, math.inf),
    ("neftune_noise_alpha", 0, math.inf),
)
BELOW_1 = ("label_smoothing_factor", "adam_beta1", "adam_beta2")
# An empty one is often a variable of a shell that is not set; the default, such as other data, is not meant.
NEVER_EMPTY: tuple[str, ...] = ("output_dir", "resume_from_checkpoint", "model_name_or_path", "dataset_name")
NEVER_EMPTY += ("train_file", "validation_file", "test_file", "hub_model_id")
STEPS = ("logging_steps", "eval_steps", "save_steps")


def check_limits(args: "TrainingArguments") -> None:
    """Refuse values that make no sense, which TrainingArguments accepts.

    Raises:
        UsageError: If there is such a value; the message names the first one.
    """
    for name, least, greatest in LIMITS:
        value = getattr(args, name)
        if value is not None and not least <= value <= greatest:  # written like this, it refuses NaN as well
            expected = f"at least {least}" if greatest == math.inf else f"{least:g} to {greatest:.10g}"
            raise UsageError(f"--{name} is {value}; expected {expected}.")
    for name in BELOW_1:
        if not 0 <= getattr(args, name) < 1:
            raise UsageError(f"--{name} is {getattr(args, name)}; expected at least 0 and less than 1.")
    if args.max_steps == 0 or args.max_steps < -1:
        raise UsageError(f"--max_steps is {args.max_steps}; expected at least 1, or -1 to use --num_train_epochs.")
    if args.max_steps == -1 and not 0 < args.num_train_epochs < math.inf:
        raise UsageError(f"--num_train_epochs is {args.num_train_epochs}; expected more than 0.")


def check_fields(asked: Namespace, command: str) -> None:
    """Refuse fields that make no sense here, and JSON that is none, before TrainingArguments sees them.

    Args:
        asked: The values of all flags as parsed.
        command: Name of the module that was started.

    Raises:
        UsageError: If there is such a field; the message says what to do instead.
    """
    from transformers import TrainingArguments

    for one in dataclasses.fields(TrainingArguments):
        value = getattr(asked, one.name)
        if one.name in JSON_FIELDS + JSON_OR_FILE and isinstance(value, str):
            _check_json(one.name, value)
        if one.name not in REFUSED or value in (None, USUAL.get(one.name, one.default)):
            continue
        if command == "train" or not one.name.startswith("do_"):  # a recipe of training may be evaluated
            said = "given" if value is True else value
            raise UsageError(f"--{one.name} is {said}, but {REFUSED[one.name]}")
    for name in NEVER_EMPTY:
        value = getattr(asked, name, None)
        if isinstance(value, str) and not value.strip():
            raise UsageError(f"--{name} is empty. Pass a value, or remove the flag.")
    for name in STEPS:  # as they were given: some of them follow others, which would then be blamed
        steps = getattr(asked, name)
        if steps is not None and not (0 < steps < 1 or steps >= 1 and steps % 1 == 0):
            raise UsageError(f"--{name} is {steps}; expected a number of steps, or a share of all steps below 1.")
    trackers = asked.report_to if isinstance(asked.report_to, list) else []
    if len(trackers) > 1 and {"none", "all"} & set(trackers):
        raise UsageError(f"--report_to is {' '.join(trackers)}; expected none or all alone, or names of trackers.")
    if asked.ddp_backend and not several_processes():
        raise UsageError(
            f"--ddp_backend is {asked.ddp_backend}, but only one process was started. Remove it, or start several "
            "processes."
        )
    metric = str(asked.metric_for_best_model).removeprefix("eval_")
    if metric not in METRICS:
        raise UsageError(f"--metric_for_best_model is {metric!r}; expected one of {', '.join(METRICS)}.")
    if asked.greater_is_better not in (None, METRICS[metric]):
        raise UsageError(
            f"--greater_is_better is {asked.greater_is_better}, which would keep the worst checkpoint by {metric}. "
            "Remove it."
        )


def _check_json(name: str, value: str) -> None:
    if name in JSON_OR_FILE and not value.startswith("{"):
        if not Path(value).is_file():
            raise UsageError(f"--{name} is {value}, which is not a file; expected a JSON file or a JSON object.")
        return
    try:
        found = json.loads(value)
    except ValueError as error:
        raise UsageError(f"--{name} is {value}, which is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UsageError(f"--{name} is {value}; expected a JSON object, such as '{{\"name\": 1}}'.")


def try_out(args: "TrainingArguments", command: str) -> None:
    """Try trackers, data loading, the optimizer, the schedule and compilation on next to nothing, before the run.

    Args:
        args: The training arguments.
        command: Name of the module that was started; only `train` has an optimizer and what goes with it.

    Raises:
        UsageError: If one of them does not work, for example because a package is not installed.
    """
    import torch
    from torch.utils.checkpoint import checkpoint
    from torch.utils.data import DataLoader
    from transformers.integrations import get_reporting_integration_callbacks

    space = os.environ.get("TRACKIO_SPACE_ID")
    if "trackio" in args.report_to and space and not args.trackio_space_id:
        raise UsageError(
            f"TRACKIO_SPACE_ID is set to {space}, where trackio would publish this run. Pass --trackio_space_id "
            f"{space} if that is intended; otherwise unset the variable."
        )
    for tracker in args.report_to:
        with _refused(f"--report_to {tracker}", "Correct it, or remove it."):
            for callback in get_reporting_integration_callbacks([tracker]):
                callback()
    loading = {
        "num_workers": args.dataloader_num_workers,
        "persistent_workers": args.dataloader_persistent_workers,
        "prefetch_factor": args.dataloader_prefetch_factor,
        "multiprocessing_context": args.dataloader_multiprocessing_context,
    }
    given = ", ".join(f"--dataloader_{name} {value}" for name, value in loading.items() if value)
    with _refused(given, "Set --dataloader_num_workers to at least 1, or remove the other flags."):
        DataLoader([0], **loading)  # type: ignore[arg-type]
    if command != "train":
        return
    if args.torch_compile:
        compilation = {"backend": args.torch_compile_backend, "mode": args.torch_compile_mode}
        given = "".join(f" --torch_compile_{name} {value}" for name, value in compilation.items() if value)
        cure = "Use --torch_compile true alone, with a C++ compiler such as g++ installed; or do not compile."
        with _refused(f"--torch_compile true{given}", cure):
            torch.compile(torch.nn.ReLU(), **compilation)(torch.ones(2, device=args.device))
    if args.gradient_checkpointing and args.gradient_checkpointing_kwargs:
        with _refused("--gradient_checkpointing_kwargs", "Correct it, or remove it."):
            keywords = {"use_reentrant": False} | args.gradient_checkpointing_kwargs
            checkpoint(torch.nn.Identity(), torch.ones(1, requires_grad=True), **keywords)
    _try_optimizer(args)


def _try_optimizer(args: "TrainingArguments") -> None:
    import torch
    from transformers import Trainer, get_scheduler

    name = args.optim.value
    if any(part in name for part in DURING_BACKWARD):
        raise UsageError(
            f"--optim is {name}, which changes the weights during each backward pass, but a step here may have "
            "several. Use another optimizer, such as adafactor."
        )
    tried = copy.copy(args)
    tried.optim_target_modules = args.optim_target_modules and "all-linear"
    model = torch.nn.Sequential(torch.nn.Linear(64, 128)).to(args.device)  # 8-bit optimizers leave out fewer weights
    given = f" with --optim_args {args.optim_args}" if args.optim_args else ""
    with _refused(f"--optim {name}{given}", "Correct it, or remove it; the default is adamw_torch_fused."):
        kind, keywords = Trainer.get_optimizer_cls_and_kwargs(tried, model)
        optimizer = kind(keywords.pop("params", None) or model.parameters(), **keywords)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    scheduler_type = args.lr_scheduler_type.value
    example = SCHEDULER_ARGUMENTS.get(scheduler_type)
    cure = (
        f"Its arguments are given like this: --lr_scheduler_kwargs '{example}'."
        if example
        else "Correct it, or remove it."
    )
    given = f" with --lr_scheduler_kwargs {json.dumps(args.lr_scheduler_kwargs)}" if args.lr_scheduler_kwargs else ""
    with _refused(f"--lr_scheduler_type {scheduler_type}{given}", cure):
        scheduler = get_scheduler(
            scheduler_type,
            optimizer=torch.optim.SGD(model.parameters(), lr=args.learning_rate),
            num_warmup_steps=1,
            num_training_steps=1000,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )
        if scheduler_type not in ("reduce_lr_on_plateau", "greedy"):  # their steps need a metric
            scheduler.optimizer.step()
            scheduler.step()


@contextmanager
def _refused(what: str, cure: str) -> Iterator[None]:
    """Refuse flags that a library does not accept, with all that it says about them."""
    try:
        yield
    except (ImportError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        raise UsageError(f"{what} cannot be used here: {str(error).strip().removesuffix('.')}. {cure}") from error
