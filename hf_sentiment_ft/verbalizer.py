"""Label ↔ label word ↔ token ids (a verbalizer; Schick and Schütze 2021, https://arxiv.org/abs/2001.07676)."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError
from .prompt import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

READABLE_LABELS = {"neg": "negative", "pos": "positive", "neu": "neutral"}


@dataclass(frozen=True)
class Verbalizer:
    """The label words of one run.

    Attributes:
        labels: What the data set says, in the order of its class ids.
        words: What the model says, in the same order, leading space included.
        token_ids: The tokens that the model generates for each word. Where words differ in their number of tokens, the
            shorter ones end in the end-of-text token, so that generation stops there.
    """

    labels: list[str]
    words: list[str]
    token_ids: list[list[int]]

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest label word."""
        return max(map(len, self.token_ids))

    @property
    def paths(self) -> list[list[int]]:
        """The shortest list of token sequences behind the prompt from which every label token can be predicted.

        Words of one token need only the empty one.
        """
        starts = sorted({tuple(ids[:-1]) for ids in self.token_ids}, key=len, reverse=True)
        kept: list[tuple[int, ...]] = []
        for start in starts:
            if not any(longer[: len(start)] == start for longer in kept):
                kept.append(start)
        return [list(start) for start in kept]

    def label_of(self, generated: list[int]) -> int:
        """The id of the label whose word these generated tokens are, -1 if they are none's.

        Args:
            generated: Token ids; -1 stands for tokens that were not followed up.
        """
        tokens = [token for token in generated if token >= 0]
        return self.token_ids.index(tokens) if tokens in self.token_ids else -1


def choose_label_words(labels: list[str], label_words: str | None) -> list[str]:
    """Return the word for each label, from `--label_words` or by default.

    Args:
        labels: The data set's label names in the order of their ids.
        label_words: A JSON object, a JSON list, words separated by commas, or None.

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
    for label, word in zip(labels, given, strict=True):
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f"--label_words has {word!r} for label {label!r}; expected a word.")
    return given


def build_verbalizer(
    tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, labels: list[str], words: list[str]
) -> Verbalizer:
    """Find the tokens of each label word as they follow the prompt's ending.

    Word and ending are tokenized jointly, as the model has read them in pretraining (lm-evaluation-harness does so
    too). A word that would merge with the ending's last token is refused: the model could then never be asked for it.

    Raises:
        UsageError: If a word merges with the ending, or two words have the same tokens.
    """

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, split_special_tokens=False).input_ids)

    ending = encode(prompt.ending)
    token_ids: list[list[int]] = []
    for word in words:
        joint = encode(prompt.ending + word)
        if joint[: len(ending)] != ending or len(joint) == len(ending):
            raise UsageError(
                f"the label word {word!r} merges with the end of the prompt, {prompt.ending!r}; "
                "put the space at the beginning of the label word, not at the end of --prompt_template."
            )
        token_ids.append(joint[len(ending) :])
    if len(set(map(len, token_ids))) > 1:
        if tokenizer.eos_token_id is None:
            raise UsageError(
                "the label words have different numbers of tokens, and this model's tokenizer has no end-of-text token "
                f"to end the shorter ones: {dict(zip(words, token_ids, strict=True))}; choose words of equal length."
            )
        longest = max(map(len, token_ids))
        token_ids = [ids if len(ids) == longest else [*ids, tokenizer.eos_token_id] for ids in token_ids]
    for first in range(len(words)):
        for second in range(first):
            if token_ids[first] == token_ids[second]:
                raise UsageError(
                    f"labels {labels[second]!r} and {labels[first]!r} have label words of the same tokens: "
                    f"{words[second]!r} and {words[first]!r}; choose different ones with --label_words."
                )
    return Verbalizer(labels, words, token_ids)
