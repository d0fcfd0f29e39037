"""Classes of different sizes: how the loss weights them."""

from typing import Any

import pytest
import torch

from hf_sentiment_ft.verbalizer import Verbalizer

from .test_trainer import MIXED, ONE_TOKEN, make_trainer, reference_loss  # noqa: F401
from .tiny import tiny_model

WEIGHTS = [0.5, 1.75, 3.0]


def weighted(trainer: Any, weights: list[float] | None) -> Any:
    trainer.class_weights = weights
    return trainer


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("verbalizer", [ONE_TOKEN, MIXED])
def test_each_row_counts_by_the_weight_of_its_class(verbalizer: Verbalizer, accumulation: int, make_trainer: Any):  # noqa: F811
    """Also in a batch without the longest label word, whose last tokens another one may share."""
    weights = WEIGHTS[: len(verbalizer.labels)]
    trainer = weighted(
        make_trainer(
            verbalizer, per_device_train_batch_size=12 // accumulation, gradient_accumulation_steps=accumulation
        ),
        weights,
    )
    rows, model = trainer.train_dataset, tiny_model()
    tokens = [len(row["labels"]) for row in rows]
    of_row = [weights[verbalizer.token_ids.index(row["labels"])] for row in rows]
    losses = [reference_loss(model, rows.select([number])).item() for number in range(len(rows))]
    expected = sum(w * n * loss for w, n, loss in zip(of_row, tokens, losses, strict=True)) / sum(tokens)
    assert trainer.train().training_loss == pytest.approx(expected, rel=1e-4)


def test_a_word_that_ends_like_another_has_its_own_weight(make_trainer: Any):  # noqa: F811
    trainer = weighted(make_trainer(Verbalizer(["a", "b"], [" a", " b"], [[5, 0], [6, 5, 0]])), [2.0, 3.0])
    assert trainer._row_weights(torch.tensor([[5, 0], [5, 0]])).tolist() == [2.0, 2.0]
    assert trainer._row_weights(torch.tensor([[6, 5, 0], [-100, 5, 0]])).tolist() == [3.0, 2.0]
    assert trainer._row_weights(torch.tensor([[-100]])).tolist() == [0.0], "a row without a label word"


def test_evaluation_is_not_weighted(make_trainer: Any):  # noqa: F811
    losses = [weighted(make_trainer(), weights).evaluate()["eval_loss"] for weights in (None, WEIGHTS)]
    assert losses[0] == losses[1]
