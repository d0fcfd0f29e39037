"""Whether a model reads its padding, and what to do when it does.

Rows of a batch are padded on the left, so that the decision position is the last one of all of them. Attention masks
hide the padding from transformers, and from Mamba's state too; RWKV's state takes it in. Padding on the right is safe
for every causal model, since nothing reads what stands behind it, but all positions then need logits.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled

from .errors import UsageError
from .scoring import forward_arguments, model_inputs

logger = logging.getLogger(__name__)


@torch.no_grad()
def hide_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Try a few tokens with others behind them, and with padding before them: neither must change anything.

    The forward of a model that padding changes is wrapped, so that it is padded on the right.

    Not done where each process holds only a part of the weights.

    Raises:
        UsageError: If what stands behind changes what is made of a text: such a model is not causal.
    """
    if is_fsdp_enabled() or is_deepspeed_zero3_enabled():
        return
    accepted = forward_arguments(model)
    text = tokenizer("a b c", add_special_tokens=False).input_ids[:4]
    padding, shown, hidden = [tokenizer.pad_token_id] * len(text), [1] * len(text), [0] * len(text)

    def logits(ids: list[list[int]], mask: list[list[int]]) -> Tensor:  # (batch, seq, vocabulary)
        batch = torch.tensor([ids, mask], device=model.device)
        return model(**model_inputs(batch[0], batch[1], batch.size(2), accepted)).logits

    def same(one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one, other, rtol=0, atol=float(torch.finfo(one.dtype).eps ** 0.5 * one.abs().max()))

    both = logits([text + text, padding + text], [shown + shown, hidden + shown])
    followed, padded = both[0, : len(text)], both[1, len(text) :]
    if same(followed, padded):
        return
    alone, kind = logits([text], [shown])[0], model.config.model_type
    if not same(followed, alone):
        raise UsageError(
            f"this {kind} model is not a causal language model: what it makes of a text depends on what stands behind "
            "it; choose one that generates text, such as gpt2."
        )
    logger.warning("%s models read their padding; that is avoided here, but makes them slower.", kind)
    model.forward = pad_on_the_right(model.forward)


def pad_on_the_right(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a forward: it takes and gives rows that are padded on the left, and pads them on the right inside.

    Its signature is shorter on purpose: no cache, and no positions other than those counted from the first token.
    """

    def wrapped(input_ids: Tensor, attention_mask: Tensor | None = None, logits_to_keep: int = 0, **others: Any) -> Any:
        if attention_mask is None or attention_mask.shape != input_ids.shape or attention_mask.all():
            return forward(input_ids=input_ids, attention_mask=attention_mask, **others)
        seq = input_ids.size(1)
        padding = (attention_mask == 0).sum(1, keepdim=True)  # (batch, 1)
        positions = torch.arange(seq, device=input_ids.device)
        there, back = (positions + padding) % seq, (positions - padding) % seq  # (batch, seq)
        outputs = forward(
            input_ids=input_ids.gather(1, there), attention_mask=attention_mask.gather(1, there), **others
        )
        outputs.logits = outputs.logits.take_along_dim(back[..., None], 1)[:, -logits_to_keep:]
        return outputs

    return wrapped
