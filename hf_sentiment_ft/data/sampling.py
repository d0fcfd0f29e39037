"""The order of the training rows: the same on every process, however many, and after a resume."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..errors import RunError, first_line
from ..hub import hub_errors

if TYPE_CHECKING:
    import datasets

IGNORED = -100
WINDOW = 50  # global batches whose rows are brought into an order by length, as many as transformers' grouping takes


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


def add_blank_row(dataset: "datasets.Dataset") -> "datasets.Dataset":
    """Append a row without label tokens, for processes that the last global batch leaves without a row.

    Accelerate would give them rows of the epoch's beginning a second time, and these would count.
    """
    from datasets import Dataset, concatenate_datasets

    blank = dataset[0] | {"labels": [IGNORED]}
    return concatenate_datasets([dataset, Dataset.from_list([blank], features=dataset.features)])


class StreamedRows(IterableDataset[dict[str, Any]]):
    """The rows of a stream, tokenized, one pass after the other without a seam, as many as a run needs.

    The order depends on the seed alone, so that a resumed run finds its place by reading again. Each pass has an order
    of its own. A thread reads and tokenizes the next rows while the model learns from these.

    Attributes:
        num_truncated: How many of the rows given out were cut.
        pass_length: Rows of one pass, None while the first has not ended.
    """

    def __init__(
        self,
        stream: "datasets.IterableDataset",
        to_features: Callable[[dict[str, list[Any]], range], dict[str, list[Any]]],
        num_rows: int,
        global_batch: int,
        grouped: bool,
        seed: int,
    ) -> None:
        """Set what is read, and how.

        Args:
            stream: Columns `text` and `label`, shuffled, not empty.
            to_features: Makes `input_ids`, `labels`, `length` and `truncated` of some of its rows.
            num_rows: Rows to give out.
            global_batch: Rows of one optimizer step, all processes and accumulation steps together.
            grouped: Whether to bring rows of similar length together.
            seed: Decides how, where lengths leave it open.
        """
        self.stream, self.to_features, self.num_rows = stream, to_features, num_rows
        self.global_batch, self.grouped, self.seed = global_batch, grouped, seed
        self.num_truncated = 0
        self.pass_length: int | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.num_truncated, missing, windows = 0, self.num_rows, self._windows()
        with ThreadPoolExecutor(1) as ahead:
            window = ahead.submit(next, windows)
            while missing:
                rows = window.result()[:missing]
                missing -= len(rows)
                if missing:
                    window = ahead.submit(next, windows)
                for row in rows:
                    self.num_truncated += row["truncated"]
                    yield row

    def _windows(self) -> Iterator[list[dict[str, Any]]]:
        """Tokenized rows, some global batches at a time, in the order in which they are given out."""
        number = count()
        for epoch in count():
            self.stream.set_epoch(epoch)
            seen = 0
            for rows in self._read(epoch):
                size = len(rows["text"])
                features = self.to_features(rows, range(size))
                order: Iterator[int] | range = range(size)
                if self.grouped:
                    sampler = EpochSampler(size, features["length"], self.global_batch, multiple=1, seed=self.seed)
                    sampler.epoch = next(number)
                    order = iter(sampler)
                yield [{name: column[row] for name, column in features.items()} for row in order]
                seen += size
            self.pass_length = seen

    def _read(self, epoch: int) -> Iterator[dict[str, list[Any]]]:
        try:
            yield from self.stream.iter(batch_size=WINDOW * self.global_batch)
        except hub_errors() as error:
            raise RunError(
                f"the train split cannot be read any further, in pass {epoch + 1}: {first_line(error)}. If waiting or "
                "mending the file cures it, go on from the last checkpoint by --resume_from_checkpoint true."
            ) from error

    def describe(self, num_rows: int) -> str:
        """One sentence on how far training has read, for the card; on the process that reads."""
        read = f"Training read {num_rows} rows of the stream, of which {self.num_truncated} were cut"
        if self.pass_length is None:
            return f"{read}; its end was not reached."
        return f"{read}; it has {self.pass_length}, so each came {num_rows / self.pass_length:.1f} times."


Rows = np.ndarray[Any, Any]


def stratified_sample(labels: Rows, size: int, seed: int, *, rare_first: bool = True) -> Rows:
    """Draw rows so that each class keeps its share.

    Args:
        labels: Class ids, (rows,).
        size: How many rows to draw.
        seed: Decides which.
        rare_first: Whether a class of few rows gets one while there is room, or leaves them to those not drawn.

    Returns:
        Row numbers in ascending order, (size,).
    """
    order, place, counts = _shuffled(labels, seed)
    share = (place + (not rare_first)) / counts  # each row's place within its class, from 0 to 1
    return np.sort(order[np.argsort(share[order], kind="stable")[:size]])


def sample_per_class(labels: Rows, size: int, seed: int) -> Rows:
    """Draw the same number of rows of each class, all of them where a class has fewer.

    Args:
        labels: Class ids, (rows,).
        size: How many rows of a class to draw.
        seed: Decides which. A larger size with the same seed draws the same rows and more.

    Returns:
        Row numbers in ascending order.
    """
    return np.flatnonzero(_shuffled(labels, seed)[1] < size)


def _shuffled(labels: Rows, seed: int) -> tuple[Rows, Rows, Rows]:
    """A random order of the rows; each row's number within its class in that order, and the rows of its class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    _, classes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = order[np.argsort(classes, kind="stable")]
    place, counts = np.empty(len(labels), dtype=int), np.empty(len(labels), dtype=int)
    place[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counts[by_class] = np.repeat(sizes, sizes)
    return order, place, counts
