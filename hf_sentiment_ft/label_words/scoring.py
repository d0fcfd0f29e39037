"""Score the label words at the decision position; shared by evaluation and `predict`.

Label words of several tokens are scored along a trie (a prefix tree), so that tokens which words have in common are
read once. For example, if the token sequence of one label word is [1, 2, 3] and that of the next is [1, 2, 4], they
share the prefix [1, 2]: after the prompt, the logits predict 1; after the prompt and [1], they predict 2; and after the
prompt and [1, 2], they predict both 3 and 4. The score of each word is the sum of its three log-probabilities.
`Verbalizer.continuations` is this trie. A `Beginning` is one of its prefixes, here (), (1,) and (1, 2).
"""

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

# Memory limits for label words of several tokens. Cached prompt tokens, copies included: as many as 32 prompts of 512
# tokens have. Logits: 512 MiB in float32.
CACHED_TOKENS = 32 * 512
KEPT_LOGITS = 2**27

Beginning = tuple[int, ...]
Continuations = dict[Beginning, dict[int, list[int]]]


def label_probabilities(scores: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Normalize the log-probabilities of the label words over the labels.

    Args:
        scores: Log-probabilities, (rows, num_labels).

    Returns:
        Probabilities in float64, (rows, num_labels), each row adding up to 1.
    """
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
        model: Causal language model.
        input_ids: Prompts, (batch, seq), padded on the left; the last position is the decision position.
        attention_mask: Attention mask, (batch, seq).
        verbalizer: Label words.
        accepted: Arguments that the model's forward accepts, as returned by `forward_arguments`.
        longest: Number of tokens of the longest prompt on any process. All processes then call the model equally often,
            which is required if the weights are sharded.

    Returns:
        Three tensors. The log-probabilities of the labels over the whole vocabulary, (batch, num_labels), summed over
        the tokens of a word; the probabilities of a label's words are added up. The tokens of greedy generation,
        (batch, max label tokens), up to and including the first token that no label word continues with; -1 after that.
        The tokens of greedy generation that is constrained to label words (see `label_words_only`), in the same shape.
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
        best = allowed[(logits[:, allowed].float() + BIAS).argmax(dim=-1)]  # rounded the way `generate` does
        for said, token in ((free, log_probabilities.argmax(dim=-1)), (constrained, best)):
            rows = (said[:, :depth] == begun).all(dim=1)
            said[:, depth] = torch.where(rows, token, said[:, depth])  # boolean indexing would synchronize with the GPU
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
    """Yield every prefix of a label word, shorter ones before their continuations, with the logits that follow it.

    If the model has a cache, the prompts are read once, and so are the tokens that words have in common. Several
    prefixes share one forward pass, with a copy of the prompts' cache for each.

    Yields:
        A prefix, starting with the empty one, and its logits, (batch, vocabulary).
    """
    from transformers import DynamicCache

    cache: Any = None
    if verbalizer.max_tokens > 1 and "past_key_values" in accepted:
        outputs = model(**model_inputs(input_ids, attention_mask, 1, accepted), use_cache=True)
        cache = getattr(outputs, "past_key_values", None)
    # A model-specific cache may hold state that is not copied, and a recurrent state may take only one token at a time.
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
    """Extend prefixes whose tokens are in the cache to longer ones, depth first.

    For [1, 2, 3, 4], [1, 2, 3, 5] and [1, 6, 7], the prefix () is extended to (1,), where the words diverge, and (1,)
    to (1, 2, 3) and (1, 6), after which only the words' last tokens remain to be predicted.

    Args:
        model: Causal language model.
        cache: Cache of prompts and prefixes: first all prompts with the first prefix, then all with the second, and so
            on.
        mask: Attention mask of the prompts followed by any one prefix, (batch, seq).
        beginnings: Prefixes to extend, all of the same length.
        tree: Trie of the label words.
        accepted: Arguments that the model's forward accepts, as returned by `forward_arguments`.
        at_once: Maximum number of prefixes in one forward pass.

    Yields:
        A longer prefix and its logits, (batch, vocabulary).
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
    """Return selected rows of a cache as a new cache.

    Only containers are copied here; `reorder_cache` creates new tensors anyway.
    """
    branch = copy.copy(cache)
    branch.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in branch.layers:
        vars(layer).update({name: dict(held) for name, held in vars(layer).items() if isinstance(held, dict)})
    branch.reorder_cache(rows)
    return branch


def _ways_on(tree: Continuations, beginnings: list[Beginning]) -> Iterator[tuple[int, Beginning]]:
    """Follow each prefix to where the words next diverge, or to the last token before they end.

    Yields:
        The index of the prefix in `beginnings`, and the prefix that it was extended to.
    """
    for place, beginning in enumerate(beginnings):
        for way in _longer(tree, beginning):
            while len(further := _longer(tree, way)) == 1:
                way = further[0]
            yield place, way


def _longer(tree: Continuations, beginning: Beginning) -> list[Beginning]:
    """Return the prefixes that are one token longer."""
    return [way for token in tree[beginning] if (way := (*beginning, token)) in tree]
