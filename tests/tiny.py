"""Tokenizers of the kinds that models come with, and models of a few thousand random weights, all made in memory."""

import csv
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import ROOT

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TEMPLATE = "{text}\nSentiment:{label_word}"
TEXTS = (
    "great film",
    "  two  spaces, and a line\nbreak ",
    "x",
    "A long, slow and rather pointless evening in the company of people whom nobody could possibly like.",
    "café 🎬",
)


def corpus() -> list[str]:
    """Lines to train tokenizers on, always the same; the two words become one token each."""
    return (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines() + [" negative positive Review: x"] * 50


def byte_level() -> "Tokenizer":
    """GPT-2's kind: bytes, and a leading space is part of a word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def metaspace(model: Any, trainer: Any) -> "Tokenizer":
    """SentencePiece's kind: spaces become ▁, and one is put in front."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def metaspace_bpe(post_processor: str | None) -> "PreTrainedTokenizerFast":
    from tokenizers import models, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=pieces, show_progress=False)
    tokenizer = metaspace(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True), trainer)
    if post_processor:
        ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
        tokenizer.post_processor = processors.TemplateProcessing(single=post_processor, special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def gemma() -> "PreTrainedTokenizerFast":
    """Spaces become ▁ as in SentencePiece, but none is put in front."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    words = [f" {word}" for line in corpus() for word in line.split()]  # so that no piece has two
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=pieces, initial_alphabet=["\n"], show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<pad>"
    )


def unigram(eos: str | None = "</s>") -> "PreTrainedTokenizerFast":
    from tokenizers import models, trainers
    from transformers import PreTrainedTokenizerFast

    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<unk>", "<pad>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer = metaspace(models.Unigram(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, unk_token="<unk>", pad_token="<pad>", model_max_length=64
    )


def gpt2() -> "PreTrainedTokenizerFast":
    from transformers import GPT2TokenizerFast

    return GPT2TokenizerFast(tokenizer_object=byte_level())


def gpt_neox() -> "PreTrainedTokenizerFast":
    """Its class builds the post-processor anew whenever it is loaded."""
    from transformers import GPTNeoXTokenizerFast

    return GPTNeoXTokenizerFast(tokenizer_object=byte_level())


def no_eos() -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=byte_level())


BUILDERS: dict[str, Callable[[], "PreTrainedTokenizerFast"]] = {
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "llama_adds_bos": lambda: metaspace_bpe("<s> $A"),
    "llama_adds_bos_and_eos": lambda: metaspace_bpe("<s> $A </s>"),
    "metaspace": lambda: metaspace_bpe(None),
    "gemma": gemma,
    "unigram": unigram,
    "no_eos": no_eos,
    "unigram_no_eos": lambda: unigram(eos=None),
}
KINDS = tuple(kind for kind in BUILDERS if kind != "unigram_no_eos")  # few words are of equal length to it


@cache
def base_tokenizer(kind: str) -> "PreTrainedTokenizerFast":
    """A base model's tokenizer with a pad token, as `load_tokenizer` gives it; tests must not change it."""
    tokenizer = BUILDERS[kind]()
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return tokenizer


def tiny_model(architecture: str = "gpt2", vocab_size: int = 601, context: int = 64) -> "PreTrainedModel":
    """A causal language model without dropout, with weights large enough for its answers to differ by text."""
    import torch
    from transformers import (
        BloomConfig,
        BloomForCausalLM,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        MistralConfig,
        MistralForCausalLM,
        set_seed,
    )

    torch.set_num_threads(1)  # several get in each other's way on so little
    set_seed(0)
    tokens: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.3, "vocab_size": vocab_size}
    if architecture == "gpt2":
        sizes = {"n_positions": context, "n_embd": 16, "n_layer": 2, "n_head": 2}
        return GPT2LMHeadModel(GPT2Config(**sizes, **tokens, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)).eval()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes, **tokens, max_position_embeddings=context)).eval()
    if architecture == "mistral":  # its attention reaches back less far than most texts are long
        few = {"num_key_value_heads": 1, "sliding_window": 4, "max_position_embeddings": context}
        return MistralForCausalLM(MistralConfig(**sizes, **few, **tokens)).eval()
    return BloomForCausalLM(BloomConfig(hidden_size=16, n_layer=2, n_head=2, **tokens)).eval()


def reference_scores(model: "PreTrainedModel", prompts: list[list[int]], token_ids: list[list[int]]) -> "Tensor":
    """Log-probabilities of label words: each of each row in a pass of its own, with all logits, without padding."""
    import torch

    scores = torch.zeros(len(prompts), len(token_ids))
    with torch.no_grad():
        for row, prompt in enumerate(prompts):
            for label, word in enumerate(token_ids):
                logits = model(torch.tensor([prompt + word])).logits[0].double()
                for depth, token in enumerate(word):
                    scores[row, label] += logits[len(prompt) + depth - 1].log_softmax(-1)[token]
    return scores


def count_loaded(owner: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count, whenever `owner.load_model` is called, how many of the models that it has loaded are still held."""
    load_model, loaded = owner.load_model, list[weakref.ref[Any]]()
    alive: list[int] = []

    def load_and_count(*args: Any) -> Any:
        alive.append(sum(model() is not None for model in loaded))
        model = load_model(*args)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(owner, "load_model", load_and_count)
    return alive


def write_csv(path: Path, rows: Iterable[Iterable[object]], header: Iterable[str] = ("text", "label")) -> str:
    """Write a table and return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)
