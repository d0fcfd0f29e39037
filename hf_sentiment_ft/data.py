"""Load labelled texts, check them, and sample them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import DataArguments
from .errors import UsageError
from .loading import load_raw, name_splits

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment", "tweet", "body", "document")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "polarity", "stars")


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
    source, copy = args.dataset_name, args.save_dataset_dir
    if source and copy and Path(source).resolve() == Path(copy).resolve():
        raise UsageError(f"--save_dataset_dir is {copy}, the folder that the data set is read from; name another.")
    raw = load_raw(args)
    if args.save_dataset_dir:
        raw.save_to_disk(args.save_dataset_dir)
    named = name_splits(raw)
    text_column = _find_column(named["train"], args.text_column_name, TEXT_COLUMNS, "text_column_name", "text")
    label_column = _find_column(named["train"], args.label_column_name, LABEL_COLUMNS, "label_column_name", "label")
    if text_column == label_column:
        raise UsageError(
            f"text and label are both the column {text_column!r}; name the other with --label_column_name."
        )
    for split, dataset in named.items():
        _refuse_missing(dataset, split, text_column, label_column)
    labels = _label_names(named["train"], label_column)
    data = LabelledSplits({}, [str(label) for label in labels])
    for split, dataset in named.items():
        data.splits[split] = _checked(dataset, split, text_column, label_column, labels)
    _refuse_labels_without_rows(data, "no row of the train split has")
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
    _refuse_labels_without_rows(data, f"--max_train_samples is {args.max_train_samples}: no row is left for")
    for note in data.notes:
        logger.info(note)
    return data


def _refuse_labels_without_rows(data: LabelledSplits, reason: str) -> None:
    present = np.bincount(_column(data.splits["train"], "label"), minlength=len(data.labels))
    missing = [data.labels[label] for label in np.flatnonzero(present == 0)]
    if missing:
        raise UsageError(f"{reason} the label {', '.join(missing)}; the model cannot learn it.")


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


def _refuse_missing(dataset: "Dataset", split: str, text_column: str, label_column: str) -> None:
    """Refuse rows without a text or a label, and columns that are not there or hold no texts."""
    import pyarrow.compute

    for column, flag_name in ((text_column, "text_column_name"), (label_column, "label_column_name")):
        if column not in dataset.column_names:
            there = ", ".join(dataset.column_names)
            given_as = f"--{split}_file" if split != "train" else f"--{flag_name}"
            raise UsageError(f"the {split} split has no column {column!r}, as train has, only {there}; see {given_as}.")
    if getattr(dataset.features[text_column], "dtype", None) not in ("string", "large_string"):
        raise UsageError(
            f"the text column {text_column!r} of the {split} split holds {dataset.features[text_column]}; "
            "expected strings. Name the right one with --text_column_name."
        )
    table = dataset.select_columns([text_column, label_column]).with_format("arrow")[:]
    empty = pyarrow.compute.equal(pyarrow.compute.utf8_trim_whitespace(table[text_column]), "")
    _refuse(np.flatnonzero(pyarrow.compute.fill_null(empty, True)), split, f"no text in column {text_column!r}")
    missing = pyarrow.compute.is_null(table[label_column], nan_is_null=True)
    _refuse(np.flatnonzero(missing), split, f"no label in column {label_column!r}")


def _checked(dataset: "Dataset", split: str, text_column: str, label_column: str, labels: list[Any]) -> "Dataset":
    """Return the split with columns `text` and `label` (a class id), every label of it known."""
    from datasets import ClassLabel

    dataset = dataset.select_columns([text_column, label_column])
    table = dataset.with_format("arrow")[:]
    values = table[label_column].to_pylist()
    feature = dataset.features[label_column]
    if isinstance(feature, ClassLabel):
        values = [feature.names[value] if value is not None and value >= 0 else None for value in values]
    ids = {str(label): index for index, label in enumerate(labels)}  # 1 in one file may be "1" in another
    label_ids = np.array([-2 if value is None else ids.get(str(value), -1) for value in values])
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
        lambda rows: {"label": [ids[str(value)] for value in _names(rows["label"], feature)]},
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


def stratified_sample(
    labels: "np.ndarray[Any, Any]", size: int, seed: int, *, rare_first: bool = True
) -> "np.ndarray[Any, Any]":
    """Draw rows so that each class keeps its share.

    Args:
        labels: Class ids, (rows,).
        size: How many rows to draw.
        seed: Decides which.
        rare_first: Whether a class of few rows gets one while there is room, or leaves them to those not drawn.

    Returns:
        Row numbers in ascending order, (size,).
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))  # each row's place within its class, from 0 to 1
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + (not rare_first)) / len(members)
    return np.sort(order[np.argsort(place[order], kind="stable")[:size]])


def _split_off(data: LabelledSplits, split: str, percentage: int, seed: int) -> None:
    train = data.splits["train"]
    size = max(len(data.labels), round(len(train) * percentage / 100))
    chosen = stratified_sample(_column(train, "label"), size, seed, rare_first=False)
    rest = np.setdiff1d(np.arange(len(train)), chosen)
    if len(rest) < len(data.labels):
        raise UsageError(f"the train split has {len(train)} rows, too few to take a {split} split from it.")
    data.splits[split], data.splits["train"] = train.select(chosen), train.select(rest)
    note = f"The data has no {split} split: {size} of {len(train)} train rows were taken, seed {seed}."
    data.notes.append(note)
    data.split_off[split] = note
