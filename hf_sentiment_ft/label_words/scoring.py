"""Scores of the label words at the decision position: what evaluation and `predict` share."""

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import log_softmax

from ..model.inputs import model_inputs
from .verbalizer import BIAS, Verbalizer

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import DynamicCache

# What is held at once for label words of several tokens: tokens of prompts, as many as in 32 prompts of 512, copies
# counted; and logits, 512 MiB in float32.
CACHED_TOKENS = 32 * 512
KEPT_LOGITS = 2**27

Beginning = tuple[int, ...]
Continuations = dict[Beginning, dict[int, list[int]]]


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
        only say label words (see `label_words_only`).
    """
    batch, device = input_ids.size(0), input_ids.device
    tree, spellings = verbalizer.continuations, verbalizer.spellings
    scores = torch.zeros(batch, len(spellings), device=device)
    free = torch.full((batch, verbalizer.max_tokens), -1, device=device)
    constrained = free.clone()
    longest = max(longest, input_ids.size(1))
    for beginning, logits in _logits_behind(model, input_ids, attention_mask, verbalizer, accepted, longest):
        depth, following = len(beginning), tree[beginning]
        log_probabilities = log_softmax(logits.float(), dim=-1)  # (batch, vocabulary)
        words, tokens = zip(*((word, token) for token in following for word in following[token]), strict=True)
        scores[:, words] += log_probabilities[:, tokens]
        begun, allowed = (torch.tensor(tokens, device=device) for tokens in (beginning, sorted(following)))
        best = allowed[(logits[:, allowed].float() + BIAS).argmax(dim=-1)]  # rounded as `generate` does
        for said, token in ((free, log_probabilities.argmax(dim=-1)), (constrained, best)):
            rows = (said[:, :depth] == begun).all(dim=1)
            said[:, depth] = torch.where(rows, token, said[:, depth])  # for rows taken out, a GPU would be waited for
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
    longest: int,
) -> Iterator[tuple[Beginning, "Tensor"]]:
    """Yield every beginning of a label word, shorter ones before longer ones, and the logits behind it.

    Where the model has a cache, the prompts are read once, and tokens that words have in common once: many beginnings
    in one forward, with a copy of the prompts' cache for each.

    Yields:
        A beginning, the empty one first; logits, (batch, vocabulary).
    """
    from transformers import DynamicCache

    cache: Any = None
    if verbalizer.max_tokens > 1 and "past_key_values" in accepted:
        outputs = model(**model_inputs(input_ids, attention_mask, 1, accepted), use_cache=True)
        cache = getattr(outputs, "past_key_values", None)
    # A model's own cache may hold what is not copied, and a recurrent state may take in one token at a time only.
    if type(cache) is DynamicCache and cache.is_croppable:
        batch, _, vocabulary = outputs.logits.shape
        at_once = min(CACHED_TOKENS // longest, KEPT_LOGITS // (vocabulary * verbalizer.max_tokens)) // batch
        yield (), outputs.logits[:, -1]
        yield from _read_on(model, cache, attention_mask, [()], verbalizer.continuations, accepted, max(1, at_once))
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
        cache: Of prompts and beginnings: all prompts with the first one, all with the second one, ...
        mask: Of the prompts and any one beginning, (batch, seq).
        beginnings: Equally long.
        tree: What may follow each beginning.
        accepted: What `forward_arguments` says of the model.
        at_once: The most beginnings that are read together.
    """
    batch, prompts, known = len(mask), torch.arange(len(mask), device=mask.device), len(beginnings[0])
    by_length: dict[int, list[tuple[int, Beginning]]] = {}
    for place, way in _ways_on(tree, beginnings):
        by_length.setdefault(len(way), []).append((place, way))
    for length, ways in by_length.items():
        longer = torch.cat([mask, mask.new_ones(batch, length - known)], dim=1)
        for start in range(0, len(ways), at_once):
            places, some = zip(*ways[start : start + at_once], strict=True)
            read = torch.tensor([way[known:] for way in some], device=mask.device).repeat_interleave(batch, dim=0)
            inputs = model_inputs(read, longer.repeat(len(some), 1), length - known, accepted)
            branch = _rows_of(cache, torch.cat([prompts + place * batch for place in places]))
            logits = model(**inputs, past_key_values=branch, use_cache=True).logits[:, known - length :]
            for way, of_way in zip(some, logits.split(batch), strict=True):
                for depth in range(known, length):
                    yield way[: depth + 1], of_way[:, depth - known]
            yield from _read_on(model, branch, longer, list(some), tree, accepted, at_once)


def _rows_of(cache: "DynamicCache", rows: "Tensor") -> "DynamicCache":
    """These rows of a cache, as another cache; what `reorder_cache` makes anew is not copied before."""
    branch = copy.copy(cache)
    branch.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in branch.layers:
        vars(layer).update({name: dict(held) for name, held in vars(layer).items() if isinstance(held, dict)})
    branch.reorder_cache(rows)
    return branch


def _ways_on(tree: Continuations, beginnings: list[Beginning]) -> Iterator[tuple[int, Beginning]]:
    """From each beginning, given by its place, to where words next differ, or to the last token before their ends."""
    for place, beginning in enumerate(beginnings):
        for way in _longer(tree, beginning):
            while len(further := _longer(tree, way)) == 1:
                way = further[0]
            yield place, way


def _longer(tree: Continuations, beginning: Beginning) -> list[Beginning]:
    """Beginnings of one more token."""
    return [way for token in tree[beginning] if (way := (*beginning, token)) in tree]
