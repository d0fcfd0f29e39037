"""Columns → texts: one column, several that are joined, or a template; every row must have a text."""

import datetime
import decimal
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.templates import fill
from ..errors import UsageError
from .columns import NUMBER, Columns, refuse_rows, require_column

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset


def read_texts(dataset: "Dataset", split: str, columns: Columns) -> "Dataset":
    """Return the split with only the column `text`.

    Raises:
        UsageError: If a column is missing or does not contain strings, or a row has no text.
    """
    for name in columns.text:
        require_column(dataset.column_names, split, name, "text_column_name")
    texts = dataset.select_columns(columns.text)
    if columns.joins:
        given = {"columns": columns}
        join = texts.with_format("arrow").map
        texts = join(_join, batched=True, fn_kwargs=given, remove_columns=columns.text, desc="Joining columns")
        texts = texts.with_format(None)
    else:
        feature = dataset.features[columns.text[0]]
        if getattr(feature, "dtype", None) not in ("string", "large_string", "string_view", "null"):
            kind = "objects" if isinstance(feature, dict) else feature
            raise UsageError(
                f"the text column {columns.text[0]!r} of the {split} split contains {kind}; expected strings. Set "
                "the right column with --text_column_name."
            )
        texts = texts.rename_columns({columns.text[0]: "text"})
    refuse_blank(texts.with_format("arrow")[:]["text"], f"the {split} split", columns)
    return texts


def refuse_blank(texts: Any, where: str, columns: Columns) -> None:
    """Refuse rows without a text.

    Args:
        texts: Arrow strings, (rows,).
        where: What the rows are of, for the message.
        columns: Names of the columns, for the message.

    Raises:
        UsageError: If a text is missing or has only white space.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = texts.cast(pa.large_string())
    blank = pc.fill_null(pc.or_(pc.utf8_is_space(texts), pc.equal(pc.binary_length(texts), 0)), True)
    refuse_rows(blank, where, f"no text in column {', '.join(map(repr, columns.text))}", columns.first_row)


def refuse_swapped(texts: "Dataset", labels: "pa.ChunkedArray", columns: Columns) -> None:
    """Refuse a train split whose texts are numbers, and fewer different ones than there are labels.

    Args:
        texts: Texts as from `read_texts`.
        labels: Label names as from `read_labels`, (rows,).
        columns: Names of the columns, for the message.

    Raises:
        UsageError: If so; the columns have probably been confused.
    """
    if columns.joins or not all(re.fullmatch(NUMBER, text.strip()) for text in texts["text"]):
        return
    if len(set(texts["text"])) < len(labels.unique()):
        raise UsageError(
            f"the text column {columns.text[0]!r} of the train split contains only numbers, such as "
            f"{texts[0]['text']!r}, and fewer different ones than the label column {columns.label!r}. Set the right "
            "columns with --text_column_name and --label_column_name."
        )


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


def texts_of(rows: Sequence[dict[str, Any]], where: str, columns: Columns) -> list[str]:
    """Return the texts of rows that are read for prediction, formed and checked as those of a training run.

    Args:
        rows: The rows, by column.
        where: What the rows are of, for the message.
        columns: Names of the text columns, and number of the first row.

    Raises:
        UsageError: If a row has no text, or something else in its place.
    """
    import pyarrow as pa

    texts = []
    for number, row in enumerate(rows, start=columns.first_row):
        try:
            text = form_text(row, columns) if columns.joins else row.get(columns.text[0])
            if not isinstance(text, str | None):
                raise UsageError(f"{str(text)[:60]} in column {columns.text[0]!r}; expected a string.")
            (text or "").encode()
        except (UsageError, UnicodeEncodeError) as error:
            raise UsageError(f"row {number} of {where} (counted from 0) has no usable text: {error}") from error
        texts.append(text)
    refuse_blank(pa.array(texts, pa.large_string()), where, columns)
    return texts  # type: ignore[return-value]


def _join(table: "pa.Table", columns: Columns) -> "pa.Table":
    import pyarrow as pa

    texts = [form_text(row, columns) for row in table.to_pylist()]
    return pa.table({"text": texts}, schema=pa.schema({"text": pa.large_string()}))


def form_text(row: dict[str, Any], columns: Columns) -> str | None:
    """Form the text of a row: put its columns into the template, or join those that are not empty by a line break.

    Raises:
        UsageError: If a column contains something else than text, numbers and dates.
    """
    values = {name: as_text(row.get(name)) for name in columns.text}
    if columns.template:
        return fill(columns.template, values) if any(values.values()) else None
    return "\n".join(value for value in values.values() if value)


def as_text(value: Any) -> str | None:
    """Return a value as text, a whole number without a point, so that 1.0 in one file equals 1 in another.

    Raises:
        UsageError: If the value is a list, an object or bytes.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return None if value != value else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int | decimal.Decimal | datetime.date | datetime.time):
        return str(value)
    raise UsageError(f"{str(value)[:60]} is of the type {type(value).__name__}; expected text or a number.")
