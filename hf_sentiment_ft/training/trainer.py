"""A Trainer that learns and scores only the label word at the decision position."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import TorchDynamoPlugin
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from ..errors import RunError
from ..label_words.questions import Questions
from ..label_words.scoring import score_label_words, score_single_tokens
from ..label_words.verbalizer import Verbalizer
from ..model.inputs import check_attention, forward_arguments
from ..model.packing import packed_inputs, reads_packed
from .batches import LabelWordCollator, split_batch
from .compilation import compile_layers, uncompiled
from .engines import exchanges_gradients, set_up_engine
from .loss import label_targets, label_word_loss
from .resumable import ResumableTrainer, diverged

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import EvalPrediction


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
        questions: Questions | None = None,
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
            questions: What is asked about every text, if rows have several labels.
            max_tokens: Maximum number of tokens of one forward and backward pass; 0 for whole batches (see
                `split_batch`).
            **kwargs: Arguments of ResumableTrainer and Trainer.
        """
        self.verbalizer = verbalizer
        self.precision = precision
        soft = "shares" in (getattr(kwargs.get("train_dataset"), "column_names", None) or ())
        self.targets = label_targets(verbalizer.token_ids, kwargs["args"].label_smoothing_factor, class_weights, soft)
        self._shares: Tensor | None = None
        self.constrained = constrained
        self.questions = questions
        self.max_tokens = max_tokens
        self.accepted = forward_arguments(kwargs["model"])
        self.packed = questions is not None and self._reads_packed(kwargs["model"], kwargs["processing_class"])
        self._further_metrics = kwargs.pop("compute_metrics", None)
        kwargs["args"].label_names = ["labels", "shares"]  # the columns that get into a batch besides the tokens
        if questions:  # the collator needs `question_lengths`, which is no argument of the model
            kwargs["args"].remove_unused_columns = False
        kwargs["args"].dataloader_pin_memory &= torch.cuda.is_available()  # without CUDA, it only causes a warning
        set_up_engine(kwargs["args"], kwargs["model"].config, precision)
        super().__init__(
            data_collator=LabelWordCollator(kwargs["processing_class"].pad_token_id, self.accepted, self.packed),
            compute_loss_func=self._loss,
            compute_metrics=self._compute_metrics,
            **kwargs,
        )
        # Trainer counts label tokens from the second position on, since causal models shift labels; ours are already
        # aligned with the logits that predict them.
        self._loss_shifts_labels = False
        if self.place_model_on_device:  # an engine that shards the model moves it when training begins
            training = torch.autocast(self.args.device.type, torch.bfloat16, enabled=precision == "bf16")
            check_attention(self.model, self.processing_class, training if self.train_dataset is not None else None)
        if self.train_dataset is not None:
            compile_layers(self.model, self.args)

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
        if self.args.world_size > 1 and not exchanges_gradients(model, getattr(self, "deepspeed", None)):
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

    def _reads_packed(self, model: Any, tokenizer: Any) -> bool:
        """Return whether the questions about a text are read in one row; label words must have one token for that."""
        single = self.verbalizer.max_tokens == 1 and not self.verbalizer.synonyms
        whole = not any(weights.is_meta for weights in model.parameters()) and not is_deepspeed_zero3_enabled()
        return single and whole and reads_packed(model, tokenizer.pad_token_id)

    def _build_accelerator_args(self, **kwargs: Any) -> dict[str, Any]:
        """Extend Trainer's arguments of Accelerator to leave compiling to `compile_layers`."""
        kwargs = super()._build_accelerator_args(**kwargs)
        return kwargs | ({"dynamo_plugin": TorchDynamoPlugin(backend="no")} if self.args.torch_compile else {})

    def compute_loss(self, model: "nn.Module", inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Extend Trainer's computation of the loss to keep the shares of soft labels, which the model does not read.

        Args:
            model: Model, as wrapped for training.
            inputs: Batch from the collator.
            *args: Trainer's further arguments.
            **kwargs: Likewise.
        """
        self._shares = inputs.pop("shares", None)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _loss(self, outputs: Any, labels: "Tensor", num_items_in_batch: "Tensor | int | None" = None) -> "Tensor":
        self.targets = self.targets.to(labels.device)
        if self.packed:  # (batch, questions, ...): a row each
            outputs.logits, labels = outputs.logits.flatten(0, 1)[:, None], labels.flatten(0, 1)
        return label_word_loss(outputs, labels, self.targets, num_items_in_batch, self._shares)

    def _compute_metrics(self, output: "EvalPrediction") -> dict[str, float]:
        """Average the loss over label tokens, from the scores of all rows, and compute the metrics handed in."""
        scores = output.predictions[0].reshape(-1, len(self.verbalizer.labels))
        class_ids = np.asarray(output.label_ids).reshape(-1, 2)[:, :1]
        if np.isnan(scores).any() and self.state.global_step:
            raise diverged("the model's scores are NaN")
        if np.isnan(scores).any():
            raise RunError(
                "the model's scores are NaN even before training. Try --attn_implementation eager, or --dtype float32 "
                "if it is float16."
            )
        num_tokens = np.array([len(ids) for ids in self.verbalizer.token_ids])
        loss = -np.take_along_axis(scores, class_ids, axis=1).sum() / num_tokens[class_ids].sum()
        return {"loss": float(loss)} | (self._further_metrics(output) if self._further_metrics else {})

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Evaluate the longest rows first: less padding, and out-of-memory errors show in the first batch."""
        lengths = [len(ids) for ids in eval_dataset["input_ids"]]
        return sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Extend Trainer's preparation of a batch to restore `logits_to_keep`.

        It is not a tensor, so it is missing from batches that were dispatched to several processes. Packed questions
        get their attention mask.
        """
        inputs = super()._prepare_inputs(inputs)
        if self.packed:
            return packed_inputs(inputs, self.model.dtype)
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
            A tuple of three: None, since the loss is computed from the scores of all batches; the scores of the labels,
            the tokens that `pipeline` generates, and those of greedy generation over the whole vocabulary, all as
            returned by `score_label_words`, and the shares of soft labels, if there are any; and the class ids and row
            numbers, (batch, 2).
        """
        inputs, questions = self._prepare_inputs(inputs), self.questions
        input_ids, references = inputs["input_ids"], inputs["labels"].view(-1, 2)
        longest = 0  # gathered only if it matters, since this synchronizes with the GPU
        if self.verbalizer.max_tokens > 1 and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            longest = int(self.accelerator.gather(torch.tensor([input_ids.size(1)], device=input_ids.device)).max())
        with self.compute_loss_context_manager(), uncompiled():
            if self.packed:
                read = {name: value for name, value in inputs.items() if name != "labels"}
                with torch.no_grad():
                    logits = model(**read, use_cache=False).logits.flatten(0, 1)
                scores, free, constrained = score_single_tokens(logits, self.verbalizer)
            else:
                scores, free, constrained = score_label_words(
                    model, input_ids, inputs["attention_mask"], self.verbalizer, self.accepted, longest
                )
        found = [scores, constrained if self.constrained else free, free]
        found += [inputs["shares"]] if "shares" in inputs else []
        if questions:
            allowed = torch.from_numpy(questions.allowed(scores.size(1))).to(scores.device)
            found[0] = scores.masked_fill(~allowed[references[:, 1] % len(allowed)], -torch.inf)
            # Trainer counts a row a text.
            *found, references = (one.view(-1, len(questions.names), one.size(1)) for one in [*found, references])
        return None, tuple(found), references
