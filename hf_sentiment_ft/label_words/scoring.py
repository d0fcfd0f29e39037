"""Score the label words at the decision position; shared by evaluation and `predict`.

Label words of several tokens are scored along a trie (a prefix tree), so that tokens which words have in common are
read once. For example, if the token sequence of one label word is [1, 2, 3] and that of the next is [1, 2, 4], they
share the prefix [1, 2]: after the prompt, the logits predict 1; after the prompt and [1], they predict 2; and after the
prompt and [1, 2], they predict both 3 and 4. The score of each word is the sum of its three log-probabilities.
`Verbalizer.trie` is this trie; its prefixes here are (), (1,) and (1, 2).

Reading each word on its own would be simpler. But of 1,000 words of up to 11 tokens, such as `Toys & Games > Kits >
Vintage`, it reads 3.8 times as many tokens (SmolLM2's tokenizer); of 1,000 words that share little, 1.15 times as many.
"""

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import log_softmax

from ..model.inputs import model_inputs
from .verbalizer import BIAS, Prefix, Trie, Verbalizer

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import DynamicCache

# Memory limits for label words of several tokens. Cached prompt tokens, copies included: as many as 32 prompts of 512
# tokens have. Logits: 512 MiB in float32.
CACHED_TOKENS = 32 * 512
KEPT_LOGITS = 2**27


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
    trie, answers = verbalizer.trie, verbalizer.answers
    scores = torch.zeros(batch, len(answers), device=device)
    free = torch.full((batch, verbalizer.max_tokens), -1, device=device)
    constrained = free.clone()
    longest = max(longest, input_ids.size(1))
    for prefix, logits in _logits_after_prefixes(model, input_ids, attention_mask, verbalizer, accepted, longest):
        depth, children = len(prefix), trie[prefix]
        log_probabilities = log_softmax(logits.float(), dim=-1)  # (batch, vocabulary)
        words, tokens = zip(*((word, token) for token in children for word in children[token]), strict=True)
        scores[:, words] += log_probabilities[:, tokens]
        prefix_ids, allowed = (torch.tensor(tokens, device=device) for tokens in (prefix, sorted(children)))
        best = allowed[(logits[:, allowed].float() + BIAS).argmax(dim=-1)]  # rounded the way `generate` does
        for generated, token in ((free, log_probabilities.argmax(dim=-1)), (constrained, best)):
            here = (generated[:, :depth] == prefix_ids).all(dim=1)  # boolean indexing would synchronize with the GPU
            generated[:, depth] = torch.where(here, token, generated[:, depth])
    if verbalizer.synonyms:
        label_ids = torch.tensor([label for label, _ in answers], device=device)
        of_labels = [scores[:, label_ids == label].logsumexp(dim=1) for label in range(len(verbalizer.labels))]
        scores = torch.stack(of_labels, dim=1)
    return scores, free, constrained


def score_single_tokens(logits: "Tensor", verbalizer: Verbalizer) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Score label words of one token each, of which no label has several, from the logits of the decision positions.

    Args:
        logits: Logits, (batch, vocabulary).
        verbalizer: Label words.

    Returns:
        The same as `score_label_words`.
    """
    tokens = torch.tensor([ids[0] for ids in verbalizer.token_ids], device=logits.device)
    log_probabilities = log_softmax(logits.float(), dim=-1)
    best = tokens[(logits[:, tokens].float() + BIAS).argmax(dim=-1, keepdim=True)]  # rounded the way `generate` does
    return log_probabilities[:, tokens], log_probabilities.argmax(dim=-1, keepdim=True), best


def _logits_after_prefixes(
    model: "nn.Module",
    input_ids: "Tensor",
    attention_mask: "Tensor",
    verbalizer: Verbalizer,
    accepted: set[str],
    longest: int,
) -> Iterator[tuple[Prefix, "Tensor"]]:
    """Yield every prefix of a label word, shorter ones before longer ones, with the logits that follow it.

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
        yield from _walk_trie(model, cache, attention_mask, [()], verbalizer.trie, accepted, max(1, at_once))
        return
    known: set[Prefix] = set()
    for path in verbalizer.paths:
        path_ids = torch.tensor(path, dtype=input_ids.dtype, device=input_ids.device).expand(len(input_ids), -1)
        mask = torch.cat([attention_mask, torch.ones_like(path_ids)], dim=1)
        inputs = model_inputs(torch.cat([input_ids, path_ids], dim=1), mask, len(path) + 1, accepted)
        logits = model(**inputs).logits[:, -len(path) - 1 :]
        for depth in range(len(path) + 1):
            if (prefix := tuple(path[:depth])) not in known:
                known.add(prefix)
                yield prefix, logits[:, depth]


def _walk_trie(
    model: "nn.Module",
    cache: Any,
    mask: "Tensor",
    prefixes: list[Prefix],
    trie: Trie,
    accepted: set[str],
    at_once: int,
) -> Iterator[tuple[Prefix, "Tensor"]]:
    """Extend prefixes whose tokens are in the cache by the branches of the trie behind them, depth first.

    For [1, 2, 3, 4], [1, 2, 3, 5] and [1, 6, 7], the prefix () is extended to (1,), where the words diverge, and (1,)
    to (1, 2, 3) and (1, 6), after which only the words' last tokens remain to be predicted.

    Args:
        model: Causal language model.
        cache: Cache of prompts and prefixes: first all prompts with the first prefix, then all with the second, and so
            on.
        mask: Attention mask of the prompts followed by any one prefix, (batch, seq).
        prefixes: Prefixes to extend, all of the same length.
        trie: Trie of the label words.
        accepted: Arguments that the model's forward accepts, as returned by `forward_arguments`.
        at_once: Maximum number of branches in one forward pass.

    Yields:
        A longer prefix and its logits, (batch, vocabulary).
    """
    batch, prompts, known = len(mask), torch.arange(len(mask), device=mask.device), len(prefixes[0])
    by_length: dict[int, list[tuple[int, Prefix]]] = {}
    for parent, prefix in enumerate(prefixes):
        for branch in _branches(trie, prefix):
            by_length.setdefault(len(branch), []).append((parent, branch))
    for length, branches in by_length.items():
        longer_mask = torch.cat([mask, mask.new_ones(batch, length - known)], dim=1)
        for start in range(0, len(branches), at_once):
            parents, group = zip(*branches[start : start + at_once], strict=True)
            new_ids = torch.tensor([branch[known:] for branch in group], device=mask.device)
            new_ids = new_ids.repeat_interleave(batch, dim=0)  # (branches × batch, new tokens)
            inputs = model_inputs(new_ids, longer_mask.repeat(len(group), 1), length - known, accepted)
            group_cache = _select_rows(cache, torch.cat([prompts + parent * batch for parent in parents]))
            logits = model(**inputs, past_key_values=group_cache, use_cache=True).logits[:, known - length :]
            for branch, branch_logits in zip(group, logits.split(batch), strict=True):
                for depth in range(known, length):
                    yield branch[: depth + 1], branch_logits[:, depth - known]
            yield from _walk_trie(model, group_cache, longer_mask, list(group), trie, accepted, at_once)


def _select_rows(cache: "DynamicCache", rows: "Tensor") -> "DynamicCache":
    """Return selected rows of a cache as a new cache.

    Only containers are copied here; `reorder_cache` creates new tensors anyway.
    """
    selected = copy.copy(cache)
    selected.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in selected.layers:
        vars(layer).update({name: dict(held) for name, held in vars(layer).items() if isinstance(held, dict)})
    selected.reorder_cache(rows)
    return selected


def _branches(trie: Trie, prefix: Prefix) -> Iterator[Prefix]:
    """Yield each branch behind a prefix, up to where the words diverge again or only their last tokens are missing."""
    for child in _children(trie, prefix):
        while len(only := _children(trie, child)) == 1:
            child = only[0]
        yield child


def _children(trie: Trie, prefix: Prefix) -> list[Prefix]:
    """Return the prefixes that are one token longer."""
    return [child for token in trie[prefix] if (child := (*prefix, token)) in trie]
