"""Labels and rows of a stream: known before training as far as they can be, the rest checked as it is read."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from .columns import Columns, label_ids, label_names, read_labels, read_texts
from .errors import UsageError
from .streaming import TrainStream

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


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
