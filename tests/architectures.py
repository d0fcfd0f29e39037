"""A tiny random model of each architecture, with a tokenizer of the kind that it comes with, in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tiny import BUILDERS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CHAT_TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
# Names that configurations give to the same few sizes.
SIZES = {
    "hidden_size": 32, "n_embd": 32, "word_embed_proj_dim": 32, "intermediate_size": 48, "ffn_dim": 48,
    "num_hidden_layers": 2, "n_layer": 2, "num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2,
    "head_dim": 8, "num_heads": 8, "n_groups": 2, "chunk_size": 8, "state_size": 8, "time_step_rank": 4,
    "attention_hidden_size": 32, "d_model": 32, "num_layers": 2, "attention_heads": 4,
    "max_position_embeddings": 128, "n_positions": 128, "context_length": 128, "initializer_range": 0.1,
}  # fmt: skip
# Model type → tokenizer, and what else is particular to it.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "llama": ("llama_adds_bos", {"tie_word_embeddings": False}),
    "qwen2": ("gpt2", {"pad": "<pad>", "chat": True, "tie_word_embeddings": True}),
    "qwen3": ("gpt2", {"pad": "<|endoftext|>", "chat": True}),
    "mistral": ("llama_adds_bos_and_eos", {"sliding_window": 16}),
    "gemma": ("llama_adds_bos", {"pad": "<pad>"}),
    "gemma2": ("llama_adds_bos", {"pad": "<pad>", "sliding_window": 16}),
    "gemma3_text": ("llama_adds_bos", {"pad": "<pad>", "chat": True, "sliding_window": 16}),
    "phi": ("gpt2", {}),
    "phi3": ("metaspace", {"chat": True}),
    "opt": ("opt", {"pad": "<pad>"}),
    "bloom": ("gpt2", {"pad": "<pad>", "room": 7}),
    "gpt_neox": ("gpt_neox", {"room": 47}),
    "falcon": ("gpt2", {}),
    "smollm3": ("gpt2", {"pad": "<|endoftext|>", "chat": True}),
    "mamba": ("gpt_neox", {}),
    "mamba2": ("gpt_neox", {}),
    "falcon_mamba": ("gpt2", {"pad": "<|endoftext|>"}),
    "xglm": ("unigram", {}),
    "rwkv": ("gpt_neox", {"num_hidden_layers": 8}),  # from the seventh on, it would scale its weights for inference
}


def tiny_config(model_type: str, **given: Any) -> "PreTrainedConfig":
    """A configuration of a few thousand weights, without dropout."""
    from transformers import AutoConfig

    kind = type(AutoConfig.for_model(model_type))
    default = kind()
    settable = {
        name for name in SIZES if hasattr(default, name) and not isinstance(getattr(kind, name, None), property)
    }
    if model_type != "mamba2":
        settable.discard("num_heads")
    dropout = {name: 0.0 for name, value in vars(default).items() if isinstance(value, float) and "drop" in name}
    return kind(**({name: SIZES[name] for name in settable} | dropout | given))


def save_tiny(model_type: str, folder: Path, tokenizer_kind: str | None = None) -> Path:
    """Save model and tokenizer as `from_pretrained` takes them; the tokenizer may be of another kind than usual."""
    from tokenizers import processors
    from transformers import AutoModelForCausalLM, set_seed

    kind, given = ARCHITECTURES[model_type]
    kind, given = tokenizer_kind or kind, dict(given)
    tokenizer = BUILDERS["gpt2" if kind == "opt" else kind]()
    if kind == "opt":  # GPT-2's bytes, with a token before each text
        tokenizer.add_special_tokens({"bos_token": "</s>"})
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="</s> $A", special_tokens=[("</s>", tokenizer.bos_token_id)]
        )
    if pad := given.pop("pad", None):
        tokenizer.add_special_tokens({"pad_token": pad})
    if given.pop("chat", False):
        tokenizer.chat_template = CHAT_TEMPLATE
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    tokens |= {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer) + given.pop("room", 0)}
    set_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(model_type, **tokens, **given))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
