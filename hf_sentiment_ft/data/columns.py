"""Find the text and label columns, and refuse splits and rows that lack them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.arguments import DataArguments
from ..config.templates import column_names
from ..errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment", "tweet", "body", "document")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "polarity", "stars")
NUMBER = r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?"


@dataclass(frozen=True)
class Columns:
    """Names of the text and label columns.

    Attributes:
        text: One column or more; several are put into the template or, without one, joined by a line break.
        label: The column with the label; for several columns, as the flag names them.
        template: A text with column names in braces.
        first_row: Number of the first row, if the rows are part of a stream.
        labels: The columns with the labels of a row that has several; empty if it has one.
        separate: Whether each of these columns has its own label, such as a queue and an urgency.
        separator: What separates the labels in a single column of strings; None for a column of lists.
        soft: `shares` or `votes`, if these columns have soft labels instead (see `label_columns.py`); otherwise None.
    """

    text: list[str]
    label: str
    template: str | None = None
    first_row: int = 0
    labels: list[str] = field(default_factory=list)
    separate: bool = False
    separator: str | None = None
    soft: str | None = None

    @property
    def asks(self) -> bool:
        """Return whether a row has several labels, each of which is asked for by a question of its own."""
        return bool(self.labels) and not self.soft

    @property
    def joins(self) -> bool:
        """Return whether a text is formed, and numbers are therefore read as text."""
        return self.template is not None or len(self.text) > 1


def find_columns(there: Sequence[str], args: DataArguments) -> Columns:
    """Select the columns that the flags name, otherwise those with the usual names.

    Args:
        there: Names of the columns of train.
        args: The data flags.

    Raises:
        UsageError: If a column is missing, or the same column is both text and label.
    """
    labels, separate = label_columns(there, args.label_column_name)
    label = str(args.label_column_name)
    if not labels:
        label = find_column(there, args.label_column_name, LABEL_COLUMNS, "label_column_name", "label")
        labels = [label] if args.label_separator is not None else []
    elif args.streaming:
        raise UsageError(
            "--streaming reads rows of one label each, but --label_column_name names several columns. Remove "
            "--streaming, or stream the rows with a single label column."
        )
    elif args.label_separator is not None:
        raise UsageError(
            f"--label_separator is {args.label_separator!r}, but --label_column_name names several columns; keep one "
            "of the two."
        )
    given, template = args.text_column_name, args.text_template
    if template:
        text = column_names(template)
        if missing := [name for name in text if name not in there]:
            raise UsageError(
                f"the text template names {', '.join(f'{{{name}}}' for name in missing)}; the columns are: "
                f"{', '.join(there)}. Use {{text}} for the text column, whatever its name."
            )
    elif given:
        text = named_columns(there, given)
    else:
        text = [find_column(there, None, TEXT_COLUMNS, "text_column_name", "text")]
    if both := [name for name in labels or [label] if name in text]:
        raise UsageError(
            f"the text and the label are both the column {both[0]!r}; choose different ones with --text_column_name "
            "and --label_column_name."
        )
    return Columns(text, label, template, labels=labels, separate=separate, separator=args.label_separator)


def label_columns(there: Sequence[str], given: str | None) -> tuple[list[str], bool]:
    """Return the columns of `--label_column_name` if it names several, and whether each has its own label.

    Columns that are separated by commas are 0 or 1 for each label, or have soft labels; those separated by bars each
    have their own labels.

    Args:
        there: Names of the columns of train.
        given: Value of the flag.

    Raises:
        UsageError: If a column is missing, or named twice.
    """
    if given is None or given in there:
        return [], False
    separator = "|" if "|" in given else ","
    names = [name.strip() for name in given.split(separator)]
    if len(names) == 1:
        return [], False
    if len(set(names)) < len(names):
        raise UsageError(f"--label_column_name is {given!r}, which names a column twice; name each once.")
    return [find_column(there, name, (), "label_column_name", "label") for name in names], separator == "|"


def named_columns(there: Sequence[str], given: str) -> list[str]:
    """Return the columns of `--text_column_name`: one, or several that are separated by commas.

    Raises:
        UsageError: If a column is missing.
    """
    names = [given] if given in there else [name.strip() for name in given.split(",")]
    return [find_column(there, name, (), "text_column_name", "text") for name in names]


def find_column(columns: Sequence[str], given: str | None, usual: Sequence[str], flag_name: str, what: str) -> str:
    """Return the column that a flag names, otherwise the first of the usual names.

    Raises:
        UsageError: If it is missing, or there are two of that name.
    """
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"--{flag_name} is {given!r}, which is not a column; the columns are: {', '.join(columns)}."
            )
        return given
    by_name = {name.lower(): name for name in reversed(columns)}
    found = next((by_name[name] for name in usual if name in by_name), None)
    if found is None:
        raise UsageError(
            f"no {what} column found among {', '.join(columns)}; set it with --{flag_name}. The first line of a CSV "
            "file must name the columns, and a JSON file must be a list of objects, or have one object in each line."
        )
    if f"{found}.1" in columns:  # how pandas renames a second column of the same name
        raise UsageError(
            f"there are two columns named {found!r}, read as {', '.join(columns)}; choose one with --{flag_name}."
        )
    return found


def with_lists(columns: Columns, train: "Dataset") -> Columns:
    """Return the columns, knowing whether the label column has lists of labels."""
    from datasets import LargeList, List

    lists = not columns.asks and isinstance(train.features.get(columns.label), List | LargeList)
    return replace(columns, labels=[columns.label]) if lists else columns


def require_column(there: Sequence[str], split: str, column: str, flag_name: str) -> None:
    """Refuse a split that lacks a column of the train split; the message refers to `flag_name`."""
    if column not in there:
        given_as = f"--{split}_file" if split != "train" else f"--{flag_name}"
        raise UsageError(
            f"the {split} split has no column {column!r}, which train has; {split} has: {', '.join(there)}. "
            f"Check {given_as}."
        )


def refuse_rows(refused: Any, where: str, what: str, first_row: int = 0) -> None:
    """Refuse invalid rows; the message names the first ones.

    Args:
        refused: Which rows are invalid, booleans, (rows,).
        where: What the rows are of, such as `the train split`.
        what: What is wrong with the rows, to follow "have".
        first_row: Number of the first row.

    Raises:
        UsageError: If any row is invalid.
    """
    rows = np.flatnonzero(refused) + first_row
    if len(rows):
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        number, have = ("row", "has") if len(rows) == 1 else ("rows", "have")
        raise UsageError(f"{len(rows)} {number} of {where} {have} {what}: {number} {shown} (counted from 0).")
