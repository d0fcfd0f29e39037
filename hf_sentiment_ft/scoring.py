"""Scores of the label words at the decision position: what evaluation and `predict` share."""

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
    model: "nn.Module", input_ids: "Tensor", attention_mask: "Tensor", verbalizer: Verbalizer, accepted: set[str]
) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Score every label word as the continuation of each prompt.

    Args:
        model: A causal language model.
        input_ids: Prompts, (batch, seq), padded on the left; the last position is the decision position.
        attention_mask: (batch, seq).
        verbalizer: The label words.
        accepted: What `forward_arguments` says of the model.

    Returns:
        Log-probabilities of the labels over the whole vocabulary, (batch, num_labels): those of a word's tokens are
        summed, and the probabilities of a label's words. The tokens that greedy generation makes, (batch, max label
        tokens), as far as they begin some label word and one token on; -1 behind. And those that it makes when it may
        only say label words (see `constraint`).
    """
    batch, device = input_ids.size(0), input_ids.device
    continuations, spellings = verbalizer.continuations, verbalizer.spellings
    scores = torch.zeros(batch, len(spellings), device=device)
    free = torch.full((batch, verbalizer.max_tokens), -1, device=device)
    constrained = free.clone()
    scored: set[tuple[int, ...]] = set()
    for path, logits in _logits_along(model, input_ids, attention_mask, verbalizer.paths, accepted):
        for depth in range(len(path) + 1):
            prefix = tuple(path[:depth])
            if prefix in scored:
                continue
            scored.add(prefix)
            log_probabilities = log_softmax(logits[:, depth], dim=-1)  # (batch, vocabulary)
            following = continuations[prefix]
            words, tokens = zip(*((word, token) for token in following for word in following[token]), strict=True)
            scores[:, words] += log_probabilities[:, tokens]
            allowed = torch.tensor(sorted(following), device=device)
            best = allowed[(logits[:, depth, allowed] + BIAS).argmax(dim=-1)]  # rounded as `generate` does
            for generated, chosen in ((free, log_probabilities.argmax(dim=-1)), (constrained, best)):
                on_this_path = (generated[:, :depth] == torch.tensor(prefix, device=device)).all(dim=1)
                generated[on_this_path, depth] = chosen[on_this_path]
    if verbalizer.synonyms:
        label_ids = torch.tensor([label for label, _ in spellings], device=device)
        of_labels = [scores[:, label_ids == label].logsumexp(dim=1) for label in range(len(verbalizer.labels))]
        scores = torch.stack(of_labels, dim=1)
    return scores, free, constrained


def _logits_along(
    model: "nn.Module",
    input_ids: "Tensor",
    attention_mask: "Tensor",
    paths: list[list[int]],
    accepted: set[str],
) -> "Iterator[tuple[list[int], Tensor]]":
    """Yield each path and the logits of the decision position and of its tokens, (batch, path tokens + 1, vocabulary).

    The prompts are read once for all paths where the model has a cache that can be cut back to them.
    """
    cache: Any = None
    if len(paths) > 1 and "past_key_values" in accepted:
        outputs = model(**model_inputs(input_ids, attention_mask, 1, accepted), use_cache=True)
        cache, decision = getattr(outputs, "past_key_values", None), outputs.logits[:, -1:]
    if can_go_back := getattr(cache, "is_croppable", False):
        cache.activate_past_recording()  # sliding windows keep what they would have dropped
    for path in paths:
        behind = torch.tensor(path, dtype=input_ids.dtype, device=input_ids.device).expand(len(input_ids), -1)
        mask = torch.cat([attention_mask, torch.ones_like(behind)], dim=1)
        if can_go_back:
            inputs = model_inputs(behind, mask, len(path), accepted)
            logits = model(**inputs, past_key_values=cache, use_cache=True).logits[:, -len(path) :]
            yield path, torch.cat([decision, logits], dim=1).float()
            cache.crop(-len(path))
        else:
            inputs = model_inputs(torch.cat([input_ids, behind], dim=1), mask, len(path) + 1, accepted)
            yield path, model(**inputs).logits[:, -len(path) - 1 :].float()
