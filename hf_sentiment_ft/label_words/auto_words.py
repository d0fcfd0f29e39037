"""Choose label words of one token for labels that have none, for `--label_words auto`.

A label's own words come first, since people will read them: "Toys & Games" becomes " Games". For a label without such a
word, the words of its train texts are ranked by bi-normal separation (Forman 2003,
https://www.jmlr.org/papers/v3/forman03a.html). This needs neither the model nor an exchange between processes. Ranking
the vocabulary by the untouched model's likelihood ratio (Schick et al. 2020, https://arxiv.org/abs/2010.13641) gives
better answers before training; see docs/measured.md.
"""

import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ..data.sampling import sample_per_class
from ..errors import UsageError
from .prompt import Prompt
from .verbalizer import choose_label_words, tokens_after

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

AUTO = "auto"

WORD = re.compile(r"\d+|[^\W\d_]+")
# Chinese and Japanese are written without spaces, and most of their words have two characters.
PAIR = re.compile(r"(?=([\u3040-\u30ff\u3400-\u9fff]{2}))")
MAX_ROWS = 100_000  # of the train split, the same number for each label
MAX_WORDS = 500  # per label, the best ones of its texts
SHORTEST = 3  # letters of a word that is taken from the texts, unless its script has no lower case


class Candidate(NamedTuple):
    """A word of one token."""

    word: str
    token: int


def choose_single_tokens(
    tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, labels: list[str], train: "Dataset"
) -> list[str]:
    """Return the default word of each label if it is a single token, otherwise another word that is.

    The choice depends on nothing but the arguments, so that all processes, and a resumed run, make the same one.

    Args:
        tokenizer: Tokenizer of the base model.
        prompt: Prompt before the word.
        labels: Label names.
        train: Train split, with the columns `text` and `label` (a class id).

    Raises:
        UsageError: If a label has no word of one token, nor do its texts.
    """
    defaults = [str(word) for word in choose_label_words(labels, None)]
    chosen: dict[int, str] = {}
    taken = {tokenizer.unk_token_id}
    for label, ids in enumerate(tokens_after(tokenizer, prompt, defaults)):
        if ids and len(ids) == 1 and ids[0] not in taken:
            chosen[label] = defaults[label]
            taken.add(ids[0])
    own = [_candidates(tokenizer, prompt, words) for words in _own_words(labels, defaults)]
    counts: list[Counter[str]] = []
    # The labels with the fewest words of their own choose first.
    for label in sorted(set(range(len(labels))) - set(chosen), key=lambda label: len(own[label])):
        source, free = "its own words", [one for one in own[label] if one.token not in taken]
        if not free:
            counts = counts or _count_words(train, len(labels))
            words = _candidates(tokenizer, prompt, _telling_words(counts, label))
            source, free = "the words of its train texts", [one for one in words if one.token not in taken]
        if not free:
            raise UsageError(
                f"--label_words auto found no word of one token for the label {labels[label]!r}, neither in its name "
                "nor in its train texts. Pass a word for each label in --label_words."
            )
        chosen[label] = free[0].word
        taken.add(free[0].token)
        runner_up = f"the runner-up is {free[1].word!r}" if len(free) > 1 else "there is no other"
        logger.info("Label word of %r: %r, from %s; %s.", labels[label], free[0].word, source, runner_up)
    return [chosen[label] for label in range(len(labels))]


def _own_words(labels: list[str], defaults: list[str]) -> list[list[str]]:
    """Return the words of each label: its whole name, then those that no other label has, the longest first."""
    parts = [
        WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)) + PAIR.findall(name)  # billingDispute: two words
        for name in labels
    ]
    shared = Counter(part for names in parts for part in {name.lower() for name in names})
    return [
        [default.strip(), *sorted((part for part in names if shared[part.lower()] == 1), key=len, reverse=True)]
        for default, names in zip(defaults, parts, strict=True)
    ]


def _candidates(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, words: list[str]) -> list[Candidate]:
    """Return the words that are one token in one of their forms, in the same order, without repetition."""
    forms = [form for word in words for form in _forms(word)]
    ids_of = dict(zip(forms, tokens_after(tokenizer, prompt, forms), strict=True)) if forms else {}
    found: dict[int, Candidate] = {}
    for word in words:
        for form in _forms(word):
            ids = ids_of[form] or []
            if len(ids) == 1:
                found.setdefault(ids[0], Candidate(form, ids[0]))
                break
    return list(found.values())


def _forms(word: str) -> list[str]:
    """Return how a word may be written: with a space, in other cases, and without a space if it has no case."""
    if word.lower() == word.upper():
        return [f" {word}", word]
    return list(dict.fromkeys(f" {form}" for form in (word, word.lower(), word.capitalize())))


def _count_words(train: "Dataset", num_labels: int) -> list["Counter[str]"]:
    """Count in how many train texts of each label each word occurs, and at the end, in how many of all labels.

    The key "" counts the texts themselves.
    """
    import numpy as np

    rows = train.select(sample_per_class(np.asarray(train["label"][:]), max(1, MAX_ROWS // num_labels), seed=0))
    counts = [Counter[str]() for _ in range(num_labels)]
    for text, label in zip(rows["text"], rows["label"], strict=True):
        words = {word for word in WORD.findall(text) if len(word) >= SHORTEST or word.lower() == word.upper()}
        counts[label].update({"", *words, *PAIR.findall(text)})
    total = Counter[str]()
    for count in counts:
        total.update(count)
    return [*counts, total]


def _telling_words(counts: list["Counter[str]"], label: int) -> list[str]:
    """Return the words that are more frequent in a label's texts than in the others, the most telling first."""
    import numpy as np
    from scipy.special import ndtri

    words = ["", *sorted(filter(None, counts[label]))]  # the order of a set of strings differs between processes
    inside = np.array([counts[label][word] for word in words])
    outside = np.array([counts[-1][word] for word in words]) - inside
    # The first count is that of the texts; half an occurrence more keeps the rates away from 0 and 1.
    rates = ((count + 0.5) / (count[0] + 1) for count in (inside, outside))
    separation = np.subtract(*map(ndtri, rates))
    best = [number for number in np.argsort(-separation, kind="stable") if separation[number] > 0 and number > 0]
    return [words[number] for number in best[:MAX_WORDS]]
