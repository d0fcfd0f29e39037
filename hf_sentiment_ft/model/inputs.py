"""Model inputs, and models whose output depends on padding or breaks with it.

Rows of a batch are padded on the left, so that the decision position is the last position of every row. Attention masks
hide the padding from attention layers, and from Mamba's state too; RWKV's state takes it in. Padding on the right is
safe for every causal model, since no token depends on those after it, but then all positions need logits.

Padding on the left has nothing to attend to. The attention output at these positions is discarded, but must be finite:
NaN would spread to all other positions.
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

# Kernels work in blocks; with a half-full last block, cuDNN's backward pass has failed (pytorch#196678).
WIDTH = 64


@torch.no_grad()
def right_pad_if_needed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Wrap the forward pass of a model that is affected by left padding, so that it pads on the right.

    This is tested on a few tokens, followed by other tokens and preceded by padding: neither must change the logits.

    The test is skipped if ZeRO-3 has sharded the weights while loading them. Under FSDP, only one process may have the
    weights yet; it tells the others its result.

    Args:
        model: The model, with its weights; its `forward` may be replaced.
        tokenizer: Its tokenizer, with a padding token.

    Raises:
        UsageError: If later tokens change the logits of earlier ones, since the model is then not causal; if its
            attention cannot handle padding; or if its logits are NaN even without padding.
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
        logger.warning(
            "The output of %s models depends on left padding; they are padded on the right, which is slower.", kind
        )
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
            f"this {kind} model outputs NaN: its weights are corrupted, or too large for {model.dtype}. Use another "
            "model, or --dtype float32."
        )
    if same(followed, padded):
        return False
    if followed.isfinite().all() and not padded.isfinite().all():
        raise _not_numbers(model)
    alone = logits([text], [shown])[0]
    if not same(followed, alone):
        raise UsageError(
            f"this {kind} model is not a causal language model: its output depends on the tokens that follow. Use a "
            "model that generates text, such as gpt2."
        )
    return True


def check_attention(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    training: AbstractContextManager[Any] | None = None,
    cure: str | None = None,
) -> None:
    """Check that the model handles much padding on its current device, with the kernels that it will use.

    Args:
        model: The model, on its device, with all of its weights. It is left in evaluation mode and without gradients.
        tokenizer: Its tokenizer.
        training: Context manager for the precision of training, in which the gradients must be finite as well; None if
            the model is not trained.
        cure: How to choose another attention implementation, for the message; None to name the flag.

    Raises:
        UsageError: If padding leads to values that are not finite.
    """
    model.eval()
    fine = _computes_with_padding(model, tokenizer, gradients=False)
    if fine and training is not None:
        with training:
            fine = _computes_with_padding(model, tokenizer, gradients=True)
    if not fine:
        raise _not_numbers(model, cure)


def _computes_with_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, gradients: bool) -> bool:
    """Return whether a few tokens after much padding give finite values.

    Also return True if a text of the same width does not give finite values either: padding is not the cause then.
    """
    accepted, text = forward_arguments(model), _few_tokens(tokenizer)
    hidden, made = WIDTH - len(text), list[Tensor]()

    def cut(module: Any, inputs: Any, embedded: Tensor) -> Tensor:
        made.append(embedded.detach().requires_grad_(gradients))
        return made[-1]

    def finite(ids: list[int], mask: list[int]) -> bool:
        batch = torch.tensor([[ids], [mask]], device=model.device)
        inputs = model_inputs(batch[0], batch[1], WIDTH, accepted)
        logits = model(**inputs, use_cache=False).logits[0].float()  # RWKV modifies its cache in place
        # Gradients of the embeddings, not of the weights: they take little memory, and no weight has to be trainable.
        # The loss is at the decision position, as in training.
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
    """Avoid attention kernels that need a GPU while the model is still on the CPU."""
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
        f"{name} attention outputs NaN or infinite values for padding on {model.device.type}, which spread to the "
        f"text. Use another one: {other}."
    )


def pad_on_the_right(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a forward pass to take and return rows padded on the left, but to pad them on the right internally.

    The signature is reduced on purpose: it has no cache, and positions are always counted from the first token.

    Args:
        forward: The forward pass of a causal language model.

    Returns:
        The wrapped forward pass.
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
    """Stack rows of different lengths into one tensor, padded on the left so that all rows end together.

    Args:
        rows: Token ids of each row.
        value: Id of the padding.

    Returns:
        Token ids, (batch, seq).
    """
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(row)) + row for row in rows])


def left_pad_prompts(prompts: list[list[int]], pad_token_id: int) -> tuple["Tensor", "Tensor"]:
    """Stack prompts of different lengths, and return their token ids and attention mask, both (batch, seq)."""
    return left_pad(prompts, pad_token_id), left_pad([[1] * len(prompt) for prompt in prompts], 0)


def model_inputs(
    input_ids: "Tensor", attention_mask: "Tensor", logits_to_keep: int, accepted: set[str]
) -> dict[str, Any]:
    """Build the arguments of a causal language model's forward pass that needs logits at the last positions only.

    Args:
        input_ids: Token ids, (batch, seq), padded on the left.
        attention_mask: 1 for real tokens, 0 for padding; (batch, seq), or (batch, cached + seq) if there is a cache.
        logits_to_keep: Number of positions at the end that need logits, each as wide as the vocabulary.
        accepted: Argument names that the model's forward pass accepts.

    Returns:
        The keyword arguments.
    """
    inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
    if "position_ids" in accepted:  # by default, most models count the padding too
        inputs["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.size(1) :]
    if "logits_to_keep" in accepted:
        inputs["logits_to_keep"] = logits_to_keep
    return inputs


def forward_arguments(model: "nn.Module") -> set[str]:
    """Return the argument names of the model's forward pass; for an adapter, those of its base model."""
    model = getattr(model, "get_base_model", lambda: model)()
    return set(inspect.signature(model.forward).parameters)
