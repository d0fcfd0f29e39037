"""Which splits of a dataset are train, validation and test."""

import math
from typing import TYPE_CHECKING, Any

from ..config.arguments import DataArguments
from ..errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def name_splits(raw: "DatasetDict", args: DataArguments) -> "dict[str, Dataset]":
    """Select the splits that the flags name, otherwise those with the usual names, skipping empty tables.

    Args:
        raw: All splits of the dataset.
        args: `--train_split`, `--validation_split`, `--test_split`, such as `unsupervised` or `train[:80%]+extra`.

    Raises:
        UsageError: If there is no train split, or a flag names rows that do not exist or that another flag names.
    """
    given = {"train": args.train_split, "validation": args.validation_split, "test": args.test_split}
    ranges_of: Any = _whole_split if args.streaming else _row_ranges
    rows = {split: ranges_of(raw, split, spec) for split, spec in given.items() if spec}
    taken = {name for ranges in rows.values() for name, _, _ in ranges}
    named = {}
    for split, names in SPLIT_NAMES.items():
        if split in rows:
            _refuse_shared_rows(split, rows)
            named[split] = raw[given[split]] if args.streaming else _select(raw, rows[split])
            continue
        there = [name for name in names if name in raw and name not in taken]
        found = [name for name in there if args.streaming or len(raw[name])]
        if found:
            named[split] = raw[found[0]]
    if "train" not in named:
        raise UsageError(
            f"the dataset has the splits {', '.join(map(str, raw))}; expected one named train, with rows. Set it with "
            "--train_split."
        )
    return named


def _whole_split(raw: "DatasetDict", split: str, spec: str) -> list[tuple[str, float, float]]:
    """Return a split of a stream in the form of `_row_ranges`; a stream has no slices."""
    if spec not in raw:
        raise UsageError(
            f"--{split}_split is {spec!r}; expected a whole split with --streaming, one of {', '.join(map(str, raw))}."
        )
    return [(spec, 0, math.inf)]


def _row_ranges(raw: "DatasetDict", split: str, spec: str) -> list[tuple[str, int, int]]:
    """Parse the value of a split's flag, in the notation of `datasets`.

    Returns:
        Split name, first row and end of each part.
    """
    from datasets import ReadInstruction

    try:
        parts = ReadInstruction.from_spec(spec).to_absolute({name: len(dataset) for name, dataset in raw.items()})
    except ValueError as error:
        there = ", ".join(map(str, raw))
        raise UsageError(
            f"--{split}_split is {spec!r}; expected one or more of {there}, or slices such as train[:80%]."
        ) from error
    ranges = [(part.splitname, part.from_, part.to) for part in parts if part.from_ < part.to]
    if not ranges:
        raise UsageError(f"--{split}_split is {spec!r}, which has no rows.")
    return ranges


def _refuse_shared_rows(split: str, rows: dict[str, list[tuple[str, float, float]]]) -> None:
    """Refuse splits with rows in common; a model must not be evaluated on rows that it was trained on."""
    for other in rows:
        for name, start, end in rows[split]:
            for other_name, other_start, other_end in rows[other]:
                if other != split and name == other_name and max(start, other_start) < min(end, other_end):
                    raise UsageError(
                        f"--{split}_split and --{other}_split have rows of {name!r} in common; choose ranges that do "
                        "not overlap."
                    )


def _select(raw: "DatasetDict", ranges: list[tuple[str, int, int]]) -> "Dataset":
    from datasets import concatenate_datasets

    return concatenate_datasets([raw[name].select(range(start, end)) for name, start, end in ranges])
