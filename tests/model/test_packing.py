"""Questions that are packed behind one text get the logits of questions in rows of their own."""

import pytest
import torch

from hf_sentiment_ft.model.packing import pack, pack_batch, packed_inputs, reads_packed, unpack

from ..tiny import tiny_model

PROMPTS = [
    [[1, 2, 3, 4, 9], [1, 2, 3, 5, 6, 9], [1, 2, 3, 7, 9]],
    [[8, 2, 4, 9], [8, 2, 5, 6, 9], [8, 2, 7, 9]],
    [[5, 4, 9], [5, 4, 9, 9, 9], [5, 4, 9]],  # a question that begins like another one goes on
]


@pytest.mark.parametrize("prompts", PROMPTS)
def test_packed_prompts_can_be_unpacked(prompts: list[list[int]]):
    packed, lengths = pack(prompts)
    assert unpack(packed, lengths) == prompts
    assert len(packed) < sum(map(len, prompts))
    assert min(lengths) >= 1


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_questions_do_not_see_each_other(architecture: str, attention: str):
    model = tiny_model(architecture)
    model.set_attn_implementation(attention)
    assert reads_packed(model, 0)
    batch = packed_inputs(pack_batch([pack(prompts) for prompts in PROMPTS], 0), model.dtype)
    with torch.no_grad():
        logits = model(**batch).logits
        assert logits.shape == (3, 3, 601)
        for row, prompts in zip(logits, PROMPTS, strict=True):
            for question, prompt in zip(row, prompts, strict=True):
                torch.testing.assert_close(question, model(torch.tensor([prompt])).logits[0, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["bloom", "mistral"])
def test_models_that_cannot_hide_questions_are_found(architecture: str):
    """Bloom's positions are in its attention, and Mistral's window would be ignored."""
    assert not reads_packed(tiny_model(architecture), 0)
