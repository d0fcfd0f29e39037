"""The train split as a stream, read while training goes on: for data that does not fit a disk (`--streaming`)."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import DataArguments
from .errors import UsageError
from .loading import SPLIT_NAMES, find_files, load_or_refuse, load_raw
from .paths import resolve_package_path

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from transformers import TrainingArguments

# Rows of validation and test, which are kept whole because every metric needs all of them.
ROWS_OF_SPLIT = 10_000
ROWS_FROM_TRAIN = 1_000
# What cannot be done to rows that are never there together, and what to do instead.
NEEDS_TABLE = {
    "max_train_samples": "--max_steps says how many rows are trained on.",
    "validation_split_percentage": "--max_eval_samples says how many rows are taken from the beginning of train.",
    "num_shots_per_class": "leave out --streaming, or write the few rows to a file.",
    "class_weights": "leave it out.",
    "drop_duplicates": "leave it out, or take duplicates out of the files.",
    "save_dataset_dir": "a stream is not kept.",
}


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


def check_streaming(data_args: DataArguments, args: "TrainingArguments") -> None:
    """Refuse what a stream cannot do; evaluate and save after each tenth of the steps, where epochs were to say when.

    Raises:
        UsageError: If a flag needs the whole table, or the length of the run is not given in steps.
    """
    if not data_args.streaming:
        return
    if args.max_steps < 1:
        raise UsageError("--streaming needs --max_steps: how many rows there are is not known before the last one.")
    if args.dataloader_num_workers:
        raise UsageError(
            f"--dataloader_num_workers is {args.dataloader_num_workers}; expected 0 with --streaming: one thread reads "
            "ahead, so that the order of rows is the same in every run."
        )
    if args.train_sampling_strategy not in ("random", "group_by_length"):
        raise UsageError(
            f"--train_sampling_strategy is {args.train_sampling_strategy}; expected random or group_by_length with "
            "--streaming."
        )
    given = {
        name: getattr(data_args, name)
        for name in NEEDS_TABLE
        if getattr(data_args, name) != getattr(DataArguments, name)
    }
    for name, value in given.items():
        raise UsageError(
            f"--{name} is {value}, which needs all rows together, and --streaming never has them; {NEEDS_TABLE[name]}"
        )
    for what in ("eval", "save"):
        if getattr(args, f"{what}_strategy") == "epoch":
            setattr(args, f"{what}_strategy", type(args.eval_strategy)("steps"))
            setattr(args, f"{what}_steps", 0.1)


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
