"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): train a small adapter, then merge or publish it.

PEFT does the work. Without `--publish_adapter`, the merged model is published, which does not need `peft`.
"""

import gc
import json
import logging
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.arguments import ModelArguments
from ..errors import UsageError
from ..runtime.distributed import sharding_engines, without_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

logger = logging.getLogger(__name__)

# In a subfolder: a config.json in the adapter's own folder would make transformers look for the whole model there.
CONFIG_FOLDER = "label_words"
# PEFT refuses these layers of Mamba, whose kernels read their weights directly, without the adapter.
NOT_IN_MAMBA = ("out_proj", "conv1d")


def check_lora(
    args: ModelArguments, base_path: str, config: "PretrainedConfig", training_args: "TrainingArguments"
) -> None:
    """Check that an adapter can be trained, merged or published, before any long work.

    Args:
        args: The model flags.
        base_path: Hub id or folder of the model.
        config: Its configuration.
        training_args: Training arguments, with the engine, `--push_to_hub` and `--hub_strategy`.

    Raises:
        UsageError: If a package is missing, the model lacks the layers, or flags cannot be combined.
    """
    from transformers.trainer_utils import HubStrategy

    if not args.use_peft:
        return
    if find_spec("peft") is None:
        raise UsageError('--use_peft needs the package peft; install it: pip install "hf_sentiment_ft[peft]".')
    if args.load_in_4bit and find_spec("bitsandbytes") is None:
        raise UsageError(
            '--load_in_4bit needs the package bitsandbytes; install it: pip install "hf_sentiment_ft[qlora]".'
        )
    if args.load_in_4bit and args.model_name_or_path.endswith(".gguf"):
        raise UsageError("--load_in_4bit does not support GGUF files; use the original, unquantized model.")
    if args.publish_adapter and Path(base_path).is_dir():
        raise UsageError(
            f"--publish_adapter is given, but the base model, {args.model_name_or_path}, is not on the Hub, so "
            "others could not load the adapter. Remove --publish_adapter to publish the merged model."
        )
    if args.publish_adapter and args.model_revision != "main":
        raise UsageError(
            "--publish_adapter and --model_revision are both given, but adapters are loaded onto the base model's main "
            "branch. Remove --publish_adapter to publish the merged model."
        )
    engines = sharding_engines(training_args)
    if engines and args.load_in_4bit:
        raise UsageError(
            f"--load_in_4bit keeps all 4-bit weights in each process, but the launch configuration requests "
            f"{engines[0]}, which shards them. Use the configuration single_gpu or multi_gpu."
        )
    if engines and not args.publish_adapter:
        raise UsageError(
            f"--use_peft merges the adapter into the model after training, which {engines[0]} does not support. Use "
            "the configuration single_gpu or multi_gpu, or add --publish_adapter to publish only the adapter."
        )
    if not args.publish_adapter and training_args.push_to_hub and training_args.hub_strategy != "end":
        strategy = HubStrategy(training_args.hub_strategy).value
        raise UsageError(
            f"--hub_strategy is {strategy}, but checkpoints of --use_peft are adapters, which are published only with "
            "--publish_adapter; use --hub_strategy end."
        )
    if args.lora_target_modules not in (None, ["all-linear"]):
        _find_layers(args, config)


def _find_layers(args: ModelArguments, config: "PretrainedConfig") -> None:
    """Check that a model of this configuration has a linear layer for each given name; PEFT accepts one match in all.

    A head that shares its weights with the embeddings does not count: merging an adapter into it would change the
    embeddings as well.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    with without_weights():
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=args.trust_remote_code)
    shared = model.get_output_embeddings() if config.get_text_config().tie_word_embeddings else None
    linear = [
        f".{name}"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not shared
    ]
    given = args.lora_target_modules or []
    if missing := [name for name in given if not any(layer.endswith(f".{name}") for layer in linear)]:
        there = ", ".join(dict.fromkeys(layer.split(".")[-1] for layer in linear))
        raise UsageError(
            f"--lora_target_modules has {', '.join(missing)}, but the model has no linear layer of that name (a head "
            f"tied to the embeddings does not count). It has: {there}. Without the flag, all of them but the head are "
            "adapted."
        )


def quantization(precision: str) -> dict[str, Any]:
    """Return the options of `from_pretrained` for 4-bit NormalFloat weights.

    See QLoRA (Dettmers et al. 2023, arXiv:2305.14314).

    Args:
        precision: Precision of training; `bf16` computes in bfloat16, anything else in float32.
    """
    from transformers import BitsAndBytesConfig

    compute = "bfloat16" if precision == "bf16" else "float32"
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
    }


def keep_gradients(model: "PreTrainedModel") -> None:
    """Stop bitsandbytes from repacking 4-bit weights in evaluation mode.

    On CPUs with AVX512-BF16, it silently repacks them for inference, in a form that gradients cannot pass through.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def add_adapter(model: "PreTrainedModel", args: ModelArguments) -> Any:
    """Freeze the model and add LoRA matrices to its linear layers, if `--use_peft` is given.

    Args:
        model: The base model.
        args: The model flags.

    Returns:
        The PEFT model, or the model itself without `--use_peft`.

    Raises:
        UsageError: If the model has no layers with the given names, or PEFT cannot adapt them.
    """
    if not args.use_peft:
        return model
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    targets: Any = args.lora_target_modules or ["all-linear"]
    mamba = targets == ["all-linear"] and "mamba" in model.config.model_type
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        exclude_modules=list(NOT_IN_MAMBA) if mamba else None,
        # GPT-2's layers store their weights transposed; PEFT warns if it has to detect that itself.
        fan_in_fan_out=model.config.model_type == "gpt2",
    )
    if args.load_in_4bit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"--lora_target_modules is {' '.join(targets)}: {error}") from error
    trained, total = adapted.get_nb_trainable_parameters()
    logger.info("LoRA trains %d of %d weights (%.2f %%).", trained, total, 100 * trained / total)
    return adapted


def move_to_full_precision(trainer: "Trainer", load_base: "Callable[[], PreTrainedModel]") -> None:
    """Move an adapter that was trained on 4-bit weights onto the whole weights, which its users will load.

    The 4-bit weights and the optimizer are released first, since the memory may not be enough for both.

    Args:
        trainer: The trainer, after training; it continues with the new model.
        load_base: Function that loads the base model in the data type to be saved.
    """
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as folder:
        trainer.model.save_pretrained(folder)
        for holder in (trainer, trainer.callback_handler):
            holder.model = holder.optimizer = holder.lr_scheduler = None
        trainer.model_wrapped = None
        trainer.accelerator.free_memory()
        gc.collect()  # adapted layers form reference cycles
        adapted = PeftModel.from_pretrained(load_base().to(trainer.args.device), folder)
    trainer.model = trainer.model_wrapped = trainer.callback_handler.model = adapted.eval()


def merge_adapter(trainer: "Trainer") -> "PreTrainedModel":
    """Merge the adapter into the weights, make the trainer continue with the merged model, and return that model."""
    merged: PreTrainedModel = trainer.model.merge_and_unload(safe_merge=True)
    trainer.model = trainer.model_wrapped = merged.eval()
    return merged


def save_adapter_config(model: "PreTrainedModel", folder: Path) -> None:
    """Save next to an adapter what a whole model keeps in its config: the label words, and how to generate them."""
    model.generation_config.save_pretrained(folder)
    model.config.save_pretrained(folder / CONFIG_FOLDER)


def base_of_adapter(path: str, revision: str) -> str | None:
    """Return the base model of an adapter in a folder or Hub repository, None if it is not an adapter.

    Raises:
        OSError: If the lookup fails.
    """
    from transformers.utils import ADAPTER_CONFIG_NAME, cached_file

    file = cached_file(path, ADAPTER_CONFIG_NAME, revision=revision, _raise_exceptions_for_missing_entries=False)
    return None if file is None else str(json.loads(Path(file).read_text(encoding="utf-8"))["base_model_name_or_path"])


def load_adapter(path: str, revision: str, base: str) -> "PreTrainedModel":
    """Load an adapter onto its base model.

    Args:
        path: Hub id or folder of the adapter.
        revision: Branch, tag or commit of the adapter on the Hub.
        base: Hub id of the base model.

    Raises:
        UsageError: If `peft` is missing.
        OSError: If the adapter or its base model is missing.
    """
    if find_spec("peft") is None:
        raise UsageError(f'{path} is an adapter; to load it, install peft: pip install "hf_sentiment_ft[peft]".')
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(base)
    model.load_adapter(path, adapter_kwargs={"revision": revision})
    model.config = AutoConfig.from_pretrained(path, revision=revision, subfolder=CONFIG_FOLDER)
    model.generation_config = GenerationConfig.from_pretrained(path, revision=revision)
    return model
