"""Label ↔ label word ↔ token ids (a verbalizer; Schick and Schütze 2021, https://arxiv.org/abs/2001.07676)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..data.labels import label_numbers
from ..errors import UsageError
from .prompt import Prompt

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

# A trie (prefix tree) of token sequences: for every prefix, the possible next tokens, each with the words that have it.
Prefix = tuple[int, ...]
Trie = dict[Prefix, dict[int, list[int]]]

READABLE_LABELS = {"neg": "negative", "pos": "positive", "neu": "neutral"}


@dataclass(frozen=True)
class Verbalizer:
    """The label words of one run.

    Attributes:
        labels: Label names of the dataset, in the order of its class ids.
        words: Words that the model learns to generate, in the same order, including a leading space.
        token_ids: Tokens that the model generates for each word. If words differ in their number of tokens, the shorter
            ones end in the end-of-text token, so that generation stops there.
        synonyms: Further words of each label, which also count as that label; empty if no label has any.
        synonym_ids: Tokens of the synonyms.
        order: Labels from the lowest to the highest, as `--ordered_labels` gives them; empty if it is not given.
    """

    labels: list[str]
    words: list[str]
    token_ids: list[list[int]]
    synonyms: list[list[str]] = field(default_factory=list)
    synonym_ids: list[list[list[int]]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> list[float] | None:
        """Return the number of each label where labels have an order, otherwise None."""
        if self.order:
            return [1.0 + self.order.index(label) for label in self.labels]
        return label_numbers(self.labels)

    @property
    def answers(self) -> list[tuple[int, list[int]]]:
        """Return the label id and the tokens of every word: first those of `words`, then the synonyms."""
        synonyms = [(label, ids) for label, words in enumerate(self.synonym_ids) for ids in words]
        return [*enumerate(self.token_ids), *synonyms]

    @property
    def max_tokens(self) -> int:
        """Return the number of tokens of the longest label word."""
        return max(len(ids) for _, ids in self.answers)

    @property
    def trie(self) -> Trie:
        """Return the label words as a trie, in which words are given by their index in `answers`.

        For example, if the words' token sequences are [1, 2, 3] and [1, 2, 4], the trie is `{(): {1: [0, 1]}, (1,): {2:
        [0, 1]}, (1, 2): {3: [0], 4: [1]}}`.
        """
        trie: Trie = {}
        for word, (_, ids) in enumerate(self.answers):
            for depth, token in enumerate(ids):
                trie.setdefault(tuple(ids[:depth]), {}).setdefault(token, []).append(word)
        return trie

    @property
    def paths(self) -> list[list[int]]:
        """Return the shortest list of token sequences to append to the prompt so that every label token is predicted.

        Words of one token only need the empty sequence. For [1, 2, 3] and [1, 2, 4], the sequence [1, 2] is enough: its
        logits predict the first, second and third token of both words.
        """
        trie = self.trie
        leaves = [
            prefix for prefix, children in trie.items() if not any((*prefix, token) in trie for token in children)
        ]
        return [list(prefix) for prefix in sorted(leaves, key=len, reverse=True)]

    def label_of(self, generated: list[int]) -> int:
        """Return the id of the label whose word was generated, or -1 if the tokens are not a label word.

        Args:
            generated: Generated token ids; -1 marks unused positions.
        """
        tokens = [token for token in generated if token >= 0]
        return next((label for label, ids in self.answers if ids == tokens), -1)


def read_order(labels: list[str], ordered_labels: str | None) -> list[str]:
    """Return the labels from the lowest to the highest, as `--ordered_labels` names them; empty if it is not given.

    Args:
        labels: Label names of the dataset.
        ordered_labels: Value of the flag.

    Raises:
        UsageError: If it does not name each label once, or there are only two.
    """
    if ordered_labels is None:
        return []
    given = [label.strip() for label in ordered_labels.split(",")]
    if sorted(given) != sorted(labels):
        raise UsageError(
            f"--ordered_labels is {ordered_labels!r}; expected each of these labels once, from the lowest to the "
            f"highest, separated by commas: {', '.join(labels)}."
        )
    if len(given) < 3:
        raise UsageError(f"--ordered_labels is {ordered_labels!r}; the order of two labels changes nothing. Remove it.")
    return given


def choose_label_words(labels: list[str], label_words: str | None) -> Sequence[str | list[str]]:
    """Return the word, or the list of words, for each label, from `--label_words` or by default.

    Args:
        labels: Label names of the dataset, in the order of their ids.
        label_words: JSON object or list, in which each word may also be a list of words; words separated by commas; or
            None for the default words.

    Raises:
        UsageError: If words and labels do not match one to one.
    """
    if label_words is None:
        return [" " + READABLE_LABELS.get(label.lower(), label.replace("_", " ").strip()) for label in labels]
    try:
        given = json.loads(label_words) if label_words.lstrip()[:1] in ("{", "[") else label_words.split(",")
    except json.JSONDecodeError as error:
        raise UsageError(f"--label_words is {label_words!r}, which is not valid JSON: {error}.") from error
    expected = f"expected one for each of the {len(labels)} labels: {', '.join(labels)}."
    if isinstance(given, dict):
        if set(given) != set(labels):
            raise UsageError(f"--label_words has words for {', '.join(map(str, given))}; {expected}")
        given = [given[label] for label in labels]
    if len(given) != len(labels):
        raise UsageError(f"--label_words has {len(given)} words: {given}; {expected}")
    for label, words in zip(labels, given, strict=True):
        several = words if isinstance(words, list) and words else [words]
        if not all(isinstance(word, str) and word.strip() for word in several):
            raise UsageError(f"--label_words has {words!r} for label {label!r}; expected a word, or a list of words.")
    return given


def build_verbalizer(
    tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, labels: list[str], words: Sequence[str | list[str]]
) -> Verbalizer:
    """Find the tokens of each label word as it follows the prompt's ending.

    Word and ending are tokenized together, as the model has seen them in pretraining (lm-evaluation-harness does the
    same). A word that would merge with the ending's last token is refused, since the model could then never be asked
    for it: its tokens could not be separated from those of the prompt.

    Args:
        tokenizer: Tokenizer of the base model.
        prompt: Prompt before the word.
        labels: Label names.
        words: Word or list of words of each label. The first word is learned; all are scored and count as answers.

    Raises:
        UsageError: If a word merges with the ending, or two words have the same tokens.
    """
    of_labels = [[given] if isinstance(given, str) else given for given in words]
    # First the first word of every label, then the others.
    labelled = [(label, given[0]) for label, given in zip(labels, of_labels, strict=True)]
    labelled += [(label, word) for label, given in zip(labels, of_labels, strict=True) for word in given[1:]]
    every_word = [word for _, word in labelled]
    token_ids = []
    for word, tokens in zip(every_word, tokens_after(tokenizer, prompt, every_word), strict=True):
        if tokens is None:
            raise UsageError(
                f"the label word {word!r} merges with the end of the prompt, {prompt.ending!r}; "
                "put the space at the beginning of the label word, not at the end of --prompt_template."
            )
        token_ids.append(tokens)
    token_ids = _end_shorter_words(tokenizer, every_word, token_ids)
    seen: dict[tuple[int, ...], tuple[str, str]] = {}
    for (label, word), ids in zip(labelled, map(tuple, token_ids), strict=True):
        if ids in seen:
            other_label, other_word = seen[ids]
            raise UsageError(
                f"labels {other_label!r} and {label!r} have label words with the same tokens: "
                f"{other_word!r} and {word!r}; use different ones in --label_words."
            )
        seen[ids] = (label, word)
    others = iter(token_ids[len(labels) :])
    synonyms = [given[1:] for given in of_labels]
    synonym_ids = [[next(others) for _ in given] for given in synonyms]
    if not any(synonyms):
        synonyms, synonym_ids = [], []
    return Verbalizer(labels, [given[0] for given in of_labels], token_ids[: len(labels)], synonyms, synonym_ids)


def tokens_after(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, words: list[str]) -> list[list[int] | None]:
    """Return the tokens of each word as it follows the prompt's ending, or None if it merges with the ending."""

    def encode(texts: list[str]) -> list[list[int]]:
        return list(tokenizer(texts, add_special_tokens=False, split_special_tokens=False).input_ids)

    ending = encode([prompt.ending])[0]
    size = len(ending)
    joint = encode([prompt.ending + word for word in words])
    return [ids[size:] if ids[:size] == ending and len(ids) > size else None for ids in joint]


def _end_shorter_words(
    tokenizer: "PreTrainedTokenizerBase", words: list[str], token_ids: list[list[int]]
) -> list[list[int]]:
    """Append the end-of-text token to the words that are shorter than the longest one."""
    longest = max(map(len, token_ids))
    if all(len(ids) == longest for ids in token_ids):
        return token_ids
    if tokenizer.eos_token_id is None:
        raise UsageError(
            "the label words have different numbers of tokens, and this model's tokenizer has no end-of-text token "
            f"to end the shorter ones: {dict(zip(words, token_ids, strict=True))}; "
            "use --label_words with the same number of tokens."
        )
    return [ids if len(ids) == longest else [*ids, tokenizer.eos_token_id] for ids in token_ids]


# Far larger than the differences between a model's logits, yet small enough for float32 to resolve sums to 0.00003.
BIAS = 256.0

SequenceBias = list[list[list[int] | float]]


def label_words_only(
    verbalizer: "Verbalizer", ending_ids: list[int], log_prior: "Sequence[float] | np.ndarray[Any, Any] | None" = None
) -> SequenceBias:
    """Build the `sequence_bias` that makes greedy generation after the prompt return a label word.

    For words of one token, this is the word with the best score. For longer words, generation picks the best of those
    tokens that still lead to a word, which is not necessarily the word with the best total score.

    Args:
        verbalizer: Label words.
        ending_ids: Token ids of the prompt after the text.
        log_prior: Value that calibration subtracts from the score of each label, (num_labels,). It is only used if
            `calibrates_generation` returns True.

    Raises:
        UsageError: If the end of the prompt also occurs within the label words.
    """
    end = _unmistakable_end(verbalizer, ending_ids)
    trie = verbalizer.trie
    bias: SequenceBias = [[[*end, *prefix, token], BIAS] for prefix, children in trie.items() for token in children]
    if log_prior is not None and calibrates_generation(verbalizer):
        for entry, label in zip(bias, range(len(verbalizer.labels)), strict=True):
            entry[1] = BIAS - float(log_prior[label])
    return bias


def calibrates_generation(verbalizer: "Verbalizer") -> bool:
    """Return whether calibration can also change what is generated: each label has one word, of one token."""
    return verbalizer.max_tokens == 1 and not verbalizer.synonyms


def _unmistakable_end(verbalizer: "Verbalizer", ending_ids: list[int]) -> list[int]:
    """Return the shortest end of the prompt that does not occur again while a label word is generated."""
    unfinished = [ids[:length] for _, ids in verbalizer.answers for length in range(1, len(ids))]
    for size in range(1, len(ending_ids) + 1):
        end = ending_ids[-size:]
        if not any([*end, *ids][-size:] == end for ids in unfinished):
            return end
    raise UsageError(
        "a label word repeats the whole end of the prompt, so generation cannot be constrained to label words; use "
        "another word with --label_words or another --prompt_template, or pass --no_constrain_generation."
    )
