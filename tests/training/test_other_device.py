"""Tensors are created on the model's device, nothing synchronizes needlessly, and results equal those on the CPU."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import EvalPrediction, PreTrainedModel

from hf_sentiment_ft.label_words.model import LabelWordModel, predict_probabilities
from hf_sentiment_ft.label_words.scoring import score_label_words
from hf_sentiment_ft.label_words.verbalizer import Verbalizer
from hf_sentiment_ft.model.inputs import (
    check_attention,
    forward_arguments,
    left_pad,
    pad_on_the_right,
    right_pad_if_needed,
)

from ..other_device import OTHER, OtherDevice, OtherTensor, move
from ..tiny import base_tokenizer, tiny_model
from .test_trainer import MIXED, ONE_TOKEN, VERBALIZERS, make_trainer  # noqa: F401

SYNONYMS = Verbalizer(["neg", "pos"], [" a", " b"], [[5, 0], [6, 0]], [[" c"], []], [[[5, 7, 0]], []])
PROMPTS = [[1, 2, 3], [4, 5], [7, 8, 9, 10, 11]]
INPUTS = left_pad(PROMPTS, 600), left_pad([[1] * len(row) for row in PROMPTS], 0)


@pytest.fixture
def other() -> Iterator[OtherDevice]:
    with OtherDevice() as device:
        yield device


def ours(calls: list[str]) -> list[str]:
    """Return the calls made by this package; transformers synchronizes now and then."""
    return [call for call in calls if call.startswith("hf_sentiment_ft")]


def there(architecture: str) -> PreTrainedModel:
    model = tiny_model(architecture)
    move(model)
    return model


def test_device_refuses_what_a_gpu_would_refuse(other: OtherDevice):
    """The tests below rely on this."""
    one = torch.ones(3, device=OTHER)
    assert type(one) is type(one.cumsum(0)) is type(torch.zeros_like(one)) is type(one.new_ones(2)) is OtherTensor
    assert one.device == OTHER
    assert one[:2].cpu().device == torch.zeros(3).device == torch.device("cpu")
    for mistake in (
        lambda: one + torch.ones(3),
        lambda: one[torch.tensor([0])],
        lambda: torch.where(one > 0, one, torch.zeros(3)),
        lambda: torch.cat([torch.zeros(1), one]),
    ):
        with pytest.raises(RuntimeError, match="expected all tensors on xpu:0"):
            mistake()
    with pytest.raises(TypeError, match="to numpy"):
        one.numpy()
    assert (one * torch.tensor(2.0)).sum().item() == 6
    assert one[one > 0].tolist() == [1, 1, 1]
    assert [call.split(": ")[1] for call in other.reads] == ["cpu", "item", "__getitem__", "tolist"]


@pytest.mark.parametrize("verbalizer", [*VERBALIZERS, pytest.param(SYNONYMS, id="synonyms")])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "mistral"])
def test_scoring(architecture: str, cached: bool, verbalizer: Verbalizer, other: OtherDevice):
    def score(model: PreTrainedModel, *inputs: Tensor) -> tuple[Tensor, ...]:
        accepted = forward_arguments(model) - (set() if cached else {"past_key_values"})
        return score_label_words(model, *inputs, verbalizer, accepted)

    expected = score(tiny_model(architecture), *INPUTS)
    made = score(there(architecture), *(one.to(OTHER) for one in INPUTS))
    assert {type(one) for one in made} == {OtherTensor}
    for one, same in zip(made, expected, strict=True):
        torch.testing.assert_close(one.cpu(), same, rtol=1e-5, atol=1e-5)
    if verbalizer is not SYNONYMS:
        assert not ours(other.reads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_predict(dtype: torch.dtype, other: OtherDevice):
    tokenizer, texts = base_tokenizer("gpt2"), ["a b c", "x", "the software is provided"]
    loaded = [LabelWordModel(model.to(dtype), tokenizer, MIXED) for model in (tiny_model(), tiny_model())]
    expected = predict_probabilities(loaded[0], texts, batch_size=2)
    move(loaded[1].model)
    assert loaded[1].model.device == OTHER
    np.testing.assert_allclose(predict_probabilities(loaded[1], texts, batch_size=2), expected, rtol=1e-3)
    assert other.reads, "the other device was used"


def test_checks_of_padding(other: OtherDevice):
    model = there("llama")
    right_pad_if_needed(model, base_tokenizer("gpt2"))
    check_attention(model, base_tokenizer("gpt2"), nullcontext())
    plain = model.forward
    model.forward = pad_on_the_right(plain)
    ids, mask = (one.to(OTHER) for one in INPUTS)
    padded = model(input_ids=ids, attention_mask=mask, logits_to_keep=2).logits.cpu()
    expected = tiny_model("llama")(*INPUTS, (INPUTS[1].cumsum(-1) - 1).clamp(min=0)).logits[:, -2:]
    torch.testing.assert_close(padded, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def make_both(make_trainer: Any, other: OtherDevice, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """Return a trainer on the CPU, and one that was used there and then moved to the other device."""

    def make(verbalizer: Verbalizer, **given: Any) -> tuple[Any, Any]:
        here, away = make_trainer(verbalizer, **given), make_trainer(verbalizer, **given)
        batch = away.data_collator(list(away.train_dataset))
        away.compute_loss(away.model, batch)
        move(away.model)
        monkeypatch.setattr(
            type(away), "_prepare_inputs", lambda self, inputs: _on_device_of(self.model, original(self, inputs))
        )
        return here, away

    original = type(make_trainer())._prepare_inputs
    return make


def _on_device_of(model: PreTrainedModel, inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: one.to(model.device) if isinstance(one, Tensor) else one for name, one in inputs.items()}


@pytest.mark.parametrize("verbalizer", VERBALIZERS)
@pytest.mark.parametrize("max_tokens", [0, 100])
def test_training_step(verbalizer: Verbalizer, max_tokens: int, make_both: Any, other: OtherDevice):
    """With smoothing and class weights. From the second step on, nothing of the loss is copied to the device."""
    weights = [0.5, 1.75, 3.0][: len(verbalizer.labels)]
    trainers = make_both(verbalizer, label_smoothing_factor=0.1, class_weights=weights, max_tokens=max_tokens)
    losses = []
    for trainer in trainers:
        batch = _on_device_of(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
        for _ in range(2):
            other.copies.clear()
            loss = trainer.training_step(trainer.model, batch, torch.tensor(20, device=trainer.model.device))
        losses.append(loss.cpu())
    torch.testing.assert_close(*losses)
    for one, same in zip(*(trainer.model.parameters() for trainer in trainers), strict=True):
        torch.testing.assert_close(one.grad.cpu(), same.grad.cpu(), rtol=1e-4, atol=1e-5)
    assert not ours(other.copies)


@pytest.mark.parametrize("engine", [False, True])
@pytest.mark.parametrize("verbalizer", [ONE_TOKEN, MIXED])
def test_prediction_step(verbalizer: Verbalizer, engine: bool, make_both: Any, other: OtherDevice):
    """It synchronizes only if an engine shards the model and label words have several tokens."""
    made = []
    for trainer in make_both(verbalizer):
        trainer.is_fsdp_enabled = engine
        batch = _on_device_of(trainer.model, trainer.data_collator(list(trainer.eval_dataset)))
        other.reads.clear()
        _, predictions, labels = trainer.prediction_step(trainer.model, batch, prediction_loss_only=False)
        read = ours(other.reads)
        made.append([one.cpu() for one in (*predictions, labels)])
        output = EvalPrediction(tuple(one.numpy() for one in made[-1][:-1]), made[-1][-1].numpy())
        made[-1].append(torch.tensor(trainer.compute_metrics(output)["loss"]))
    torch.testing.assert_close(made[0], made[1], rtol=1e-5, atol=1e-5)
    assert [call.split(": ")[1] for call in read] == (["__int__"] if engine and verbalizer is MIXED else [])
