"""A Trainer that learns and scores only the label word at the decision position."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

from ..data.sampling import IGNORED
from ..errors import RunError
from ..label_words.scoring import score_label_words
from ..label_words.tokenization import tokenize_stream
from ..label_words.verbalizer import Verbalizer
from ..model.inputs import check_attention, forward_arguments, left_pad, model_inputs
from ..model.lora import add_adapter
from ..runtime.distributed import on_first_process
from .checkpoints import RecoverBestCheckpoint
from .fingerprint import describe_run, refuse_changes
from .loss import label_targets, label_word_loss
from .resumable import ResumableTrainer, diverged

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor, nn
    from transformers import EvalPrediction
    from transformers.trainer_utils import EvalLoopOutput

    from ..config.arguments import Arguments
    from ..label_words.task import LabelWordTask


@dataclass(frozen=True)
class LabelWordCollator:
    """Pad prompts on the left, so that the decision position is the last one of every row.

    Attributes:
        pad_token_id: Token id used for padding; the attention mask hides it.
        accepted: Arguments that the model's forward accepts.
    """

    pad_token_id: int
    accepted: set[str]

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows to a batch: `input_ids` and `attention_mask` (batch, seq), `labels` (batch, label tokens)."""
        labels = left_pad([row["labels"] for row in rows], IGNORED)
        input_ids = left_pad([row["input_ids"] for row in rows], self.pad_token_id)
        mask = left_pad([[1] * len(row["input_ids"]) for row in rows], 0)
        return model_inputs(input_ids, mask, labels.size(1), self.accepted) | {"labels": labels}


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


class LabelWordTrainer(ResumableTrainer):
    """Trainer that computes the loss on the label word's tokens only, and returns predictions of shape (rows, labels).

    Everything else is Trainer's: schedules, gradient accumulation, callbacks, checkpoints, distributed engines.
    """

    def __init__(
        self,
        *,
        verbalizer: Verbalizer,
        precision: str,
        class_weights: list[float] | None = None,
        constrained: bool = False,
        max_tokens: int = 0,
        **kwargs: Any,
    ) -> None:
        """Set up training on label words.

        Args:
            verbalizer: Label words.
            precision: `bf16` trains under autocast. Evaluation never uses autocast: it runs in the precision in which
                the model is saved, since that is what a user's `pipeline` computes in.
            class_weights: Factor for the training loss of each class; None for 1.
            constrained: Whether `pipeline` can only generate label words (see `label_words_only`).
            max_tokens: Maximum number of tokens of one forward and backward pass; 0 for whole batches (see
                `split_batch`).
            **kwargs: Arguments of ResumableTrainer and Trainer.
        """
        self.verbalizer = verbalizer
        self.precision = precision
        self.targets = label_targets(verbalizer.token_ids, kwargs["args"].label_smoothing_factor, class_weights)
        self.constrained = constrained
        self.max_tokens = max_tokens
        self.accepted = forward_arguments(kwargs["model"])
        collator = LabelWordCollator(kwargs["processing_class"].pad_token_id, self.accepted)
        kwargs["args"].dataloader_pin_memory &= torch.cuda.is_available()  # without CUDA, it only causes a warning
        if kwargs["args"].ddp_find_unused_parameters is None:
            # Only a mixture of experts leaves weights out of a step; looking for them costs a walk through the graph.
            experts = any("expert" in name for name in kwargs["model"].config.to_dict())
            kwargs["args"].ddp_find_unused_parameters = experts
        if kwargs["args"].deepspeed_plugin is not None:
            set_up_deepspeed(kwargs["args"].deepspeed_plugin.deepspeed_config, precision)
        self._compute_metrics = kwargs.pop("compute_metrics", None)
        compute_metrics = self._compute_metrics_of_numbers if self._compute_metrics else None
        super().__init__(
            data_collator=collator, compute_loss_func=self._loss, compute_metrics=compute_metrics, **kwargs
        )
        # Trainer counts label tokens from the second position on, since causal models shift labels; ours are already
        # aligned with the logits that predict them.
        self._loss_shifts_labels = False
        if self.place_model_on_device:  # an engine that shards the model moves it when training begins
            training = torch.autocast(self.args.device.type, torch.bfloat16, enabled=precision == "bf16")
            check_attention(self.model, self.processing_class, training if self.train_dataset is not None else None)

    def training_step(
        self, model: "nn.Module", inputs: dict[str, Any], num_items_in_batch: "Tensor | int | None" = None
    ) -> "Tensor":
        """Run Trainer's training step on parts of a batch that has many tokens.

        Processes exchange gradients only after the last part.

        Args:
            model: Model, as wrapped for training.
            inputs: Batch from the collator.
            num_items_in_batch: Number of label tokens in the global batch, over all processes and accumulation steps.

        Returns:
            The loss, a scalar.

        Raises:
            RunError: If there are several processes, but each would train on its own.
        """
        if self.args.world_size > 1 and not self._exchanges_gradients(model):
            raise RunError(
                f"{self.args.world_size} processes were started, but each would train its own copy of the model "
                f"({type(model).__name__}). Use one process, and please report this: it is a bug in hf_sentiment_ft or "
                "in the installed versions of transformers and accelerate."
            )
        *parts, last = split_batch(inputs, self.max_tokens)
        losses = []
        for part in parts:
            with self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        return sum(losses, super().training_step(model, last, num_items_in_batch))

    def _exchanges_gradients(self, model: "nn.Module") -> bool:
        model = getattr(model, "_orig_mod", model)  # wrapper added by torch.compile
        wrappers = (DistributedDataParallel, FullyShardedDataParallel, FSDPModule)
        return isinstance(model, wrappers) or model is getattr(self, "deepspeed", None)

    def _loss(self, outputs: Any, labels: "Tensor", num_items_in_batch: "Tensor | int | None" = None) -> "Tensor":
        self.targets = self.targets.to(labels.device)
        return label_word_loss(outputs, labels, self.targets, num_items_in_batch)

    def _compute_metrics_of_numbers(self, output: "EvalPrediction") -> dict[str, float]:
        self._check_scores(output.predictions[0])
        return self._compute_metrics(output)

    def _check_scores(self, scores: "np.ndarray[Any, Any]") -> None:
        if np.isnan(scores).any() and self.state.global_step:
            raise diverged("the model's scores are NaN")
        if np.isnan(scores).any():
            raise RunError(
                "the model's scores are NaN even before training. Try --attn_implementation eager, or --dtype float32 "
                "if it is float16."
            )

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> "EvalLoopOutput":
        """Run Trainer's evaluation loop, but average the loss over label tokens; Trainer overweights the last batch."""
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if output.predictions is None:  # --prediction_loss_only
            return output
        scores, label_ids = output.predictions[0], np.asarray(output.label_ids)[:, 0]
        self._check_scores(scores)
        num_tokens = np.array([len(ids) for ids in self.verbalizer.token_ids])
        gold = np.take_along_axis(scores, label_ids[:, None], axis=1)
        output.metrics[f"{metric_key_prefix}_loss"] = float(-gold.sum() / num_tokens[label_ids].sum())
        return output

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Evaluate the longest rows first: less padding, and out-of-memory errors show in the first batch."""
        lengths = [len(ids) for ids in eval_dataset["input_ids"]]
        return sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Extend Trainer's preparation of a batch to restore `logits_to_keep`.

        It is not a tensor, so it is missing from batches that were dispatched to several processes.
        """
        inputs = super()._prepare_inputs(inputs)
        return inputs | ({"logits_to_keep": inputs["labels"].size(1)} if "logits_to_keep" in self.accepted else {})

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        """Return autocast for bf16 training (see `__init__`), except with DeepSpeed, which has its own."""
        enabled = self.precision == "bf16" and self.model.training and not self.is_deepspeed_enabled
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=enabled)

    def prediction_step(
        self,
        model: "nn.Module",
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        """Score the label words of one batch.

        Returns:
            A tuple of three: the loss; the scores of the labels, the tokens that `pipeline` generates, and those of
            greedy generation over the whole vocabulary, all as returned by `score_label_words`; and the class ids and
            row numbers, (batch, 2). The last two are None with `prediction_loss_only`.
        """
        inputs = self._prepare_inputs(inputs)
        labels, input_ids = inputs["labels"], inputs["input_ids"]
        longest = 0  # gathered only if it matters, since this synchronizes with the GPU
        if self.verbalizer.max_tokens > 1 and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            longest = int(self.accelerator.gather(torch.tensor([input_ids.size(1)], device=input_ids.device)).max())
        with self.compute_loss_context_manager():
            scores, free, constrained = score_label_words(
                model, input_ids, inputs["attention_mask"], self.verbalizer, self.accepted, longest
            )
        num_tokens = torch.tensor([len(ids) for ids in self.verbalizer.token_ids], device=scores.device)
        gold = labels[:, :1]
        loss = -scores.gather(1, gold).sum() / num_tokens[gold].sum()
        said = constrained if self.constrained else free
        return (loss, None, None) if prediction_loss_only else (loss, (scores, said, free), labels)


def split_batch(batch: dict[str, Any], max_tokens: int) -> list[dict[str, Any]]:
    """Split a batch into parts of rows of similar length, each padded only as far as it needs.

    Args:
        batch: `attention_mask` and other tensors of shape (batch, seq), padded on the left; `labels`, (batch, label
            tokens). Values that are not tensors are passed to every part.
        max_tokens: Maximum number of tokens of a part, including padding; a part has at least one row. 0 for no split.

    Returns:
        The parts, starting with the one of the longest rows; only the batch itself if it is small enough.
    """
    num_rows, width = batch["attention_mask"].shape
    if not max_tokens or num_rows * width <= max_tokens:
        return [batch]
    lengths = batch["attention_mask"].sum(dim=1)
    num_parts = -(-num_rows // max(1, max_tokens // width))
    tensors = {name: value for name, value in batch.items() if torch.is_tensor(value)}
    parts = []
    for rows in lengths.argsort(descending=True, stable=True).tensor_split(num_parts):
        longest = max(int(lengths[rows[0]]), batch["labels"].size(1))  # every label token needs its logits
        part = {name: value[rows] if name == "labels" else value[rows, -longest:] for name, value in tensors.items()}
        parts.append(batch | part)
    return parts


def build_trainer(
    flags: "Arguments",
    task: "LabelWordTask",
    tokenized: "dict[str, Dataset]",
    precision: str,
    checkpoint: str | None,
    compute_metrics: Callable[..., dict[str, float]],
) -> LabelWordTrainer:
    """Load the model and set up its training.

    Args:
        flags: Command-line arguments.
        task: Prompt, label words and rows.
        tokenized: Tokenized splits by name.
        precision: `fp32`, `bf16` or `fp16`.
        checkpoint: Folder to resume from; None to start from the beginning.
        compute_metrics: Function that Trainer calls, with the additional arguments `verbalizer` and `constrained`.

    Raises:
        UsageError: If the model cannot be loaded, or the checkpoint belongs to a different run.
    """
    from transformers import set_seed

    args, constrained = flags.training, flags.model.constrain_generation
    set_seed(args.seed)  # for new embeddings, LoRA's matrices, and dropout
    model = task.load_model(args, precision, max(tokenized["train"]["length"][:]))
    run = describe_run(task, args, precision, model)
    if checkpoint:
        on_first_process(args, "comparing with the checkpoint", lambda: refuse_changes(checkpoint, run))
    trainer = LabelWordTrainer(
        run=run,
        verbalizer=task.verbalizer,
        precision=precision,
        class_weights=task.data.class_weights,
        constrained=constrained,
        max_tokens=flags.run.max_tokens_per_microbatch or 0,
        compute_metrics=partial(compute_metrics, verbalizer=task.verbalizer, constrained=constrained),
        model=add_adapter(model, flags.model),
        args=args,
        train_dataset=tokenize_stream(task, args) if task.data.stream else tokenized["train"],
        eval_dataset=tokenized["validation"],
        processing_class=task.tokenizer,
    )
    if checkpoint:
        trainer.add_callback(RecoverBestCheckpoint(checkpoint))
    return trainer
