r"""Read a text once with several questions behind it, instead of once for each question.

The tokens of the text and of all questions are packed into one row. The attention mask hides the questions from each
other, and each question's positions go on from the text, so that the logits behind a question are those of a row with
only this question. (Sequences are packed like this in training elsewhere, too; here they share their beginning.)

    tokens     a moving film \n funny ? \n sad ?
    segments   0 0      0    1  1     1 2  2   2
    positions  0 1      2    3  4     5 3  4   5
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from .inputs import forward_arguments, left_pad

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SEGMENTS = "segments"  # in a batch, the input that `packed_inputs` turns into an attention mask
TOLERANCE = 1e-3  # largest difference of two log-probabilities that count as equal, relative to the largest of them


def pack(prompts: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    """Pack prompts that begin alike: return the tokens that all share and then the others, and the lengths of these.

    Args:
        prompts: Token ids of one text with each question behind it.
    """
    first, last = min(prompts), max(prompts)  # in order, so that what these share, all do
    shared = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    shared = min(shared, min(map(len, prompts)) - 1)  # each question has a token of its own, at which it is answered
    ends = [prompt[shared:] for prompt in prompts]
    return prompts[0][:shared] + [token for end in ends for token in end], list(map(len, ends))


def unpack(input_ids: list[int], lengths: Sequence[int]) -> list[list[int]]:
    """Return the prompts that `pack` has packed."""
    place = len(input_ids) - sum(lengths)
    shared, prompts = input_ids[:place], []
    for length in lengths:
        prompts.append(shared + input_ids[place : place + length])
        place += length
    return prompts


def pack_batch(rows: Sequence[tuple[list[int], Sequence[int]]], pad_token_id: int) -> dict[str, "Tensor"]:
    """Stack packed rows, padded so that each question ends at the same place in every row.

    Args:
        rows: Return values of `pack`, all for the same number of questions.
        pad_token_id: Token id of the padding.

    Returns:
        `input_ids`, `attention_mask` (0 for padding), `position_ids` and `segments` (0 for the text, then the number of
        the question), all (batch, seq).
    """
    widths = [max(lengths) for lengths in zip(*(lengths for _, lengths in rows), strict=True)]
    batch: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "position_ids": [], SEGMENTS: []}
    for input_ids, lengths in rows:
        place = len(input_ids) - sum(lengths)
        ids, mask, positions, segments = input_ids[:place], [1] * place, [*range(place)], [0] * place
        end = place
        for question, (length, width) in enumerate(zip(lengths, widths, strict=True), start=1):
            padding = width - length
            ids = ids + [pad_token_id] * padding + input_ids[end : end + length]
            mask += [0] * padding + [1] * length
            positions += [0] * padding + [*range(place, place + length)]
            segments += [question] * width
            end += length
        for name, values in zip(batch, (ids, mask, positions, segments), strict=True):
            batch[name].append(values)
    padding = {"input_ids": pad_token_id, "attention_mask": 0, "position_ids": 0, SEGMENTS: 0}
    return {name: left_pad(values, padding[name]) for name, values in batch.items()}


def packed_inputs(batch: dict[str, Any], dtype: "torch.dtype") -> dict[str, Any]:
    """Turn a batch of `pack_batch` into the inputs of a model, with logits at the end of each question.

    Args:
        batch: The batch, perhaps with other inputs, which are kept.
        dtype: Data type of the attention mask.

    Returns:
        The inputs, with an `attention_mask` (batch, 1, seq, seq) that is added to the attention scores, and
        `logits_to_keep`, the place of each question's last token, (questions,). The logits are then (batch, questions,
        vocabulary).
    """
    segments, positions = batch[SEGMENTS], batch["position_ids"]
    real = batch["attention_mask"].bool()
    in_text, same = segments[:, None] == 0, segments[:, None] == segments[..., None]  # (batch, query, key)
    before = positions[:, None] <= positions[..., None]
    itself = torch.eye(segments.size(1), dtype=torch.bool, device=segments.device)  # padding must see something
    seen = (real[:, None] & before & (in_text | same)) | itself
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
    ends = segments[0] != torch.cat([segments[0, 1:], segments.new_full((1,), -1)])
    kept = ends.nonzero()[:, 0][segments[0][ends] > 0]
    others = {name: value for name, value in batch.items() if name != SEGMENTS}
    return others | {"attention_mask": mask[:, None], "logits_to_keep": kept}


@torch.no_grad()
def reads_packed(model: "PreTrainedModel", pad_token_id: int) -> bool:
    """Return whether a model gives packed questions the logits that it gives them in rows of their own.

    A model may not take such a mask or positions, as one with a recurrent state. It is tried on a few tokens.

    Args:
        model: The model, with its weights, on its device.
        pad_token_id: Token id of the padding.
    """
    accepted, config = forward_arguments(model), model.config.get_text_config()
    if not {"position_ids", "logits_to_keep"} <= accepted or "flash" in str(model.config._attn_implementation):
        return False
    if getattr(config, "sliding_window", None):  # it would be ignored, which only shows in long texts
        return False
    top = min(config.vocab_size, 100)
    tokens = [(7 * place + 3) % top for place in range(12)]
    rows = [pack([tokens[:6] + tokens[6:9], tokens[:6] + tokens[8:12]]), pack([tokens[:3] + tokens[5:7], tokens[:9]])]
    batch = {name: value.to(model.device) for name, value in pack_batch(rows, pad_token_id).items()}
    training = model.training
    model.eval()
    try:
        packed = model(**packed_inputs(batch, model.dtype), use_cache=False).logits.float().log_softmax(-1)
    except (TypeError, ValueError, RuntimeError):
        return False
    finally:
        model.train(training)
    alone = []
    for input_ids, lengths in rows:
        for prompt in unpack(input_ids, lengths):
            ids = torch.tensor([prompt], device=model.device)
            alone.append(model(input_ids=ids, use_cache=False).logits[0, -1].float().log_softmax(-1))
    expected = torch.stack(alone).view_as(packed)
    tolerance = max(TOLERANCE, 8 * torch.finfo(model.dtype).eps) * float(expected.abs().max())
    return bool(torch.allclose(packed, expected, rtol=0, atol=tolerance))
