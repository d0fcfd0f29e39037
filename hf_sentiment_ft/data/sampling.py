"""The order of the training rows, the same for any number of processes and after a resume; sampling by class."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..errors import RunError, explain
from ..hub import hub_errors

if TYPE_CHECKING:
    import datasets

IGNORED = -100
WINDOW = 50  # rows are grouped by length within this many global batches, as in transformers


class EpochSampler(Sampler[int]):
    """A sampler whose order depends only on the seed and the epoch.

    Trainer's samplers draw from a random state that differs between processes and is not restored by a resume, and they
    group rows of similar length by the batch of one process instead of the global batch.

    Attributes:
        epoch: Set before each epoch, for a new order.
    """

    def __init__(
        self, num_rows: int, lengths: Sequence[int] | None, global_batch: int, multiple: int, seed: int
    ) -> None:
        """Create the sampler.

        Args:
            num_rows: Number of rows, each drawn once per epoch.
            lengths: Their lengths in tokens, (rows,), to group rows of similar length; None for a random order.
            global_batch: Rows per optimizer step, over all processes and accumulation steps.
            multiple: The order is filled up to a multiple of this with the blank row, whose number is `num_rows`.
            seed: Random seed.
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
    """Append a row without label tokens, for processes that get no row of the last global batch.

    Accelerate would give them rows from the beginning of the epoch a second time, and these would count in the loss.
    """
    from datasets import Dataset, concatenate_datasets

    blank = dict(dataset[0])
    of_questions = isinstance(blank["labels"][0], list)
    blank["labels"] = [[IGNORED] for _ in blank["labels"]] if of_questions else [IGNORED]
    return concatenate_datasets([dataset, Dataset.from_list([blank], features=dataset.features)])


class StreamedRows(IterableDataset[dict[str, Any]]):
    """Tokenized rows of a stream, one pass after the other without a break, as many as a run needs.

    The order depends only on the seed, so that a resumed run finds its place by reading the stream again. Each pass has
    its own order. A thread reads and tokenizes the next rows while the model trains on the current ones.

    Attributes:
        num_truncated: How many of the yielded rows were truncated.
        pass_length: Number of rows in one pass, None until the first pass has ended.
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
        """Create the dataset.

        Args:
            stream: Shuffled rows with the columns `text` and `label`; not empty.
            to_features: Turns a batch of rows and their numbers into `input_ids`, `labels`, `length` and `truncated`.
            num_rows: Number of rows to yield.
            global_batch: Rows per optimizer step, over all processes and accumulation steps.
            grouped: Whether to group rows of similar length.
            seed: Random seed of the grouping.
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
        """Yield tokenized rows in training order, some global batches at a time."""
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
                f"reading the train split failed in pass {epoch + 1}: {explain(error)}. Wait, or repair the file, "
                "then resume from the last checkpoint with --resume_from_checkpoint true."
            ) from error

    def describe(self, num_rows: int) -> str:
        """Describe in one sentence, for the card, how far training has read; only on the process that reads.

        Args:
            num_rows: Number of rows that training has used.
        """
        read = f"Training read {num_rows} rows of the stream, of which {self.num_truncated} were truncated"
        if self.pass_length is None:
            return f"{read}; its end was not reached."
        return f"{read}; the stream has {self.pass_length}, so each was used {num_rows / self.pass_length:.1f} times."


Rows = np.ndarray[Any, Any]


def stratified_sample(labels: Rows, size: int, seed: int, *, rare_first: bool = True) -> Rows:
    """Draw rows so that each class keeps its share.

    Args:
        labels: Class ids, (rows,).
        size: Number of rows to draw.
        seed: Random seed.
        rare_first: Whether a rare class gets one of the drawn rows as long as there is room. If False, its rows tend to
            stay among those not drawn.

    Returns:
        Row numbers in ascending order, (size,).
    """
    order, place, counts = _shuffled(labels, seed)
    share = (place + (not rare_first)) / counts  # relative place of each row within its class, from 0 to 1
    return np.sort(order[np.argsort(share[order], kind="stable")[:size]])


def sample_per_class(labels: Rows, size: int, seed: int) -> Rows:
    """Draw the same number of rows from each class, or all rows of a class that has fewer.

    Args:
        labels: Class ids, (rows,).
        size: Number of rows to draw per class.
        seed: Random seed. With the same seed, a larger size draws the same rows and more.

    Returns:
        Row numbers in ascending order.
    """
    return np.flatnonzero(_shuffled(labels, seed)[1] < size)


def _shuffled(labels: Rows, seed: int) -> tuple[Rows, Rows, Rows]:
    """Shuffle the rows.

    Returns:
        A random order of the rows, each row's place within its class in that order, and the size of its class;
        (rows,) each.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    _, classes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = order[np.argsort(classes, kind="stable")]
    place, counts = np.empty(len(labels), dtype=int), np.empty(len(labels), dtype=int)
    place[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counts[by_class] = np.repeat(sizes, sizes)
    return order, place, counts
