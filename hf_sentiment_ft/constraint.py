"""Generation that can say nothing but a label word, by the model's own generation config, without code of ours.

`GenerationConfig.sequence_bias` adds to the logit of a token when the tokens before it are those of a sequence. Each
sequence here is the end of the prompt and a beginning of a label word, so that nothing in the text can set it off.
"""

from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from .verbalizer import Verbalizer

# Far above the differences between a model's logits, and small enough for float32 to tell sums apart by 0.00003.
BIAS = 256.0

SequenceBias = list[list[list[int] | float]]


def label_words_only(
    verbalizer: "Verbalizer", ending_ids: list[int], log_prior: "np.ndarray[Any, Any] | None" = None
) -> SequenceBias:
    """Make the `sequence_bias` under which greedy generation behind the prompt says a label word.

    For words of one token, that is the word with the best score. For longer ones, each token is the best of those that
    still lead to a word, which need not make the word that is best as a whole.

    Args:
        verbalizer: The label words.
        ending_ids: The prompt's tokens behind the text.
        log_prior: What calibration takes off the score of each label, where `calibrates_generation` says that it can.

    Raises:
        UsageError: If the end of the prompt cannot be told from label words.
    """
    end = _unmistakable_end(verbalizer, ending_ids)
    tree = verbalizer.continuations
    bias: SequenceBias = [[[*end, *prefix, token], BIAS] for prefix, following in tree.items() for token in following]
    if log_prior is not None and calibrates_generation(verbalizer):
        for entry, label in zip(bias, range(len(verbalizer.labels)), strict=True):
            entry[1] = BIAS - float(log_prior[label])
    return bias


def calibrates_generation(verbalizer: "Verbalizer") -> bool:
    """Whether generation can take calibration into account: each label has one word, of one token."""
    return verbalizer.max_tokens == 1 and not verbalizer.synonyms


def _unmistakable_end(verbalizer: "Verbalizer", ending_ids: list[int]) -> list[int]:
    """The shortest end of the prompt that does not come up again while a label word is being said."""
    begun = [ids[:length] for _, ids in verbalizer.spellings for length in range(1, len(ids))]
    for size in range(1, len(ending_ids) + 1):
        end = ending_ids[-size:]
        if not any([*end, *start][-size:] == end for start in begun):
            return end
    raise UsageError(
        "a label word repeats the whole end of the prompt, so generation cannot be constrained to label words; choose "
        "another word with --label_words or another --prompt_template, or pass --no_constrain_generation."
    )
