"""Several label columns: which kind they are, and soft labels, which are the share that each label has of a row.

Where annotators disagree, their votes say more about a text than the label that most of them chose. A survey of models
that learn from votes is Uma et al. 2021 (https://doi.org/10.1613/jair.1.12752).
"""

import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .columns import NUMBER, Columns, refuse_rows, require_column
from .labels import label_ids, label_names, read_labels

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

logger = logging.getLogger(__name__)

MULTI_LABEL, SHARES, VOTES = "multi_label", "shares", "votes"
TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}  # as a CSV file has them


@dataclass(frozen=True)
class SoftLabels:
    """Soft labels of all splits.

    Attributes:
        names: Label names in the order of their ids.
        shares: By split, the share of each label in each row, (rows, num_labels): 0 or more, and 1 in total, or only
            zeros in a row without a vote.
    """

    names: list[str]
    shares: "dict[str, np.ndarray[Any, Any]]"

    def majorities(self) -> "dict[str, pa.ChunkedArray]":
        """Return by split the label of each row that has the largest share, (rows,), as `read_labels` does.

        It is the first of several, and null in a row without a vote.
        """
        import pyarrow as pa

        found = {}
        for split, shares in self.shares.items():
            best = pa.array(
                np.asarray(self.names, dtype=object)[shares.argmax(axis=1)], pa.string(), mask=~shares.any(1)
            )
            found[split] = pa.chunked_array([best])
        return found

    def describe(self) -> str:
        """Describe in a sentence for the card how the label of each row was chosen."""
        rows = np.concatenate([shares[shares.any(axis=1)] for shares in self.shares.values()])
        ties = int(((rows == rows.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
        order = f" of {', '.join(self.names)}" if len(self.names) <= 10 else ""
        tied = f"; in {ties} of {len(rows)} rows, several have the largest, and the first{order} counts" if ties else ""
        return (
            "The labels are soft: each row has a share of the votes for every label, and training learns these shares. "
            f"Where a single label is needed, it is the one with the largest share{tied}."
        )


def with_kind(columns: Columns, train: "Dataset") -> Columns:
    """Return the columns, knowing whether several that are separated by commas have soft labels.

    Args:
        columns: Names of the columns.
        train: The split that decides.

    Raises:
        UsageError: If the columns are of different kinds.
    """
    if len(columns.labels) < 2 or columns.separate:
        return columns
    for name in columns.labels:
        require_column(train.column_names, "train", name, "label_column_name")
    kind = kind_of_columns(train, columns.labels)
    return columns if kind == MULTI_LABEL else replace(columns, soft=kind)


def kind_of_columns(table: "Dataset", names: list[str]) -> str:
    """Return what the label columns of a table hold.

    Args:
        table: The split that decides.
        names: Two label columns or more.

    Returns:
        `multi_label` if each says by 0 or 1 whether a text has the label that the column is named after, `shares` for
        shares or counts of votes for that label, and `votes` for the label that an annotator chose.

    Raises:
        UsageError: If some columns hold numbers and others words, or all are empty.
    """
    found = {name: _numbers(table, name) for name in names}
    words = [name for name, numbers in found.items() if numbers is None]
    numeric = [name for name, numbers in found.items() if numbers is not None and not np.isnan(numbers).all()]
    if words and numeric:
        nearest = (
            f"For soft labels from shares or counts of votes, leave out {', '.join(words)}"
            if len(numeric) > len(words)
            else f"For soft labels from annotators' votes, leave out {', '.join(numeric)}"
        )
        raise UsageError(
            f"--label_column_name names columns of different kinds: {', '.join(numeric)} with numbers, and "
            f"{', '.join(words)} with words. {nearest}; for several labels a text, write 0 or 1 into all of them."
        )
    if words:
        return VOTES
    if not numeric:
        raise UsageError(f"the label columns {', '.join(names)} are empty. Set others with --label_column_name.")
    values = np.stack([numbers for numbers in found.values() if numbers is not None])
    if np.isin(values[~np.isnan(values)], (0, 1)).all():
        return MULTI_LABEL
    if (values >= 1).all() and (values % 1 == 0).all():
        logger.warning(
            "The columns %s are read as counts of votes for the label that each is named after. If they are ratings by "
            "several annotators instead, write them as words, such as `4 stars`.",
            ", ".join(names),
        )
    return SHARES


def read_soft_labels(tables: "dict[str, Dataset]", columns: Columns, least: int = 2) -> SoftLabels:
    """Read soft labels from shares, counts of votes, or the votes of several annotators.

    Args:
        tables: Rows by split; the first split decides which labels there are.
        columns: Names of the columns, and of which kind they are.
        least: The least number of different labels.

    Raises:
        UsageError: If a column is missing, or has something else than columns of its kind.
    """
    if columns.soft == SHARES:
        counts = {split: _read_counts(table, split, columns) for split, table in tables.items()}
        return SoftLabels(columns.labels, {split: _normalized(one) for split, one in counts.items()})
    import pyarrow as pa

    first = next(iter(tables))
    votes = {
        split: [read_labels(table, split, replace(columns, label=name)) for name in columns.labels]
        for split, table in tables.items()
    }
    cast = pa.chunked_array([chunk for one in votes[first] for chunk in one.drop_null().cast(pa.string()).chunks])
    names = label_names(tables[first], first, cast, replace(columns, label=columns.labels[0]), least)
    counts = {split: _count_votes(given, split, columns, names) for split, given in votes.items()}
    return SoftLabels(names, {split: _normalized(one) for split, one in counts.items()})


def _numbers(table: "Dataset", name: str) -> "np.ndarray[Any, Any] | None":
    """Return the numbers in a column, (rows,), NaN where there is none; None for a column of words.

    Numbers may be written as strings, as all values of a CSV file are; an empty column has no words.
    """
    import pyarrow as pa
    from datasets import ClassLabel

    values = table.select_columns([name]).with_format("arrow")[:][name]
    if isinstance(table.features[name], ClassLabel):
        return None
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return np.array([np.nan if value is None else value for value in values.to_pylist()], dtype=float)
    numbers = []
    for value in values.to_pylist():
        written = value.strip().lower() if isinstance(value, str) else value
        if written and not (isinstance(written, str) and (written in TRUTH or re.fullmatch(NUMBER, written, re.I))):
            return None
        numbers.append(float(TRUTH.get(written, written)) if written else np.nan)
    return np.array(numbers, dtype=float)


def _read_counts(table: "Dataset", split: str, columns: Columns) -> "np.ndarray[Any, Any]":
    """Return the numbers of all label columns, (rows, columns); zeros for a test split without labels."""
    there = [name for name in columns.labels if name in table.column_names]
    found = {name: _numbers(table, name) for name in there}
    counts = np.zeros((len(table), len(columns.labels)))
    if split == "test" and all(numbers is not None and np.isnan(numbers).all() for numbers in found.values()):
        return counts
    for number, name in enumerate(columns.labels):
        require_column(table.column_names, split, name, "label_column_name")
        if (numbers := found[name]) is None:
            raise UsageError(
                f"the label column {name!r} of the {split} split contains words, but shares or counts of votes in the "
                "train split. Write numbers into all of them."
            )
        what = f"no share or count in column {name!r}, which must be 0 or more"
        refuse_rows(~(np.isfinite(numbers) & (numbers >= 0)), f"the {split} split", what, columns.first_row)
        counts[:, number] = numbers
    return counts


def _count_votes(
    votes: "list[pa.ChunkedArray]", split: str, columns: Columns, names: list[str]
) -> "np.ndarray[Any, Any]":
    """Return how many annotators chose each label, (rows, num_labels)."""
    counts = np.zeros((len(votes[0]), len(names)))
    for name, values in zip(columns.labels, votes, strict=True):
        voted = values.is_valid().to_numpy()
        ids = label_ids(values.fill_null(names[0]), split, replace(columns, label=name), names)
        counts[np.flatnonzero(voted), ids[voted]] += 1
    return counts


def _normalized(counts: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    totals = counts.sum(axis=1, keepdims=True)
    return counts / np.where(totals > 0, totals, 1)
