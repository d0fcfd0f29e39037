"""The model as training wants it, and as it is saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .device import choose_attention, leave_out_cudnn_attention, log_compilation
from .label_word_task import LabelWordTask
from .lora import merge_adapter, put_on_whole_weights, quantization, save_adapter_config
from .modeling import load_model

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, TrainingArguments

    from .trainer import LabelWordTrainer


def load_training_model(
    task: LabelWordTask, args: "TrainingArguments", precision: str, longest: int
) -> "PreTrainedModel":
    """Load the base model, with attention and quantization for training, ready to generate label words.

    Args:
        task: Where the model is, and what it is asked.
        args: Say where it trains, and whether it is compiled.
        precision: `fp32` or `bf16`.
        longest: Tokens of the longest training prompt.
    """
    attention = choose_attention(task.args.attn_implementation, args.device, longest)
    leave_out_cudnn_attention(args.device)
    log_compilation(args.torch_compile)
    quantized = quantization(precision) if task.args.load_in_4bit else None
    model = load_model(task.base, task.args.dtype, task.tokenizer, attention, quantized)
    task.make_ready(model)
    return model


def merge_trained(trainer: "LabelWordTrainer", task: LabelWordTask) -> "PreTrainedModel":
    """Put a LoRA adapter into the weights, unless it is to be published as one; other models stay as they are.

    The figures that follow are of what is published, so one trained on 4-bit weights moves to whole ones first.

    Returns:
        The model that `save_trained` will save, or that its adapter is for.
    """
    args = task.args
    if args.load_in_4bit:
        put_on_whole_weights(trainer, lambda: load_model(task.base, args.dtype, task.tokenizer))
    if not args.use_peft:
        return trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    return trainer.model.get_base_model() if args.publish_adapter else merge_adapter(trainer)


def save_trained(
    trainer: "LabelWordTrainer",
    task: LabelWordTask,
    model: "PreTrainedModel",
    log_prior: "np.ndarray[Any, Any] | None",
) -> None:
    """Save the model and its tokenizer in the output folder, ready for `pipeline`."""
    task.make_ready(model, log_prior)  # again, since Trainer changes the config
    trainer.save_model()
    if task.args.publish_adapter and trainer.args.should_save:
        save_adapter_config(model, Path(str(trainer.args.output_dir)))
