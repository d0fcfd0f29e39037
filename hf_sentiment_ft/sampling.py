"""The order of the training rows: the same on every process, however many, and after a resume."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100


class EpochSampler(Sampler[int]):
    """Row numbers in an order that depends on the seed and the epoch alone.

    Trainer's samplers draw from random state that differs by process and is not what it was after a resume, and
    group rows of similar length by the batch of one process instead of the global one.

    Attributes:
        epoch: Set before each epoch; another epoch, another order.
    """

    def __init__(
        self, num_rows: int, lengths: Sequence[int] | None, global_batch: int, multiple: int, seed: int
    ) -> None:
        """Set what the order depends on.

        Args:
            num_rows: Rows to draw, each once an epoch.
            lengths: Their lengths in tokens, to bring rows of similar length together; None for a random order.
            global_batch: Rows of one optimizer step, all processes and accumulation steps together.
            multiple: The order is filled up to a multiple of this with the blank row, whose number is `num_rows`.
            seed: Decides the orders.
        """
        self.num_rows = num_rows
        self.lengths = lengths
        self.global_batch = global_batch
        self.num_blank = -num_rows % multiple
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_rows + self.num_blank

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        if self.lengths is None:
            yield from torch.randperm(self.num_rows, generator=generator).tolist()
        else:
            yield from get_length_grouped_indices(self.lengths, self.global_batch, generator=generator)
        yield from [self.num_rows] * self.num_blank


def add_blank_row(dataset: "Dataset") -> "Dataset":
    """Append a row without label tokens, for processes that the last global batch leaves without a row.

    Accelerate would give them rows of the epoch's beginning a second time, and these would count.
    """
    from datasets import Dataset, concatenate_datasets

    blank = dataset[0] | {"labels": [IGNORED]}
    return concatenate_datasets([dataset, Dataset.from_list([blank], features=dataset.features)])
