"""Scores of the label words at the decision position: what evaluation and `predict` share."""

import copy
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import log_softmax

from .constraint import BIAS
from .verbalizer import Verbalizer

if TYPE_CHECKING:
    from torch import Tensor, nn


# How many tokens of prompts, their copies counted, are held for label words of several tokens: 32 prompts of 512.
CACHED_TOKENS = 32 * 512

Beginning = tuple[int, ...]
Continuations = dict[Beginning, dict[int, list[int]]]


def left_pad(rows: list[list[int]], value: int) -> "Tensor":
    """Stack rows of different lengths into (batch, seq), the padding on the left, so that all end together."""
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(row)) + row for row in rows])


def model_inputs(
    input_ids: "Tensor", attention_mask: "Tensor", logits_to_keep: int, accepted: set[str]
) -> dict[str, Any]:
    """Arguments for a causal language model's forward that wants only the last positions' logits.

    Args:
        input_ids: (batch, seq), padded on the left.
        attention_mask: 1 at real tokens; (batch, seq), or longer by what a cache holds already.
        logits_to_keep: How many positions at the end need logits; a vocabulary's width each.
        accepted: Names of the arguments that the model's forward takes.
    """
    inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
    if "position_ids" in accepted:  # most models count positions from the padding unless told
        inputs["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.size(1) :]
    if "logits_to_keep" in accepted:
        inputs["logits_to_keep"] = logits_to_keep
    return inputs


def forward_arguments(model: "nn.Module") -> set[str]:
    """Names of the arguments that the model's forward takes; an adapter hands on those of the model under it."""
    model = getattr(model, "get_base_model", lambda: model)()
    return set(inspect.signature(model.forward).parameters)


def label_probabilities(scores: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Normalise log-probabilities of label words, (rows, num_labels), over the labels."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


@torch.no_grad()
def score_label_words(
    model: "nn.Module",
    input_ids: "Tensor",
    attention_mask: "Tensor",
    verbalizer: Verbalizer,
    accepted: set[str],
    longest: int = 0,
) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Score every label word as the continuation of each prompt.

    Args:
        model: A causal language model.
        input_ids: Prompts, (batch, seq), padded on the left; the last position is the decision position.
        attention_mask: (batch, seq).
        verbalizer: The label words.
        accepted: What `forward_arguments` says of the model.
        longest: Tokens of the longest prompt of all processes; each then calls the model equally often, as it must
            where it holds only a part of the weights.

    Returns:
        Log-probabilities of the labels over the whole vocabulary, (batch, num_labels): those of a word's tokens are
        summed, and the probabilities of a label's words. The tokens that greedy generation makes, (batch, max label
        tokens), as far as they begin some label word and one token on; -1 behind. And those that it makes when it may
        only say label words (see `constraint`).
    """
    batch, device = input_ids.size(0), input_ids.device
    tree, spellings = verbalizer.continuations, verbalizer.spellings
    scores = torch.zeros(batch, len(spellings), device=device)
    free = torch.full((batch, verbalizer.max_tokens), -1, device=device)
    constrained = free.clone()
    at_once = max(1, CACHED_TOKENS // (batch * max(longest, input_ids.size(1))))
    for beginning, logits in _logits_behind(model, input_ids, attention_mask, verbalizer, accepted, at_once):
        depth, following = len(beginning), tree[beginning]
        log_probabilities = log_softmax(logits.float(), dim=-1)  # (batch, vocabulary)
        words, tokens = zip(*((word, token) for token in following for word in following[token]), strict=True)
        scores[:, words] += log_probabilities[:, tokens]
        allowed = torch.tensor(sorted(following), device=device)
        best = allowed[(logits[:, allowed].float() + BIAS).argmax(dim=-1)]  # rounded as `generate` does
        for generated, chosen in ((free, log_probabilities.argmax(dim=-1)), (constrained, best)):
            goes_on = (generated[:, :depth] == torch.tensor(beginning, device=device)).all(dim=1)
            generated[goes_on, depth] = chosen[goes_on]
    if verbalizer.synonyms:
        label_ids = torch.tensor([label for label, _ in spellings], device=device)
        of_labels = [scores[:, label_ids == label].logsumexp(dim=1) for label in range(len(verbalizer.labels))]
        scores = torch.stack(of_labels, dim=1)
    return scores, free, constrained


def _logits_behind(
    model: "nn.Module",
    input_ids: "Tensor",
    attention_mask: "Tensor",
    verbalizer: Verbalizer,
    accepted: set[str],
    at_once: int,
) -> Iterator[tuple[Beginning, "Tensor"]]:
    """Yield every beginning of a label word, shorter ones before longer ones, and the logits behind it.

    Where the model has a cache, the prompts are read once, and the last token of each beginning once: at most
    `at_once` beginnings of the same length in one forward, with a copy of the prompts' cache for each.

    Yields:
        A beginning, the empty one first; logits, (batch, vocabulary).
    """
    from transformers import DynamicCache

    cache: Any = None
    if verbalizer.max_tokens > 1 and "past_key_values" in accepted:
        outputs = model(**model_inputs(input_ids, attention_mask, 1, accepted), use_cache=True)
        cache = getattr(outputs, "past_key_values", None)
    if type(cache) is DynamicCache:  # a model's own may hold what is not copied
        yield (), outputs.logits[:, -1]
        yield from _read_on(model, cache, attention_mask, [()], verbalizer.continuations, accepted, at_once)
        return
    known: set[Beginning] = set()
    for path in verbalizer.paths:
        behind = torch.tensor(path, dtype=input_ids.dtype, device=input_ids.device).expand(len(input_ids), -1)
        mask = torch.cat([attention_mask, torch.ones_like(behind)], dim=1)
        inputs = model_inputs(torch.cat([input_ids, behind], dim=1), mask, len(path) + 1, accepted)
        logits = model(**inputs).logits[:, -len(path) - 1 :]
        for depth in range(len(path) + 1):
            if (beginning := tuple(path[:depth])) not in known:
                known.add(beginning)
                yield beginning, logits[:, depth]


def _read_on(
    model: "nn.Module",
    cache: Any,
    mask: "Tensor",
    beginnings: list[Beginning],
    tree: Continuations,
    accepted: set[str],
    at_once: int,
) -> Iterator[tuple[Beginning, "Tensor"]]:
    """Go on from beginnings that have been read to those that are longer, depth first.

    Args:
        model: A causal language model.
        cache: Of the prompts and the beginnings: all prompts with the first one, all with the second one, ...
        mask: (batch, seq), the beginnings' tokens included.
        beginnings: Equally long.
        tree: What may follow each beginning.
        accepted: What `forward_arguments` says of the model.
        at_once: The most beginnings that are read together.
    """
    prompts = torch.arange(len(mask), device=mask.device)
    mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    longer = [
        (place, (*beginning, token))
        for place, beginning in enumerate(beginnings)
        for token in tree[beginning]
        if (*beginning, token) in tree
    ]
    for start in range(0, len(longer), at_once):
        places, some = zip(*longer[start : start + at_once], strict=True)
        branch = copy.deepcopy(cache) if start + at_once < len(longer) else cache  # the last ones need no copy
        branch.reorder_cache(torch.cat([prompts + place * len(prompts) for place in places]))
        tokens = torch.tensor([beginning[-1] for beginning in some], device=mask.device)
        inputs = model_inputs(tokens.repeat_interleave(len(prompts))[:, None], mask.repeat(len(some), 1), 1, accepted)
        logits = model(**inputs, past_key_values=branch, use_cache=True).logits[:, -1]
        yield from zip(some, logits.split(len(prompts)), strict=True)
        yield from _read_on(model, branch, mask, list(some), tree, accepted, at_once)
