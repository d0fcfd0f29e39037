"""Whether a model reads its padding, or cannot compute with it, and what to do then.

Rows of a batch are padded on the left, so that the decision position is the last one of all of them. Attention masks
hide the padding from transformers, and from Mamba's state too; RWKV's state takes it in. Padding on the right is safe
for every causal model, since nothing reads what stands behind it, but all positions then need logits.

Padding on the left has nothing to attend to. What an attention makes of that is thrown away, but must be numbers: what
is not a number spreads to all other positions.
"""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed import all_gather_object, get_world_size
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled

from ..errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Kernels work in blocks; where the last one is half full, cuDNN's backward has failed (pytorch#196678).
WIDTH = 64


@torch.no_grad()
def right_pad_if_needed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Try a few tokens with others behind them, and with padding before them: neither must change anything.

    The forward of a model that padding changes is wrapped, so that it is padded on the right.

    Not done where ZeRO-3 has divided the weights while they were loaded. Under FSDP only one process may have them yet;
    it tells the others.

    Raises:
        UsageError: If what stands behind changes what is made of a text, such a model is not causal; if its attention
            cannot compute with padding, or the model not at all.
    """
    if is_deepspeed_zero3_enabled():
        return
    reads = any(not weights.is_meta for weights in model.parameters()) and _reads_padding(model, tokenizer)
    if is_fsdp_enabled():
        found: list[Any] = [None] * get_world_size()
        all_gather_object(found, reads)
        reads = any(found)
    if reads:
        kind = model.config.model_type
        logger.warning("%s models read their padding; that is avoided here, but makes them slower.", kind)
        model.forward = pad_on_the_right(model.forward)


def _reads_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    accepted = forward_arguments(model)
    text = _few_tokens(tokenizer)
    padding, shown, hidden = [tokenizer.pad_token_id] * len(text), [1] * len(text), [0] * len(text)

    def logits(ids: list[list[int]], mask: list[list[int]]) -> Tensor:  # (batch, seq, vocabulary)
        batch = torch.tensor([ids, mask], device=model.device)
        with _attention_of_its_device(model):
            return model(**model_inputs(batch[0], batch[1], batch.size(2), accepted)).logits

    def same(one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one, other, rtol=0, atol=float(torch.finfo(one.dtype).eps ** 0.5 * one.abs().max()))

    both = logits([text + text, padding + text], [shown + shown, hidden + shown])
    followed, padded = both[0, : len(text)], both[1, len(text) :]
    kind = model.config.model_type
    if followed.isnan().any():
        raise UsageError(
            f"this {kind} model makes NaN of a text: its weights are damaged, or too large for {model.dtype}. Choose "
            "another model, or --dtype float32."
        )
    if same(followed, padded):
        return False
    if followed.isfinite().all() and not padded.isfinite().all():
        raise _not_numbers(model)
    alone = logits([text], [shown])[0]
    if not same(followed, alone):
        raise UsageError(
            f"this {kind} model is not a causal language model: what it makes of a text depends on what stands behind "
            "it; choose one that generates text, such as gpt2."
        )
    return True


def check_attention(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    training: AbstractContextManager[Any] | None = None,
    cure: str | None = None,
) -> None:
    """See that the model computes with much padding where it is now, by the kernels that it will use.

    Args:
        model: On its device, with all of its weights. It is in evaluation mode afterwards, and has no gradients.
        tokenizer: Its tokenizer.
        training: The arithmetic of training, for which gradients must be numbers, too; None for no training.
        cure: How to choose another attention; None for the flag.

    Raises:
        UsageError: If what it makes of padding is not finite.
    """
    model.eval()
    fine = _computes_with_padding(model, tokenizer, gradients=False)
    if fine and training is not None:
        with training:
            fine = _computes_with_padding(model, tokenizer, gradients=True)
    if not fine:
        raise _not_numbers(model, cure)


def _computes_with_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, gradients: bool) -> bool:
    """Whether a few tokens behind much padding come to finite numbers, or a text as wide does not either."""
    accepted, text = forward_arguments(model), _few_tokens(tokenizer)
    hidden, made = WIDTH - len(text), list[Tensor]()

    def cut(module: Any, inputs: Any, embedded: Tensor) -> Tensor:
        made.append(embedded.detach().requires_grad_(gradients))
        return made[-1]

    def finite(ids: list[int], mask: list[int]) -> bool:
        batch = torch.tensor([[ids], [mask]], device=model.device)
        inputs = model_inputs(batch[0], batch[1], WIDTH, accepted)
        logits = model(**inputs, use_cache=False).logits[0].float()  # RWKV changes its cache in place
        # Of the embeddings, which those of the weights come from: they take little memory, and need no weight that is
        # trained. The loss is at the decision position, as in training.
        of_padding = torch.autograd.grad(logits[-1].log_softmax(-1).mean(), made.pop()) if gradients else ()
        return all(bool(numbers.isfinite().all()) for numbers in (logits, *of_padding))

    hook = model.get_input_embeddings().register_forward_hook(cut)
    try:
        with torch.set_grad_enabled(gradients):
            padded = finite([tokenizer.pad_token_id] * hidden + text, [0] * hidden + [1] * len(text))
            return padded or not finite((text * WIDTH)[:WIDTH], [1] * WIDTH)
    finally:
        hook.remove()


def _few_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer("a b c", add_special_tokens=False).input_ids[:4]
    return ids


@contextmanager
def _attention_of_its_device(model: PreTrainedModel) -> Iterator[None]:
    """Have a model that is not on its GPU yet compute without a kernel that knows GPUs only."""
    name = model.config._attn_implementation
    if name is None or "flash" not in name or model.device.type != "cpu":
        yield
        return
    model.config._attn_implementation = "eager"
    try:
        yield
    finally:
        model.config._attn_implementation = name


def _not_numbers(model: PreTrainedModel, cure: str | None = None) -> UsageError:
    name = model.config._attn_implementation
    other = cure or f"--attn_implementation {'sdpa' if name == 'eager' else 'eager'}"
    return UsageError(
        f"{name} attention makes NaN or infinite values of padding on {model.device.type}, which spread to the text "
        f"beside it. Choose another one: {other}."
    )


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


def left_pad(rows: list[list[int]], value: int) -> "Tensor":
    """Stack rows of different lengths into (batch, seq), the padding on the left, so that all end together."""
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(row)) + row for row in rows])


def model_inputs(
    input_ids: "Tensor", attention_mask: "Tensor", logits_to_keep: int, accepted: set[str]
) -> dict[str, Any]:
    """Arguments for a causal language model's forward that wants only the last positions' logits.

    Args:
        input_ids: (batch, seq), padded on the left.
        attention_mask: 1 at real tokens; (batch, seq), or longer by what a cache holds already.
        logits_to_keep: How many positions at the end need logits; a vocabulary's width each.
        accepted: Names of the arguments that the model's forward takes.
    """
    inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
    if "position_ids" in accepted:  # most models count positions from the padding unless told
        inputs["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.size(1) :]
    if "logits_to_keep" in accepted:
        inputs["logits_to_keep"] = logits_to_keep
    return inputs


def forward_arguments(model: "nn.Module") -> set[str]:
    """Names of the arguments that the model's forward takes; an adapter hands on those of the model under it."""
    model = getattr(model, "get_base_model", lambda: model)()
    return set(inspect.signature(model.forward).parameters)
