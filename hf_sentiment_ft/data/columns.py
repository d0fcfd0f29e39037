"""Find the text and label columns, and read them: every row must have both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.arguments import DataArguments
from ..config.templates import column_names, fill
from ..errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment", "tweet", "body", "document")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "polarity", "stars")
MAX_LABELS = 1000


@dataclass(frozen=True)
class Columns:
    """Names of the text and label columns.

    Attributes:
        text: One column or more; several are put into the template or, without one, joined by a line break.
        label: The column with the label.
        template: A text with column names in braces.
        first_row: Number of the first row, if the rows are part of a stream.
    """

    text: list[str]
    label: str
    template: str | None = None
    first_row: int = 0


def find_columns(train: "Dataset", args: DataArguments) -> Columns:
    """Select the columns that the flags name, otherwise those with the usual names.

    Raises:
        UsageError: If a column is missing, or the same column is both text and label.
    """
    label = _find_column(train, args.label_column_name, LABEL_COLUMNS, "label_column_name", "label")
    given, template = args.text_column_name, args.text_template
    if template:
        text = column_names(template)
        if missing := [name for name in text if name not in train.column_names]:
            raise UsageError(
                f"the text template names {', '.join(f'{{{name}}}' for name in missing)}; the columns are: "
                f"{', '.join(train.column_names)}. Use {{text}} for the text column, whatever its name."
            )
    elif given and "," in given and given not in train.column_names:
        names = [name.strip() for name in given.split(",")]
        text = [_find_column(train, name, (), "text_column_name", "text") for name in names]
    else:
        text = [_find_column(train, given, TEXT_COLUMNS, "text_column_name", "text")]
    if label in text:
        raise UsageError(
            f"the text and the label are both the column {label!r}; choose different ones with --text_column_name and "
            "--label_column_name."
        )
    return Columns(text, label, template)


def _find_column(dataset: "Dataset", given: str | None, usual: Sequence[str], flag_name: str, what: str) -> str:
    columns = dataset.column_names
    if "__index_level_0__" in columns:  # pandas uses fields that the header does not name as the index
        raise UsageError("the rows have more fields than the header has names; put quotes around texts with commas.")
    if given is not None:
        if given not in columns:
            raise UsageError(f"--{flag_name} is {given!r}; the columns are: {', '.join(columns)}.")
        return given
    by_name = {name.lower(): name for name in reversed(columns)}
    found = next((by_name[name] for name in usual if name in by_name), None)
    if found is None:
        raise UsageError(f"no {what} column found among {', '.join(columns)}; set it with --{flag_name}.")
    if f"{found}.1" in columns:  # how pandas renames a second column of the same name
        raise UsageError(
            f"there are two columns named {found!r}, read as {', '.join(columns)}; choose one with --{flag_name}."
        )
    return found


def read_texts(dataset: "Dataset", split: str, columns: Columns) -> "Dataset":
    """Return the split with only the column `text`.

    Raises:
        UsageError: If a column is missing or does not contain strings, or a row has no text.
    """
    import pyarrow.compute as pc

    for name in columns.text:
        require_column(dataset, split, name, "text_column_name")
    # An empty CSV column has no type of its own.
    names = [name for name in columns.text if not _is_empty(dataset, name)] or columns.text[:1]
    for name in names:
        if getattr(dataset.features[name], "dtype", None) not in ("string", "large_string"):
            raise UsageError(
                f"the text column {name!r} of the {split} split contains {dataset.features[name]}; "
                "expected strings. Set the right column with --text_column_name."
            )
    texts = dataset.select_columns(names)
    if len(names) == 1 and not columns.template:
        texts = texts.rename_columns({names[0]: "text"})
    else:
        join = texts.with_format("arrow").map
        given = {"template": columns.template}
        texts = join(_join, batched=True, fn_kwargs=given, remove_columns=names, desc="Joining columns")
        texts = texts.with_format(None)
    column = texts.with_format("arrow")[:]["text"]
    blank = pc.fill_null(pc.or_(pc.utf8_is_space(column), pc.equal(pc.binary_length(column), 0)), True)
    refuse_rows(blank, split, f"no text in column {', '.join(map(repr, columns.text))}", columns.first_row)
    return texts


def _is_empty(dataset: "Dataset", column: str) -> bool:
    """Return whether no row has a value in the column."""
    values = dataset.select_columns([column]).with_format("arrow")[:][column]
    return bool(values.is_null(nan_is_null=True).to_numpy().all())


def number_texts(splits: "dict[str, Dataset]") -> "dict[str, np.ndarray[Any, Any]]":
    """Assign numbers to the texts of all splits, the same number to equal texts.

    Returns:
        The numbers of each split, (rows,).
    """
    import pyarrow as pa

    columns = [dataset.with_format("arrow")[:]["text"].cast(pa.large_string()) for dataset in splits.values()]
    encoded = pa.chunked_array([chunk for column in columns for chunk in column.chunks]).dictionary_encode()
    numbers = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    ends = np.cumsum([len(column) for column in columns])
    return dict(zip(splits, np.split(numbers, ends[:-1]), strict=True))


def _join(table: "pa.Table", template: str | None) -> "pa.Table":
    """Join the columns of each row by a line break, leaving out empty ones, or put them into a template."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [pc.cast(column.combine_chunks(), pa.large_string()) for column in table.columns]
    if template:
        rows = table.to_pylist()
        empty_columns = dict.fromkeys(column_names(template))
        return pa.table(
            {"text": [fill(template, empty_columns | row) if any(row.values()) else "" for row in rows]},
            schema=pa.schema({"text": pa.large_string()}),
        )
    present = [pc.if_else(pc.equal(column, ""), None, column) for column in columns]
    # Arrow drops a row with nothing to join, so each row begins with an empty string.
    empty, line_break = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    joined = pc.binary_join_element_wise(empty, *present, line_break, null_handling="skip")
    return pa.table({"text": pc.utf8_slice_codeunits(joined, 1)})


def read_labels(dataset: "Dataset", split: str, columns: Columns) -> "pa.ChunkedArray":
    """Return the label name of each row as a string, (rows,), so that 1 in one file equals "1" in another.

    Labels are names of a `ClassLabel`, strings, integers (also written 1.0), `True` or `False`. A row without a label
    is null.

    Raises:
        UsageError: If the column is missing or contains anything else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from datasets import ClassLabel

    require_column(dataset, split, columns.label, "label_column_name")
    feature = dataset.features[columns.label]
    values = dataset.select_columns([columns.label]).with_format("arrow")[:][columns.label]
    if isinstance(feature, ClassLabel):
        return pc.take(pa.array(feature.names), pc.if_else(pc.less(values, 0), None, values))
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "True", "False")
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
        if pc.all(pc.equal(pc.trunc(values), values)).as_py() is not False:  # None: the column is empty
            values = pc.cast(values, pa.int64())
    if pa.types.is_integer(values.type) or pa.types.is_null(values.type):
        return pc.cast(values, pa.string())
    kind = str(getattr(feature, "dtype", feature))
    if kind.startswith("Json"):
        raise UsageError(
            f"the label column {columns.label!r} of the {split} split contains values of several types, such as "
            "numbers and strings; write all of them as strings."
        )
    if not kind.startswith(("string", "large_string")):
        raise UsageError(
            f"the label column {columns.label!r} contains {kind}; expected class names, integers or strings. "
            "Regression and multi-label data are not supported; use AutoModelForSequenceClassification for them."
        )
    return pc.if_else(pc.equal(values, ""), None, values)


def label_names(train: "Dataset", columns: Columns) -> list[str]:
    """Return the label names in the order of their ids: as in a `ClassLabel`, otherwise sorted, numbers by value.

    Raises:
        UsageError: If a row has no label, or there are fewer than 2 or more than 1000 different labels.
    """
    from datasets import ClassLabel

    values = read_labels(train, "train", columns)
    refuse_rows(values.is_null(), "train", f"no label in column {columns.label!r}")
    feature = train.features[columns.label]
    if isinstance(feature, ClassLabel):
        names = list(feature.names)
    else:
        names = values.unique().to_pylist()
        numbers = all(name.removeprefix("-").isdecimal() for name in names)
        names = sorted(names, key=int) if numbers else sorted(names)
    if len(names) > MAX_LABELS:
        raise UsageError(
            f"the label column {columns.label!r} has {len(names)} different values; expected at most {MAX_LABELS}. "
            "Set the right column with --label_column_name."
        )
    if len(names) < 2:
        raise UsageError(f"the train split has one label, {names[0]!r}; expected at least two.")
    return names


def label_ids(values: "pa.ChunkedArray", split: str, columns: Columns, names: list[str]) -> "np.ndarray[Any, Any]":
    """Return the class id of each row, (rows,).

    Args:
        values: Label names as from `read_labels`, (rows,).
        split: Name of the split, for the message.
        columns: Names of the columns, for the message.
        names: Label names in the order of their ids.

    Raises:
        UsageError: If a row has no label, or one that is not among the names.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    refuse_rows(values.is_null(), split, f"no label in column {columns.label!r}", columns.first_row)
    ids = pc.index_in(values, value_set=pa.array(names, type=values.type))
    unknown = ids.is_null()
    examples = ", ".join(sorted({repr(name) for name in values.filter(unknown)[:10].to_pylist()}))
    refuse_rows(unknown, split, f"a label that train does not have ({examples})", columns.first_row)
    return ids.to_numpy().astype(np.int64)


def require_column(dataset: "Dataset", split: str, column: str, flag_name: str) -> None:
    """Refuse a split that lacks a column of the train split; the message refers to `flag_name`."""
    if column not in dataset.column_names:
        there = ", ".join(dataset.column_names)
        given_as = f"--{split}_file" if split != "train" else f"--{flag_name}"
        raise UsageError(
            f"the {split} split has no column {column!r}, which train has; {split} has: {there}. Check {given_as}."
        )


def refuse_rows(refused: Any, split: str, what: str, first_row: int = 0) -> None:
    """Refuse a split with invalid rows; the message names the first ones.

    Args:
        refused: Which rows are invalid, booleans, (rows,).
        split: Name of the split.
        what: What is wrong with the rows, to follow "have".
        first_row: Number of the first row.

    Raises:
        UsageError: If any row is invalid.
    """
    rows = np.flatnonzero(refused) + first_row
    if len(rows):
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        number, have = ("row", "has") if len(rows) == 1 else ("rows", "have")
        raise UsageError(f"{len(rows)} {number} of the {split} split {have} {what}: {number} {shown} (counted from 0).")
