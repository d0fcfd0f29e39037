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
    """Targets of the loss for each class.

    Attributes:
        words: Tokens of the label words, (classes, label tokens), padded on the left with -100.
        tokens: For each class and each position of its word, the token of each label word that has a share there,
            (classes, label tokens, words). With neither label smoothing nor soft labels, the last dimension is 1: the
            class's own word.
        continues: Whether each of these words matches the class's own word up to this position, as 0 or 1, in the same
            shape.
        shares: Target probability of each of these tokens, in the same shape; that of rows without soft labels.
        weights: Factor by which the loss of a row of each class is multiplied, (classes,).
        smoothing: Probability that all words share, a scalar.
    """

    words: "Tensor"
    tokens: "Tensor"
    continues: "Tensor"
    shares: "Tensor"
    weights: "Tensor"
    smoothing: "Tensor"

    def to(self, device: "torch.device") -> "LabelTargets":
        """Return a copy on a device."""
        return LabelTargets(*(getattr(self, one.name).to(device) for one in fields(self)))


def label_targets(
    token_ids: list[list[int]], smoothing: float, class_weights: list[float] | None, soft: bool = False
) -> LabelTargets:
    """Build the targets: 1 - smoothing for the class's own word, and the rest shared evenly by all words.

    This is label smoothing (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567) over the label words, as in a
    classifier. Trainer smooths over the whole vocabulary instead, which leaves the odds between label words unchanged.
    A token's share is the sum of the shares of the words that continue with it, among those that match the class's own
    word up to that position.

    Args:
        token_ids: Tokens of each label word; no word is a prefix of another.
        smoothing: Probability that all words share.
        class_weights: Weight of each class, 1 on average over the train rows; None for equal weights.
        soft: Whether rows have a share of each label instead of 1 for their own.
    """
    words = left_pad(token_ids, IGNORED)
    classes, width = words.shape
    every = bool(smoothing) or soft
    tokens = torch.zeros(classes, width, classes if every else 1, dtype=torch.long)
    continues = torch.zeros(tokens.shape)
    for own, own_ids in enumerate(token_ids):
        for position, column in enumerate(range(width - len(own_ids), width)):
            for word, ids in enumerate(token_ids if every else [own_ids]):
                if ids[:position] == own_ids[:position]:
                    tokens[own, column, word] = ids[position]
                    continues[own, column, word] = 1
    own_shares = torch.eye(classes) if every else torch.ones(classes, 1)
    smooth = torch.tensor(smoothing)
    shares = _spread(own_shares, continues, smooth)
    return LabelTargets(words, tokens, continues, shares, torch.tensor(class_weights or [1.0] * classes), smooth)


def _spread(shares: "Tensor", continues: "Tensor", smoothing: "Tensor") -> "Tensor":
    """Smooth the shares of words, and spread them over the words that are still possible at each position.

    Args:
        shares: Shares of the words, (rows, words).
        continues: As in `LabelTargets`, (rows, label tokens, words).
        smoothing: Likewise.

    Returns:
        Target probabilities in the shape of `continues`.
    """
    spread = continues * (smoothing / shares.size(-1) + (1 - smoothing) * shares)[:, None]
    return spread / spread.sum(-1, keepdim=True).clamp(min=torch.finfo().tiny)


def label_word_loss(
    outputs: Any,
    labels: "Tensor",
    targets: LabelTargets,
    num_items_in_batch: "Tensor | int | None" = None,
    shares: "Tensor | None" = None,
) -> "Tensor":
    """Compute the cross-entropy of the label word's tokens over the whole vocabulary.

    Args:
        outputs: Output of a causal language model; the last positions of its logits predict `labels`.
        labels: Tokens of the label words, (batch, label tokens), padded on the left with -100; rows of only -100 are
            ignored.
        targets: Targets of each class, on the same device. Their weights are 1 on average over the train rows, so the
            loss is still divided by the number of tokens, and accumulated steps add up to one large batch.
        num_items_in_batch: Number of label tokens in the global batch, over all processes and accumulation steps.
        shares: Share of each label in each row, (batch, classes), if the labels are soft; `labels` are then the words
            of the labels with the largest share, as far as which the model reads.

    Returns:
        The loss, a scalar.
    """
    width = labels.size(1)
    log_probabilities = outputs.logits[:, -width:].float().log_softmax(-1)  # (batch, label tokens, vocabulary)
    padded = pad(labels, (targets.words.size(1) - width, 0), value=IGNORED)
    is_class = (padded[:, None] == targets.words).all(-1).float()  # (batch, classes); 0 in ignored rows
    of_row = is_class.argmax(-1)
    tokens, aims = (of_class[of_row, -width:] for of_class in (targets.tokens, targets.shares))
    if shares is not None:
        aims = _spread(shares, targets.continues[of_row, -width:], targets.smoothing)
    losses = -(log_probabilities.gather(-1, tokens) * aims).sum((-1, -2))  # (batch,)
    total = (losses * (is_class * targets.weights).sum(-1)).sum()  # no `@`: autocast would round it to bf16
    return total / (num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum())
