"""The training loss of the label words, and how classes are weighted."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hf_sentiment_ft.label_words.verbalizer import Verbalizer
from hf_sentiment_ft.training.loss import label_targets, label_word_loss

from ..tiny import tiny_model
from .test_trainer import MIXED, ONE_TOKEN, VERBALIZERS, make_trainer, reference_loss  # noqa: F401

WEIGHTS = [0.5, 1.75, 3.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("verbalizer", VERBALIZERS)
def test_loss_is_that_of_the_label_words_tokens(verbalizer: Verbalizer, smoothing: float, make_trainer: Any):  # noqa: F811
    trainer = make_trainer(verbalizer, label_smoothing_factor=smoothing, per_device_train_batch_size=12)
    expected = reference_loss(tiny_model(), trainer.train_dataset, verbalizer, smoothing)
    batch = trainer.data_collator(list(trainer.train_dataset))
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch), expected, rtol=1e-5, atol=1e-5)
    assert trainer.train().training_loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("verbalizer", [ONE_TOKEN, MIXED])
def test_each_row_counts_by_the_weight_of_its_class(verbalizer: Verbalizer, accumulation: int, make_trainer: Any):  # noqa: F811
    """This also holds in a batch without the longest label word, whose last tokens another word may share."""
    weights = WEIGHTS[: len(verbalizer.labels)]
    trainer = make_trainer(
        verbalizer,
        class_weights=weights,
        per_device_train_batch_size=12 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    rows, model = trainer.train_dataset, tiny_model()
    tokens = [len(row["labels"]) for row in rows]
    of_row = [weights[verbalizer.token_ids.index(row["labels"])] for row in rows]
    losses = [reference_loss(model, rows.select([number]), verbalizer).item() for number in range(len(rows))]
    expected = sum(w * n * loss for w, n, loss in zip(of_row, tokens, losses, strict=True)) / sum(tokens)
    assert trainer.train().training_loss == pytest.approx(expected, rel=1e-4)


def test_a_word_that_ends_like_another_has_its_own_weight():
    targets = label_targets([[5, 0], [6, 5, 0]], smoothing=0.0, class_weights=[2.0, 3.0])

    def weights(*labels: list[int]) -> float:
        """Return the loss, divided by that of one token out of eight equally likely ones."""
        logits = torch.zeros(len(labels), len(labels[0]), 8)
        loss = label_word_loss(SimpleNamespace(logits=logits), torch.tensor(labels), targets, num_items_in_batch=1)
        return loss.item() / math.log(8)

    assert weights([5, 0], [5, 0]) == pytest.approx(2 * (2.0 + 2.0))
    assert weights([6, 5, 0], [-100, 5, 0]) == pytest.approx(3 * 3.0 + 2 * 2.0)
    assert weights([-100]) == 0, "a row without a label word"


def test_autocast_does_not_round_the_loss():
    targets = label_targets([[5], [6]], smoothing=0.1, class_weights=[0.7, 1.3])
    outputs = SimpleNamespace(logits=torch.randn(3, 1, 8, generator=torch.Generator().manual_seed(0)))
    labels = torch.tensor([[5], [6], [5]])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = label_word_loss(outputs, labels, targets)
    assert rounded == label_word_loss(outputs, labels, targets)


def test_evaluation_is_not_weighted(make_trainer: Any):  # noqa: F811
    losses = [make_trainer(class_weights=weights).evaluate()["eval_loss"] for weights in (None, WEIGHTS)]
    assert losses[0] == losses[1]
