"""Batches of prompts and label words: rows are collated to a batch, and a batch that is too large is split again."""

from dataclasses import dataclass
from typing import Any

import torch

from ..data.sampling import IGNORED
from ..model.inputs import left_pad, left_pad_prompts, model_inputs
from ..model.packing import pack_batch, unpack

OF_ROW = ("labels", "shares")  # what a row has besides its tokens


@dataclass(frozen=True)
class LabelWordCollator:
    """Pad prompts on the left, so that the decision position is the last one of every row.

    Attributes:
        pad_token_id: Token id used for padding; the attention mask hides it.
        accepted: Arguments that the model's forward accepts.
        packed: Whether the model reads several questions about a text in one row.
    """

    pad_token_id: int
    accepted: set[str]
    packed: bool = False

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows to a batch: `input_ids` and `attention_mask` (batch, seq), `labels` (batch, label tokens).

        Where there are several questions, each gets a row of its own or, if the model reads them packed, `labels` are
        (batch, questions, ...). Rows with soft labels also have `shares`, (batch, num_labels).
        """
        if self.packed:
            batch = pack_batch([(row["input_ids"], row["question_lengths"]) for row in rows], self.pad_token_id)
            return batch | {"labels": torch.tensor([row["labels"] for row in rows])}
        if "question_lengths" in rows[0]:
            rows = [
                {"input_ids": ids, "labels": labels}
                for row in rows
                for ids, labels in zip(unpack(row["input_ids"], row["question_lengths"]), row["labels"], strict=True)
            ]
        labels = left_pad([row["labels"] for row in rows], IGNORED)
        input_ids, mask = left_pad_prompts([row["input_ids"] for row in rows], self.pad_token_id)
        batch = model_inputs(input_ids, mask, labels.size(1), self.accepted) | {"labels": labels}
        return batch | ({"shares": torch.tensor([row["shares"] for row in rows])} if "shares" in rows[0] else {})


def split_batch(batch: dict[str, Any], max_tokens: int) -> list[dict[str, Any]]:
    """Split a batch into parts of rows of similar length, each padded only as far as it needs.

    Args:
        batch: `attention_mask` and other tensors of shape (batch, seq), padded on the left; `labels`, (batch, label
            tokens), and `shares`, (batch, num_labels). Values that are not tensors are passed to every part.
        max_tokens: Maximum number of tokens of a part, including padding; a part has at least one row. 0 for no split.

    Returns:
        The parts, starting with the one of the longest rows; only the batch itself if it is small enough.
    """
    num_rows, width = batch["attention_mask"].shape
    if not max_tokens or num_rows * width <= max_tokens:
        return [batch]
    lengths = width - batch["attention_mask"].argmax(dim=1)  # from the first token that is not padding
    num_parts = -(-num_rows // max(1, max_tokens // width))
    tensors = {name: value for name, value in batch.items() if torch.is_tensor(value)}
    parts = []
    for rows in lengths.argsort(descending=True, stable=True).tensor_split(num_parts):
        longest = max(int(lengths[rows[0]]), batch["labels"].size(1))  # every label token needs its logits
        part = {name: value[rows] if name in OF_ROW else value[rows, -longest:] for name, value in tensors.items()}
        parts.append(batch | part)
    return parts
