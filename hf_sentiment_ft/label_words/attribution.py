"""Which words of a text an answer depends on: leave them out, one at a time (occlusion).

Zeiler and Fergus 2014 (https://arxiv.org/abs/1311.2901) did so with parts of images. The importance of a word says what
this model would have answered without it, not what the word means, and two words that say the same hide each other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .model import LabelWordModel, predict_probabilities

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_WORD = 40  # characters; longer ones, such as a line of symbols, are left out in parts
SPACELESS = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces between words
)
WORD = rf"(?=[{SPACELESS}])\X|[^\s{SPACELESS}]+"  # \X is a letter with its marks, or an emoji with its parts


@dataclass(frozen=True)
class WordImportance:
    """How much an answer depends on a word, or on a group of neighboring words.

    Attributes:
        start: Where it begins in the text, in characters.
        end: Where it ends.
        importance: Probability of the predicted label minus that without the word; negative if the word speaks for
            another label.
    """

    start: int
    end: int
    importance: float


def word_importance(
    loaded: LabelWordModel, text: str, label: int | None = None, batch_size: int = 32, max_passes: int = 32
) -> list[WordImportance]:
    """Measure how much each word of a text contributes to the model's answer.

    Only the part of the text that the model reads is measured. Words are left out in groups if there are more of them
    than forward passes; in scripts without spaces between words, characters take their place.

    Args:
        loaded: Trained model.
        text: Text without the prompt.
        label: Class id whose probability is measured; None for the predicted label.
        batch_size: Number of texts that go through the model at once.
        max_passes: Maximum number of texts that go through the model, one of which is the whole text.

    Returns:
        The words or groups of words, in the order of the text; empty for a text without words.
    """
    start, end = _part_read(loaded.tokenizer, text)
    words = _words(text, start, end)
    if not words:
        return []
    groups = np.array_split(np.array(words), min(len(words), max(1, max_passes - 1)))
    spans = [(int(group[0, 0]), int(group[-1, 1])) for group in groups]
    shorter = [text[start:first] + text[last:end].lstrip() for first, last in spans]
    shorter[-1] = shorter[-1].rstrip()  # a space at the end would change how the prompt is read
    probabilities = predict_probabilities(loaded, [text, *shorter], batch_size)
    label = int(probabilities[0].argmax()) if label is None else label
    lost = probabilities[0, label] - probabilities[1:, label]
    return [WordImportance(*span, float(importance)) for span, importance in zip(spans, lost, strict=True)]


def _part_read(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, int]:
    """Return where the part of a text begins and ends that is left of it when it is truncated for the model."""
    offsets = tokenizer(text, truncation=True, return_offsets_mapping=True).offset_mapping
    read = [offset for offset in offsets if offset[0] < offset[1]]  # tokens of the prompt have no place in the text
    return (read[0][0], read[-1][1]) if read else (0, 0)


def _words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    import regex

    words = []
    for found in regex.finditer(WORD, text, pos=start, endpos=end):
        long = found.end() - found.start() > LONGEST_WORD
        parts = regex.finditer(r"\X", text, pos=found.start(), endpos=found.end()) if long else [found]
        words += [part.span() for part in parts]
    return words
