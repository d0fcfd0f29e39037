"""The train split as a stream that is read during training, for data that does not fit on disk (`--streaming`)."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.arguments import DataArguments
from ..errors import UsageError
from ..paths import resolve_package_path
from .columns import Columns, label_ids, label_names, read_labels, read_texts
from .loading import SPLIT_NAMES, find_files, load_or_refuse, load_raw

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# Default number of rows in validation and test, which are kept as tables because metrics need all of their rows.
ROWS_OF_SPLIT = 10_000
ROWS_FROM_TRAIN = 1_000


@dataclass
class TrainStream:
    """The train split as a stream, which is read again in each pass.

    Attributes:
        rows: Rows as they are in the files, without those taken for validation and test.
        source: Short description of the files, made without reading them.
        buffer_size: Number of rows that are shuffled together, and that are read before training begins.
        num_taken: Number of rows at the beginning that were taken for validation and test.
        first_rows: The first rows of train, and all rows of the other splits, as tables.
        notes: Sentences on what was read.
        split_off: The note of each split that was taken from train.
        checked: The rows as returned by `checked_rows`, once columns and labels are known.
    """

    rows: "IterableDataset"
    source: str
    buffer_size: int
    num_taken: int = 0
    first_rows: "dict[str, Dataset]" = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    split_off: dict[str, str] = field(default_factory=dict)
    checked: "IterableDataset | None" = None

    @property
    def is_read_in_order(self) -> bool:
        """Return whether there is one file, or `datasets` reads file by file, as it does after skipping rows."""
        return self.num_taken > 0 or self.rows.num_shards == 1


def open_stream(args: DataArguments) -> TrainStream:
    """Find the splits, and read validation, test and the first rows of train.

    Raises:
        UsageError: If there is no train split, or it has too few rows.
    """
    source, args = _find_source(args)
    named = _name_streams(load_raw(args), args)
    stream = TrainStream(named["train"], source, args.shuffle_buffer_size)
    limits = {"validation": args.max_eval_samples, "test": args.max_test_samples}
    flags = {"validation": "max_eval_samples", "test": "max_test_samples"}
    for split, limit in limits.items():
        most = limit or ROWS_OF_SPLIT
        rows = _read(args, named[split], most + 1) if split in named else []
        if len(rows) > most:
            rows.pop()
            stream.notes.append(f"{split} is the first {most} rows of that split; use --{flags[split]} to take more.")
        if not rows and (split == "validation" or args.test_split_percentage):
            rows = _take_from_train(args, stream, split, limit or ROWS_FROM_TRAIN, flags[split])
        if rows:
            stream.first_rows[split] = _table(rows, named.get(split, stream.rows))
    first = _read(args, stream.rows, stream.buffer_size)
    if not first:
        raise UsageError(
            f"no train rows are left after the first {stream.num_taken}, which were taken for validation and test."
        )
    stream.first_rows = {"train": _table(first, stream.rows), **stream.first_rows}
    stream.notes.append(
        f"The train split was streamed. Its labels, the most frequent one, and the texts that other splits share with "
        f"it were determined from its first {len(first)} rows."
    )
    return stream


def _find_source(args: DataArguments) -> tuple[str, DataArguments]:
    """Return a short description of the train files, and the arguments with a Hub branch resolved to its commit."""
    if args.train_file:
        files = find_files("train", args.train_file)[0]
    else:
        folder = Path(resolve_package_path(str(args.dataset_name)))
        if not folder.is_dir():
            from huggingface_hub import HfApi

            def ask() -> str | None:
                return HfApi().dataset_info(str(args.dataset_name), revision=args.dataset_revision).sha

            commit = str(load_or_refuse(f"--dataset_name is {args.dataset_name}", ask))
            return f"{args.dataset_name} at {commit}", dataclasses.replace(args, dataset_revision=commit)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = "".join(f"{path.name} {path.stat().st_size}\n" for path in files)
    many = "1 file" if len(files) == 1 else f"{len(files)} files"
    return f"{many} ({hashlib.sha256(sizes.encode()).hexdigest()[:12]})", args


def _name_streams(raw: "dict[str, IterableDataset]", args: DataArguments) -> "dict[str, IterableDataset]":
    """Select the splits that the flags name, otherwise those with the usual names."""
    given = {split: getattr(args, f"{split}_split") for split in SPLIT_NAMES}
    there = ", ".join(map(str, raw))
    for split, name in given.items():
        if name and name not in raw:
            raise UsageError(f"--{split}_split is {name!r}; expected a whole split with --streaming, one of {there}.")
        others = [other for other in given if other != split and given[other] == name]
        if name and others:
            raise UsageError(
                f"--{split}_split and --{others[0]}_split have rows of {name!r} in common; choose different splits."
            )
    named = {}
    for split, names in SPLIT_NAMES.items():
        found = (
            [given[split]] if given[split] else [name for name in names if name in raw and name not in given.values()]
        )
        if found:
            named[split] = raw[found[0]]
    if "train" not in named:
        raise UsageError(f"the dataset has the splits {there}; expected one named train. Set it with --train_split.")
    return named


def _take_from_train(
    args: DataArguments, stream: TrainStream, split: str, size: int, flag: str
) -> list[dict[str, Any]]:
    """Take a split from the beginning of train; a stream cannot be sampled at random."""
    rows = _read(args, stream.rows, size)
    if len(rows) < size:
        raise UsageError(
            f"the data has no {split} split, and train has {stream.num_taken + len(rows)} rows, too few to take "
            f"{size} for it; lower --{flag}, or remove --streaming."
        )
    stream.rows = stream.rows.skip(size)
    stream.num_taken += size
    stream.split_off[split] = f"The data has no {split} split: {size} rows were taken from the beginning of train."
    stream.notes.append(stream.split_off[split])
    return rows


def _read(args: DataArguments, rows: "IterableDataset", size: int) -> list[dict[str, Any]]:
    given_as = f"--train_file is {args.train_file}" if args.train_file else f"--dataset_name is {args.dataset_name}"
    read: list[dict[str, Any]] = load_or_refuse(given_as, lambda: list(rows.take(size)))
    return read


def _table(rows: list[dict[str, Any]], stream: "IterableDataset") -> "Dataset":
    """Convert rows to a table, with the types that the files declare, if any, such as label names."""
    from datasets import Dataset

    names = dict.fromkeys(chain.from_iterable(rows))
    return Dataset.from_dict({name: [row.get(name) for row in rows] for name in names}, features=stream.features)


def stream_labels(stream: TrainStream, columns: Columns, label_words: str | None) -> list[str]:
    """Return the label names: those that the files declare, the keys of `--label_words`, or those of the first rows.

    Args:
        stream: The stream, with its first rows.
        columns: Names of the text and label columns.
        label_words: Value of `--label_words`; its keys are used if it is a JSON object.

    Raises:
        UsageError: If one of the first rows has no text or label, or if the rows read have only one label where two
            are needed.
    """
    from datasets import ClassLabel

    first = stream.first_rows["train"]
    part = dataclasses.replace(columns, first_row=stream.num_taken)
    present = read_labels(first, "train", columns).unique().drop_null().to_pylist()
    all_named = isinstance(first.features[columns.label], ClassLabel)
    names = None if all_named else _named_by(label_words)
    if len(present) == 1 and (stream.is_read_in_order or not (all_named or names)):
        raise UsageError(
            f"the first {len(first)} rows of train all have the label {present[0]!r}, but training needs at least two "
            f"labels. Raise --shuffle_buffer_size (now {stream.buffer_size}), or shuffle the rows of the files"
            + ("." if all_named else ", and list all labels in --label_words as a JSON object.")
        )
    for split, note in stream.split_off.items():
        if len(read_labels(stream.first_rows[split], split, columns).unique()) == 1:
            raise UsageError(f"{note} They all have one label; use a separate {split} split, or shuffle the rows.")
    names = names or label_names(first, part)
    _check(stream, part, names, first)
    return names


def _named_by(label_words: str | None) -> list[str] | None:
    try:
        given = json.loads(label_words or "null")
    except json.JSONDecodeError:  # words separated by commas, or an error that is reported later
        return None
    return list(given) if isinstance(given, dict) else None


def checked_rows(stream: TrainStream, columns: Columns, labels: list[str]) -> "IterableDataset":
    """Return the stream with the columns `text` and `label` (a class id); each row is checked when it is read.

    Args:
        stream: The stream.
        columns: Names of the text and label columns.
        labels: Label names in the order of their ids.

    Raises:
        UsageError: While reading, if a row has no text or no known label; the message shows the row.
    """
    from datasets import Dataset

    def check(rows: dict[str, list[Any]], numbers: list[int]) -> dict[str, Any]:
        table = Dataset.from_dict(rows, features=stream.rows.features)
        try:
            return _check(stream, dataclasses.replace(columns, first_row=stream.num_taken + numbers[0]), labels, table)
        except UsageError as error:
            if stream.is_read_in_order:
                raise
            raise UsageError(
                f"{error} Rows are counted within a file, or within the files that are read together."
            ) from None

    names = stream.first_rows["train"].column_names
    return stream.rows.map(check, batched=True, with_indices=True, remove_columns=names)


def _check(stream: TrainStream, columns: Columns, labels: list[str], table: "Dataset") -> dict[str, Any]:
    """Return the texts and class ids of some rows; an error shows the first row without a text or a known label."""
    hint = ""
    try:
        texts = read_texts(table, "train", columns)["text"][:]
        hint = (
            f" Labels that are not in the first {len(stream.first_rows['train'])} rows must be listed in "
            "--label_words, as JSON."
        )
        ids = label_ids(read_labels(table, "train", columns), "train", columns, labels)
    except UsageError as error:
        if len(table) == 1:
            raise UsageError(f"{error} The row is {str(table[0])[:300]}.{hint}") from None
        for number in range(len(table)):
            one = dataclasses.replace(columns, first_row=columns.first_row + number)
            _check(stream, one, labels, table.select([number]))
        raise
    return {"text": texts, "label": ids.tolist()}
