"""Load labelled texts, check them, and sample them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import DataArguments
from .errors import UsageError
from .paths import resolve_package_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment", "tweet", "body", "document")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "polarity", "stars")
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


@dataclass
class LabelledSplits:
    """The rows of a run, columns `text` and `label` (a class id), and what has to be said about them.

    Attributes:
        splits: `train`, `validation` and, unless there is none, `test`.
        labels: Label names in the order of their ids.
        notes: Sentences for the log and the card: what was split off or sampled, and how.
        split_off: The note of each split that was taken from train.
    """

    splits: "dict[str, Dataset]"
    labels: list[str]
    notes: list[str] = field(default_factory=list)
    split_off: dict[str, str] = field(default_factory=dict)


def load_splits(args: DataArguments, seed: int) -> LabelledSplits:
    """Load, check and sample the data of a run.

    Args:
        args: Where the data is and which columns hold it.
        seed: Decides which rows are split off train and which are sampled.

    Raises:
        UsageError: If the data cannot be loaded or does not hold texts with labels; it names the rows.
    """
    raw = _load_raw(args)
    if args.save_dataset_dir:
        raw.save_to_disk(args.save_dataset_dir)
    named = _name_splits(raw)
    text_column = _find_column(named["train"], args.text_column_name, TEXT_COLUMNS, "text_column_name", "text")
    label_column = _find_column(named["train"], args.label_column_name, LABEL_COLUMNS, "label_column_name", "label")
    labels = _label_names(named["train"], label_column)
    data = LabelledSplits({}, [str(label) for label in labels])
    for split, dataset in named.items():
        data.splits[split] = _checked(dataset, split, text_column, label_column, labels)
    present = np.bincount(_column(data.splits["train"], "label"), minlength=len(labels))
    if not present.all():
        missing = [data.labels[i] for i in np.flatnonzero(present == 0)]
        raise UsageError(f"no row of the train split has the label {', '.join(missing)}; the model cannot learn it.")
    if len(labels) < 2:
        raise UsageError(f"the train split has one label, {data.labels[0]!r}; expected at least two.")
    percentages = {"validation": args.validation_split_percentage, "test": args.test_split_percentage}
    for split, percentage in percentages.items():
        if split not in data.splits and percentage:
            _split_off(data, split, percentage, seed)
    limits = {"train": args.max_train_samples, "validation": args.max_eval_samples, "test": args.max_test_samples}
    for split, limit in limits.items():
        if limit is not None and split in data.splits and limit < len(data.splits[split]):
            data.notes.append(
                f"{limit} of {len(data.splits[split])} {split} rows, drawn over all classes, seed {seed}."
            )
            rows = stratified_sample(_column(data.splits[split], "label"), limit, seed)
            data.splits[split] = data.splits[split].select(rows)
    for note in data.notes:
        logger.info(note)
    return data


def _load_raw(args: DataArguments) -> "DatasetDict":
    """Load files, a folder (saved by `save_to_disk` or holding data files), or a Hub data set."""
    import datasets

    options: dict[str, Any]
    if args.train_file:
        files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        given = {split: str(path) for split, path in files.items() if path}
        kinds = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
        kind = kinds.get(Path(args.train_file).suffix)
        for split, path in given.items():
            if not Path(path).is_file():
                raise UsageError(f"--{split}_file is {path}, which is not a file.")
            if kinds.get(Path(path).suffix) != kind or kind is None:
                raise UsageError(f"--{split}_file is {path}; expected files of one kind: {', '.join(kinds)}.")
        source, options = str(kind), {"data_files": given}
    else:
        source = resolve_package_path(str(args.dataset_name))
        options = {} if Path(source).is_dir() else {"revision": args.dataset_revision}
    try:
        if (Path(source) / "dataset_dict.json").is_file():
            return datasets.DatasetDict.load_from_disk(source)
        return datasets.load_dataset(source, args.dataset_config_name, **options)
    except (OSError, ValueError, datasets.exceptions.DatasetGenerationError) as error:
        given_as = (
            f"--dataset_name is {args.dataset_name}" if args.dataset_name else f"--train_file is {args.train_file}"
        )
        cause = error.__cause__ or error
        raise UsageError(f"{given_as}, which cannot be loaded: {type(cause).__name__}: {cause}") from error


def _name_splits(raw: "DatasetDict") -> "dict[str, Dataset]":
    named = {}
    for split, names in SPLIT_NAMES.items():
        found = [name for name in names if name in raw and len(raw[name])]
        if found:
            named[split] = raw[found[0]]
    if "train" not in named:
        raise UsageError(
            f"the data set has the splits {', '.join(map(str, raw))}; expected one named train, with rows."
        )
    return named


def _find_column(dataset: "Dataset", given: str | None, usual: Sequence[str], flag_name: str, what: str) -> str:
    columns = dataset.column_names
    if given is not None:
        if given not in columns:
            raise UsageError(f"--{flag_name} is {given!r}; the columns are: {', '.join(columns)}.")
        return given
    by_name = {name.lower(): name for name in reversed(columns)}
    for name in usual:
        if name in by_name:
            return by_name[name]
    raise UsageError(f"no {what} column found among {', '.join(columns)}; name it with --{flag_name}.")


def _label_names(train: "Dataset", column: str) -> list[Any]:
    """Class names of a ClassLabel column, otherwise the distinct values, sorted."""
    from datasets import ClassLabel

    feature = train.features[column]
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    kind = str(getattr(feature, "dtype", feature))
    if not kind.startswith(("string", "large_string", "bool", "int", "uint")):
        raise UsageError(
            f"the label column {column!r} holds {kind}; expected class names, integers or strings. "
            "Regression and multi-label tables are not supported: "
            "AutoModelForSequenceClassification does them."
        )
    values = [value for value in train.unique(column) if value is not None]
    if len(values) > 1000:
        raise UsageError(
            f"the label column {column!r} has {len(values)} different values; expected at most 1000. "
            "Name the right one with --label_column_name."
        )
    return sorted(values)


def _checked(dataset: "Dataset", split: str, text_column: str, label_column: str, labels: list[Any]) -> "Dataset":
    """Return the split with columns `text` and `label` (a class id), every row of it usable."""
    import pyarrow.compute
    from datasets import ClassLabel

    for column in (text_column, label_column):
        if column not in dataset.column_names:
            raise UsageError(f"the {split} split has no column {column!r}, as train has: {dataset.column_names}.")
    if getattr(dataset.features[text_column], "dtype", None) not in ("string", "large_string"):
        raise UsageError(
            f"the text column {text_column!r} of the {split} split holds {dataset.features[text_column]}; "
            "expected strings. Name the right one with --text_column_name."
        )
    dataset = dataset.select_columns([text_column, label_column])
    table = dataset.with_format("arrow")[:]
    empty = pyarrow.compute.equal(pyarrow.compute.utf8_trim_whitespace(table[text_column]), "")
    _refuse(np.flatnonzero(pyarrow.compute.fill_null(empty, True)), split, f"no text in column {text_column!r}")

    values = table[label_column].to_pylist()
    feature = dataset.features[label_column]
    if isinstance(feature, ClassLabel):
        values = [feature.names[value] if value is not None and value >= 0 else None for value in values]
    ids = {label: index for index, label in enumerate(labels)}
    label_ids = np.array([-2 if value is None else ids.get(value, -1) for value in values])
    _refuse(np.flatnonzero(label_ids == -2), split, f"no label in column {label_column!r}")
    unknown = np.flatnonzero(label_ids == -1)
    examples = ", ".join(sorted({repr(values[row]) for row in unknown[:10]}))
    _refuse(unknown, split, f"a label that train does not have ({examples})")

    dataset = dataset.rename_columns({text_column: "text", label_column: "label"})
    names = [str(label) for label in labels]
    if isinstance(feature, ClassLabel) and feature.names == names:
        return dataset
    features = dataset.features.copy()
    features["label"] = ClassLabel(names=names)
    return dataset.map(
        lambda rows: {"label": [ids[value] for value in _names(rows["label"], feature)]},
        batched=True,
        features=features,
        desc="Reading labels",
    )


def _names(values: list[Any], feature: Any) -> list[Any]:
    return [feature.names[value] for value in values] if hasattr(feature, "names") else values


def _refuse(rows: "np.ndarray[Any, Any]", split: str, what: str) -> None:
    if len(rows):
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        raise UsageError(f"{len(rows)} rows of the {split} split have {what}: rows {shown} (counted from 0).")


def _column(dataset: "Dataset", name: str) -> "np.ndarray[Any, Any]":
    return np.asarray(dataset.with_format("numpy")[name][:])


def stratified_sample(labels: "np.ndarray[Any, Any]", size: int, seed: int) -> "np.ndarray[Any, Any]":
    """Draw rows so that each class keeps its share, and none is left out while there is room for it.

    Args:
        labels: Class ids, (rows,).
        size: How many rows to draw.
        seed: Decides which.

    Returns:
        Row numbers in ascending order, (size,).
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))  # each row's place within its class, from 0 (first) to 1
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(place[order], kind="stable")[:size]])


def _split_off(data: LabelledSplits, split: str, percentage: int, seed: int) -> None:
    train = data.splits["train"]
    size = max(len(data.labels), round(len(train) * percentage / 100))
    chosen = stratified_sample(_column(train, "label"), size, seed)
    rest = np.setdiff1d(np.arange(len(train)), chosen)
    if len(rest) < len(data.labels):
        raise UsageError(f"the train split has {len(train)} rows, too few to take a {split} split from it.")
    data.splits[split], data.splits["train"] = train.select(chosen), train.select(rest)
    note = f"The data has no {split} split: {size} of {len(train)} train rows were taken, seed {seed}."
    data.notes.append(note)
    data.split_off[split] = note
