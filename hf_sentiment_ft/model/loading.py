"""Load the base model and its tokenizer, and prepare them for label words."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.arguments import ModelArguments
from ..errors import UsageError, explain
from ..hub import refuse_if_it_fails, with_retries
from ..paths import resolve_package_path
from .lora import CONFIG_FOLDER, base_of_adapter, keep_gradients, load_adapter

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


PAD_TOKEN = "[PAD]"


@dataclass(frozen=True)
class ModelSource:
    """Where to load a model from, in the form that `from_pretrained` takes.

    Attributes:
        path: Hub id or folder.
        options: `revision` or `gguf_file`, and `trust_remote_code`.
        adapter_of: The base model, if the source is one of our LoRA adapters.
    """

    path: str
    options: dict[str, Any]
    adapter_of: str | None = None


def find_base_model(args: ModelArguments) -> ModelSource:
    """Distinguish Hub ids, folders, GGUF files and files in installed packages.

    Raises:
        UsageError: If a path does not exist.
    """
    options: dict[str, Any] = {"trust_remote_code": args.trust_remote_code}
    name = resolve_package_path(args.model_name_or_path)
    if name.endswith(".gguf"):
        file = Path(name)
        if not file.is_file():
            raise UsageError(f"--model_name_or_path is {name}, which is not a file.")
        return ModelSource(str(file.parent), options | {"gguf_file": file.name})
    if Path(name).is_dir():
        return ModelSource(name, options)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UsageError(f"--model_name_or_path is {name}, which is not a folder; a Hub id has the form user/name.")
    return ModelSource(name, options | {"revision": args.model_revision})


def find_adapter(base: ModelSource) -> ModelSource:
    """Return the source with its base model added, if it is an adapter.

    Raises:
        UsageError: If the lookup fails.
    """
    with refuse_if_it_fails(f"no model could be loaded from {base.path}"):
        adapted = with_retries(lambda: base_of_adapter(base.path, base.options.get("revision", "main")))
    return replace(base, adapter_of=adapted)


def find_model_to_train(args: ModelArguments) -> ModelSource:
    """Find the model that training starts from.

    Raises:
        UsageError: If the model is missing, or is an adapter.
    """
    base = find_adapter(find_base_model(args))
    if base.adapter_of:
        raise UsageError(
            f"{base.path} is a LoRA adapter, but only whole models can be trained further. Use its base model, "
            f"{base.adapter_of}, or train it again without --publish_adapter, so that the adapter is merged."
        )
    return base


def load_tokenizer(base: ModelSource, add_pad_token: bool = True) -> "PreTrainedTokenizerBase":
    """Load the base model's tokenizer and give it a `[PAD]` token if it has none.

    Args:
        base: Source of the model.
        add_pad_token: False if the embeddings cannot grow, as with an adapter; padding then uses a control token, which
            the attention mask hides.

    Raises:
        UsageError: If no tokenizer can be loaded.
    """
    from transformers import AutoTokenizer

    with refuse_if_it_fails(f"no tokenizer could be loaded from {base.path}", ImportError):
        tokenizer = with_retries(lambda: AutoTokenizer.from_pretrained(base.path, **base.options))
    if not tokenizer("a", add_special_tokens=False).input_ids:  # happens if the folder has no tokenizer
        raise UsageError(f"no tokenizer could be loaded from {base.path}: it has no vocabulary.")
    if tokenizer.pad_token_id is None and not add_pad_token:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.bos_token or tokenizer.unk_token
        if tokenizer.pad_token is None:
            raise UsageError(
                f"the tokenizer of {base.path} has no token that could be used for padding; remove --publish_adapter."
            )
    if tokenizer.pad_token_id is None:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def load_model(
    base: ModelSource,
    dtype: str,
    tokenizer: "PreTrainedTokenizerBase",
    attention: str | None = None,
    quantized: dict[str, Any] | None = None,
) -> "PreTrainedModel":
    """Load the weights, and resize the embeddings for the tokenizer's `[PAD]`.

    A GGUF file is dequantized, so that the model can be trained and saved.

    Args:
        base: Source of the model.
        dtype: Data type of the weights.
        tokenizer: Its tokenizer.
        attention: Attention implementation, None for the model's own default.
        quantized: Options for `from_pretrained` that load the weights in 4 bit; None for no quantization.

    Raises:
        UsageError: If no causal language model can be loaded.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from .inputs import right_pad_if_needed

    options = base.options | (quantized or {})
    if "gguf_file" in options:
        from transformers import GgufConfig, modeling_gguf_pytorch_utils
        from transformers.utils import logging

        modeling_gguf_pytorch_utils.tqdm = logging.tqdm  # a bar that obeys disable_progress_bar, as all others do
        options["quantization_config"] = GgufConfig(dequantize=True)
    with refuse_if_it_fails(f"no causal language model could be loaded from {base.path}", ImportError, SafetensorError):
        options |= {"dtype": dtype, "attn_implementation": attention}
        if under := base.adapter_of:
            model, missing = (
                with_retries(lambda: load_adapter(base.path, options.get("revision", "main"), under)),
                set(),
            )
        else:
            options["output_loading_info"] = True
            model, info = with_retries(lambda: AutoModelForCausalLM.from_pretrained(base.path, **options))
            missing = info["missing_keys"].intersection(name for name, _ in model.named_parameters())
    if missing:  # transformers would initialize them at random
        raise UsageError(
            f"{base.path} has no {', '.join(sorted(missing)[:3])}, which a causal language model needs; it may have "
            "been saved with another head. Use its base model."
        )
    if quantized:
        keep_gradients(model)
    if hasattr(model.config, "rescale_every"):
        model.config.rescale_every = 0  # RWKV halves weights in place for inference, and would save them halved
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    right_pad_if_needed(model, tokenizer)
    return model


def load_config(base: ModelSource, publish: bool = False) -> "PretrainedConfig":
    """Load the model's configuration, and check that the model is a causal language model before loading its weights.

    Args:
        base: Source of the model.
        publish: Whether the model is published after training.

    Raises:
        UsageError: If the model is not causal, cannot be loaded, or is to be published but runs its own Python code.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, AutoConfig

    def reason(error: Exception) -> str:
        hint = "; pass --trust_remote_code to run it, in training and evaluation" if "custom code" in str(error) else ""
        return explain(error) + hint

    options = base.options | ({"subfolder": CONFIG_FOLDER} if base.adapter_of else {})
    with refuse_if_it_fails(f"no model could be loaded from {base.path}", describe=reason):
        config = with_retries(lambda: AutoConfig.from_pretrained(base.path, **options))
    remote = type(config).__module__.startswith("transformers_modules")
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    causal = causal or (remote and "AutoModelForCausalLM" in getattr(config, "auto_map", {}))
    # transformers has causal heads for encoders too, but these read the whole text unless configured as decoders.
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    encoder = encoder or getattr(config, "is_encoder_decoder", False)  # such as BART's decoder alone
    if encoder or not causal:
        raise UsageError(
            f"{base.path} is a {config.model_type} model, which is not a causal language model; "
            "use one that generates text, such as gpt2."
        )
    if remote and publish:
        raise UsageError(
            f"{base.path} needs its own Python code, so `pipeline` alone could not load the published model; remove "
            "--push_to_hub."
        )
    return config


def context_length(config: "PretrainedConfig") -> int:
    """Return how many tokens the model can read, including the label word; a large number if it sets no limit."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 2**20)
