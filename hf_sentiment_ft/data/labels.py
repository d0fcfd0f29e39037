"""Labels of any type → label names → class ids; every labelled row must have one that train has."""

import decimal
import functools
import logging
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .columns import NUMBER, Columns, refuse_rows, require_column

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

logger = logging.getLogger(__name__)

MAX_LABELS = 1000
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # marks that take no place, as word processors leave


def read_labels(dataset: "Dataset", split: str, columns: Columns) -> "pa.ChunkedArray":
    """Return the label name of each row as a string, (rows,), so that 1 in one file equals "1" in another.

    Labels are names of a `ClassLabel`, strings, integers (also written 1.0), `True` or `False`. A row without a label
    is null.

    Raises:
        UsageError: If the column is missing, except in test, or contains anything else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from datasets import ClassLabel

    if split == "test" and columns.label not in dataset.column_names:  # it is only predicted
        return pa.chunked_array([pa.nulls(len(dataset), pa.string())])
    require_column(dataset.column_names, split, columns.label, "label_column_name")
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
    if pa.types.is_string_view(values.type):
        values = pc.cast(values, pa.large_string())
    kind = "objects" if isinstance(feature, dict) else str(getattr(feature, "dtype", feature))
    if kind.startswith("Json"):
        raise UsageError(
            f"the label column {columns.label!r} of the {split} split contains values of several types, such as "
            "numbers and strings; write all of them as strings."
        )
    if not kind.startswith(("string", "large_string")):
        cure = "Write the label's name, or a list of names if a text can have several labels."
        if kind.startswith(("float", "double", "decimal")):
            cure = (
                "A model of words cannot predict any number: round it to a few levels, such as stars, which are then "
                "ordered labels, or use AutoModelForSequenceClassification for regression."
            )
        raise UsageError(
            f"the label column {columns.label!r} contains {kind}; expected class names, integers or strings. {cure}"
        )
    return _strip(values, f"column {columns.label!r} of the {split} split")


def _strip(labels: "pa.ChunkedArray", where: str) -> "pa.ChunkedArray":
    """Return the labels without white space and invisible marks around them, and null instead of a blank one."""
    import pyarrow.compute as pc

    blank = "".join(filter(str.isspace, map(chr, range(0x3001)))) + INVISIBLE
    stripped = pc.utf8_trim(labels, characters=blank)
    changed = labels.filter(pc.and_(pc.not_equal(labels, stripped), pc.not_equal(stripped, "")))
    if len(changed):
        _warn_once(f"Labels in {where} have white space around them, which is ignored, such as {changed[0].as_py()!a}.")
    return pc.if_else(pc.equal(stripped, ""), None, stripped)


@functools.cache  # a stream is read in many parts
def _warn_once(message: str) -> None:
    logger.warning(message)


def label_names(
    dataset: "Dataset", split: str, values: "pa.ChunkedArray", columns: Columns, least: int = 2
) -> list[str]:
    """Return the label names in the order of their ids: as in a `ClassLabel`, otherwise sorted, numbers by value.

    Args:
        dataset: The split that decides which labels there are.
        split: Its name.
        values: Its label names as from `read_labels`, (rows,).
        columns: Names of the columns.
        least: The least number of different labels.

    Raises:
        UsageError: If a row has no label, or there are too few or more than 1000 different labels.
    """
    from datasets import ClassLabel

    refuse_rows(values.is_null(), f"the {split} split", f"no label in column {columns.label!r}", columns.first_row)
    feature = dataset.features[columns.label]
    if isinstance(feature, ClassLabel):
        names = list(feature.names)
    else:
        names = values.unique().to_pylist()
        numbers = all(re.fullmatch(NUMBER, name) for name in names)
        names = sorted(names, key=lambda name: (decimal.Decimal(name), name) if numbers else name)
    if len(names) > MAX_LABELS:
        raise UsageError(
            f"the label column {columns.label!r} has {len(names)} different values; expected at most {MAX_LABELS}. "
            "Set the right column with --label_column_name."
        )
    if len(names) < least:
        raise UsageError(f"the {split} split has one label, {names[0]!r}; expected at least two.")
    alike: dict[str, list[str]] = {}
    for name in names:
        seen = "".join(letter for letter in name if letter not in INVISIBLE)
        alike.setdefault(unicodedata.normalize("NFKC", seen).casefold(), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            logger.warning(
                "The labels %s look alike, but are different classes. If they are meant to be one, write them alike.",
                ", ".join(map(repr, group)),
            )
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

    where = f"the {split} split"
    refuse_rows(values.is_null(), where, f"no label in column {columns.label!r}", columns.first_row)
    ids = pc.index_in(values, value_set=pa.array(names, type=values.type))
    unknown = ids.is_null()
    examples = ", ".join(sorted({repr(name) for name in values.filter(unknown)[:10].to_pylist()}))
    refuse_rows(unknown, where, f"a label that train does not have ({examples})", columns.first_row)
    return ids.to_numpy().astype(np.int64)


def label_numbers(labels: list[str]) -> list[float] | None:
    """Return the label names as numbers, ignoring the word "stars", or None if that is not possible.

    All labels must be numbers, and there must be more than two: with two classes, the distance between numbers says
    nothing that accuracy does not.
    """
    found = [re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)(?:[ _-]*stars?)?\s*", label, re.IGNORECASE) for label in labels]
    numbers = [float(match[1]) for match in found if match]
    return numbers if len(numbers) == len(labels) > 2 else None
