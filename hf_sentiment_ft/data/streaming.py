"""The train split as a stream, read while training goes on: for data that does not fit a disk (`--streaming`)."""

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

# Rows of validation and test, which are kept whole because every metric needs all of them.
ROWS_OF_SPLIT = 10_000
ROWS_FROM_TRAIN = 1_000


@dataclass
class TrainStream:
    """The train split, whose rows are read anew in each pass.

    Attributes:
        rows: As they stand in the files, without those that validation and test have taken.
        source: What is known of the files without reading them, in few words.
        buffer_size: Rows that are shuffled together, and that are read before training begins.
        num_taken: Rows at its beginning that are validation's or test's.
        first_rows: Its first rows, and all rows of the other splits, as tables.
        notes: Sentences on what was read of it.
        split_off: The note of each split that was taken from it.
        checked: The rows as `checked_rows` gives them, once columns and labels are known.
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
        """Whether there is one file, or `datasets` reads one after the other, as it does where rows were skipped."""
        return self.num_taken > 0 or self.rows.num_shards == 1


def open_stream(args: DataArguments) -> TrainStream:
    """Find the splits, and read validation and test, and the first rows of train.

    Raises:
        UsageError: If there are none, or too few.
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
            stream.notes.append(f"{split} is the first {most} rows of that split; --{flags[split]} can take more.")
        if not rows and (split == "validation" or args.test_split_percentage):
            rows = _take_from_train(args, stream, split, limit or ROWS_FROM_TRAIN, flags[split])
        if rows:
            stream.first_rows[split] = _table(rows, named.get(split, stream.rows))
    first = _read(args, stream.rows, stream.buffer_size)
    if not first:
        raise UsageError(f"the train split has no rows behind the {stream.num_taken} that other splits take.")
    stream.first_rows = {"train": _table(first, stream.rows), **stream.first_rows}
    stream.notes.append(
        f"The train split was streamed. Its labels, the most frequent one, and the texts that other splits share with "
        f"it are those of its first {len(first)} rows."
    )
    return stream


def _find_source(args: DataArguments) -> tuple[str, DataArguments]:
    """What is known of the train files, and the arguments with the commit that a branch of the Hub stands for."""
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
    """Pick the splits that the flags name, otherwise those of usual names."""
    given = {split: getattr(args, f"{split}_split") for split in SPLIT_NAMES}
    there = ", ".join(map(str, raw))
    for split, name in given.items():
        if name and name not in raw:
            raise UsageError(f"--{split}_split is {name!r}; expected a whole split with --streaming, one of {there}.")
        others = [other for other in given if other != split and given[other] == name]
        if name and others:
            raise UsageError(f"--{split}_split and --{others[0]}_split have rows of {name!r} in common.")
    named = {}
    for split, names in SPLIT_NAMES.items():
        found = (
            [given[split]] if given[split] else [name for name in names if name in raw and name not in given.values()]
        )
        if found:
            named[split] = raw[found[0]]
    if "train" not in named:
        raise UsageError(f"the data set has the splits {there}; expected one named train. Name it with --train_split.")
    return named


def _take_from_train(
    args: DataArguments, stream: TrainStream, split: str, size: int, flag: str
) -> list[dict[str, Any]]:
    """Take a split from the beginning of train; a stream cannot be drawn from."""
    rows = _read(args, stream.rows, size)
    if len(rows) < size:
        raise UsageError(
            f"the data has no {split} split, and train has {stream.num_taken + len(rows)} rows, too few to take "
            f"{size} for it; lower --{flag}, or leave out --streaming."
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
    """Rows as a table; with the types of the files, where these say them, such as names of labels."""
    from datasets import Dataset

    names = dict.fromkeys(chain.from_iterable(rows))
    return Dataset.from_dict({name: [row.get(name) for row in rows] for name in names}, features=stream.features)


def stream_labels(stream: TrainStream, columns: Columns, label_words: str | None) -> list[str]:
    """Names of the labels: the files' own, those that `--label_words` names as a JSON object, or the first rows'.

    Raises:
        UsageError: If a first row has no text or label, or they do not have two labels, though they should.
    """
    from datasets import ClassLabel

    first = stream.first_rows["train"]
    part = dataclasses.replace(columns, first_row=stream.num_taken)
    present = read_labels(first, "train", columns).unique().drop_null().to_pylist()
    all_named = isinstance(first.features[columns.label], ClassLabel)
    names = None if all_named else _named_by(label_words)
    if len(present) == 1 and (stream.is_read_in_order or not (all_named or names)):
        raise UsageError(
            f"the first {len(first)} rows of train all have the label {present[0]!r}, and from one label nothing is "
            f"learnt. Raise --shuffle_buffer_size (now {stream.buffer_size}), or mix the rows of the files"
            + ("." if all_named else ", and name all labels by --label_words as a JSON object.")
        )
    for split, note in stream.split_off.items():
        if len(read_labels(stream.first_rows[split], split, columns).unique()) == 1:
            raise UsageError(f"{note} They all have one label; give a {split} split of its own, or mix the rows.")
    names = names or label_names(first, part)
    _check(stream, part, names, first)
    return names


def _named_by(label_words: str | None) -> list[str] | None:
    try:
        given = json.loads(label_words or "null")
    except json.JSONDecodeError:  # words separated by commas, or a mistake that is told later
        return None
    return list(given) if isinstance(given, dict) else None


def checked_rows(stream: TrainStream, columns: Columns, labels: list[str]) -> "IterableDataset":
    """The rows as `text` and `label`, a class id, each checked as it is read.

    Raises:
        UsageError: While it is read, if a row has no text, or no label that is known; it shows the row.
    """
    from datasets import Dataset

    def check(rows: dict[str, list[Any]], numbers: list[int]) -> dict[str, Any]:
        table = Dataset.from_dict(rows, features=stream.rows.features)
        try:
            return _check(stream, dataclasses.replace(columns, first_row=stream.num_taken + numbers[0]), labels, table)
        except UsageError as error:
            if stream.is_read_in_order:
                raise
            raise UsageError(f"{error} It is counted in its file, or in the files that are read as one.") from None

    names = stream.first_rows["train"].column_names
    return stream.rows.map(check, batched=True, with_indices=True, remove_columns=names)


def _check(stream: TrainStream, columns: Columns, labels: list[str], table: "Dataset") -> dict[str, Any]:
    """Texts and class ids of some rows; of those that have neither, the first is shown."""
    hint = ""
    try:
        texts = read_texts(table, "train", columns)["text"][:]
        hint = (
            f" Labels not among the first {len(stream.first_rows['train'])} rows are named by --label_words, as JSON."
        )
        ids = label_ids(read_labels(table, "train", columns), "train", columns, labels)
    except UsageError as error:
        if len(table) == 1:
            raise UsageError(f"{error} It is {str(table[0])[:300]}.{hint}") from None
        for number in range(len(table)):
            one = dataclasses.replace(columns, first_row=columns.first_row + number)
            _check(stream, one, labels, table.select([number]))
        raise
    return {"text": texts, "label": ids.tolist()}
