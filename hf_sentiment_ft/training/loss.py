"""The training loss: cross-entropy of the label word's tokens."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from ..data.sampling import IGNORED
from ..model.inputs import left_pad

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelTargets:
    """What the loss wants of each class.

    Attributes:
        words: Tokens of the label words, (classes, label tokens), on the right; -100 where a shorter word leaves room.
        tokens: The token of each word with a share at each position of the class's own word, (classes, label tokens,
            words).
        shares: The probability that each of these tokens should have, of the same shape.
        weights: What the loss of a row of each class is multiplied by, (classes,).
    """

    words: "Tensor"
    tokens: "Tensor"
    shares: "Tensor"
    weights: "Tensor"

    def to(self, device: "torch.device") -> "LabelTargets":
        """The same on a device."""
        return LabelTargets(*(getattr(self, one.name).to(device) for one in fields(self)))


def label_targets(token_ids: list[list[int]], smoothing: float, class_weights: list[float] | None) -> LabelTargets:
    """Give the class's own word 1 - smoothing of the probability, and let all words share the rest evenly.

    This is label smoothing (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567) over the label words, as a
    classifier has it. Spread over the vocabulary, as Trainer does, it leaves the odds between label words what they
    were. A token gets the share of the words that it goes on with, among those that agree with the class's own word
    so far.

    Args:
        token_ids: Tokens of each label word, none the beginning of another.
        smoothing: The part that is shared.
        class_weights: 1 on average over the train rows; None for 1.
    """
    words = left_pad(token_ids, IGNORED)
    classes, width = words.shape
    tokens = torch.zeros(classes, width, classes if smoothing else 1, dtype=torch.long)
    shares = torch.zeros(tokens.shape)
    for own, own_ids in enumerate(token_ids):
        for position, column in enumerate(range(width - len(own_ids), width)):
            for word, ids in enumerate(token_ids if smoothing else [own_ids]):
                if ids[:position] == own_ids[:position]:
                    tokens[own, column, word] = ids[position]
                    shares[own, column, word] = smoothing / classes + (1 - smoothing) * (ids == own_ids)
    shares /= shares.sum(-1, keepdim=True).clamp(min=torch.finfo().tiny)
    return LabelTargets(words, tokens, shares, torch.tensor(class_weights or [1.0] * classes))


def label_word_loss(
    outputs: Any, labels: "Tensor", targets: LabelTargets, num_items_in_batch: "Tensor | int | None" = None
) -> "Tensor":
    """Cross-entropy of the label word's tokens over the whole vocabulary.

    Args:
        outputs: A causal language model's output; the last positions of its logits predict `labels`.
        labels: (batch, label tokens), on the right; -100 where a shorter word leaves room, and in rows that count for
            nothing.
        targets: What is wanted of each class, on the same device. Their weights are 1 on average over train, so the
            number of tokens stays the divisor, and accumulated steps stay one big batch.
        num_items_in_batch: Label tokens of the global batch, all processes and accumulation steps together.
    """
    width = labels.size(1)
    log_probabilities = outputs.logits[:, -width:].float().log_softmax(-1)  # (batch, label tokens, vocabulary)
    padded = pad(labels, (targets.words.size(1) - width, 0), value=IGNORED)
    is_class = (padded[:, None] == targets.words).all(-1).float()  # (batch, classes); 0 in rows that count for nothing
    of_row = is_class.argmax(-1)
    tokens, shares = (of_class[of_row, -width:] for of_class in (targets.tokens, targets.shares))
    losses = -(log_probabilities.gather(-1, tokens) * shares).sum((-1, -2))  # (batch,)
    total = (losses * (is_class * targets.weights).sum(-1)).sum()  # no `@`: autocast would round it to bf16
    return total / (num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum())
