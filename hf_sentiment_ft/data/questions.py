"""Rows with more than one label: each label, or each label column, becomes a question of its own about the text.

A row has several labels at once (multi-label: is it toxic? is it a threat?), or several columns each have a label
(queue, urgency). Either way a text is asked several questions, and each has one answer.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .columns import Columns, refuse_rows, require_column
from .labels import label_ids, label_names, read_labels

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

NO_AND_YES = ["no", "yes"]
MAX_QUESTIONS = 100  # the model reads each of them about every text
SHOWN = 10  # names in a message


@dataclass(frozen=True)
class Question:
    """A question about every text.

    Attributes:
        name: The label that a text may have, or the label column.
        label_ids: Ids of the labels that can be the answer.
    """

    name: str
    label_ids: list[int]


def find_questions(
    train: "Dataset", columns: Columns, only_evaluated: bool = False
) -> tuple[list[Question], list[str]]:
    """Return the questions of a table, and the label names of all answers in the order of their ids.

    Args:
        train: The split that decides which labels there are.
        columns: Names of the columns.
        only_evaluated: Whether the rows are those of a test, which may have fewer labels than the model.

    Returns:
        For multi-label rows, a question for each label, answered by `no` or `yes`; for several label columns, a
        question for each column, answered by its labels.

    Raises:
        UsageError: If there are too few or too many labels, or a column has no labels.
    """
    least = 1 if only_evaluated else 2
    if columns.separate:
        of_columns = [_names_of_column(train, name, columns, least) for name in columns.labels]
        names = list(dict.fromkeys(name for names in of_columns for name in names))
        return [
            Question(column, [names.index(name) for name in own])
            for column, own in zip(columns.labels, of_columns, strict=True)
        ], names
    names = columns.labels if len(columns.labels) > 1 else _names_of_lists(train, columns)
    if not least <= len(names) <= MAX_QUESTIONS:
        number = "one label" if len(names) == 1 else f"{len(names)} labels"
        what = f"{number}: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
        raise UsageError(
            f"the train split has {what}; expected {least} to {MAX_QUESTIONS} where a row can have several, since each "
            "is a question of its own about every text. "
            + ("Merge or remove rare labels." if names else "Check --label_column_name and --label_separator.")
        )
    return [Question(name, [0, 1]) for name in names], NO_AND_YES


def read_answers(
    dataset: "Dataset", split: str, columns: Columns, questions: list[Question], labels: list[str]
) -> "np.ndarray[Any, Any] | None":
    """Return the answer to each question about each row, as label ids, (rows, questions).

    Args:
        dataset: Rows of a split.
        split: Its name.
        columns: Names of the columns.
        questions: Return value of `find_questions`, as are the labels.
        labels: Label names in the order of their ids.

    Returns:
        The ids; None if a test split has no labels, and can only be predicted.

    Raises:
        UsageError: If a label column is missing, or a row lacks a label or has one that train does not have.
    """
    if split == "test" and not set(columns.labels) & set(dataset.column_names):
        return None
    if columns.separate:
        values = [read_labels(dataset, split, replace(columns, label=name)) for name in columns.labels]
        if split == "test" and all(column.null_count == len(column) for column in values):
            return None
        answers = []
        for question, column in zip(questions, values, strict=True):
            own = replace(columns, label=question.name)
            ids = label_ids(column, split, own, [labels[label] for label in question.label_ids])
            answers.append(np.asarray(question.label_ids)[ids])
        return np.stack(answers, axis=1)
    if len(columns.labels) > 1:
        found = [_indicators(dataset, split, name, columns) for name in columns.labels]
        return None if any(column is None for column in found) else np.stack(found, axis=1)  # type: ignore[arg-type]
    return _read_lists(dataset, split, columns, [question.name for question in questions])


def choose_separator(names: list[str]) -> str:
    """Return what separates the labels of a text where they are written as one string: none of them contains it.

    Raises:
        UsageError: If the labels contain all characters that could separate them.
    """
    for separator in (";", "|", ",", "\t"):
        if not any(separator in name for name in names):
            return separator
    raise UsageError("the labels contain semicolons, bars, commas and tabs, so nothing can separate them. Rename some.")


def sampling_classes(answers: "np.ndarray[Any, Any]", separate: bool) -> "np.ndarray[Any, Any]":
    """Return the class of each row for stratified sampling, (rows,).

    Rows with several labels count for their rarest one, so that rare labels are spread over the splits; rows of several
    label columns for their combination.

    Args:
        answers: Return value of `read_answers`.
        separate: Whether the questions are several label columns.
    """
    if separate:
        return np.unique(answers, axis=0, return_inverse=True)[1].reshape(-1)
    rarity = np.where(answers == 1, answers.sum(axis=0), len(answers) + 1)  # (rows, labels)
    return np.where(answers.any(axis=1), rarity.argmin(axis=1), answers.shape[1])


def unanswered(
    answers: "np.ndarray[Any, Any]", questions: list[Question], labels: list[str], multi_label: bool
) -> list[str]:
    """Return the answers that no row has, in words: a label, or the label of a column.

    That no row lacks a label (`no`) is fine.

    Args:
        answers: Return value of `read_answers` for the train split.
        questions: The questions.
        labels: Label names in the order of their ids.
        multi_label: Whether the questions are the labels that a text may have.
    """
    if multi_label:
        return [question.name for question, column in zip(questions, answers.T, strict=True) if not column.any()]
    return [
        f"{labels[label]} of {question.name}"
        for question, column in zip(questions, answers.T, strict=True)
        for label in question.label_ids
        if label not in column
    ]


def _names_of_column(train: "Dataset", name: str, columns: Columns, least: int) -> list[str]:
    own = replace(columns, label=name)
    return label_names(train, "train", read_labels(train, "train", own), own, least)


def _names_of_lists(train: "Dataset", columns: Columns) -> list[str]:
    """Return the labels of a column of lists: those of its `ClassLabel`, otherwise sorted."""
    from datasets import ClassLabel

    require_column(train.column_names, "train", columns.label, "label_column_name")
    inner = getattr(train.features[columns.label], "feature", None)
    if isinstance(inner, ClassLabel):
        return list(inner.names)
    return sorted({name for names in _lists(train, "train", columns) for name in names})


def _read_lists(dataset: "Dataset", split: str, columns: Columns, names: list[str]) -> "np.ndarray[Any, Any] | None":
    require_column(dataset.column_names, split, columns.label, "label_column_name")
    rows = _lists(dataset, split, columns)
    if split == "test" and not any(rows):
        return None
    number = {name: index for index, name in enumerate(names)}
    answers = np.zeros((len(rows), len(names)), dtype=np.int64)
    unknown = np.array([not set(row) <= set(number) for row in rows], dtype=bool)
    foreign = sorted({name for row in rows for name in row if name not in number})
    refuse_rows(
        unknown,
        f"the {split} split",
        f"a label that train does not have ({', '.join(map(repr, foreign[:SHOWN]))})",
        columns.first_row,
    )
    for answer, row in zip(answers, rows, strict=True):
        answer[[number[name] for name in row]] = 1
    return answers


def _lists(dataset: "Dataset", split: str, columns: Columns) -> list[list[str]]:
    """Return the labels of each row, without repetitions; an empty cell of a separated column is an empty set."""
    from datasets import ClassLabel

    feature = dataset.features[columns.label]
    values = dataset.select_columns([columns.label]).with_format("arrow")[:][columns.label]
    if columns.separator is not None:
        if getattr(feature, "dtype", None) not in ("string", "large_string", "string_view", "null"):
            raise UsageError(
                f"--label_separator is {columns.separator!r}, but the label column {columns.label!r} of the {split} "
                f"split contains {getattr(feature, 'dtype', feature)}; expected strings. Remove --label_separator if "
                "the column contains lists."
            )
        parts = ((value or "").split(columns.separator) for value in values.to_pylist())
        return [list(dict.fromkeys(name.strip() for name in row if name.strip())) for row in parts]
    rows: list[Any] = values.to_pylist()
    refuse_rows(
        np.array([row is None or any(name is None for name in row) for row in rows], dtype=bool) & (split != "test"),
        f"the {split} split",
        f"no list of labels in column {columns.label!r} (write an empty list for no label)",
        columns.first_row,
    )
    inner = getattr(feature, "feature", None)
    if isinstance(inner, ClassLabel):
        return [[inner.names[label] for label in dict.fromkeys(row or [])] for row in rows]
    if getattr(inner, "dtype", None) not in ("string", "large_string", "string_view", "int64", "int32", "null"):
        raise UsageError(
            f"the label column {columns.label!r} of the {split} split contains lists of "
            f"{getattr(inner, 'dtype', inner)}; expected lists of label names or integers."
        )
    return [list(dict.fromkeys(str(name).strip() for name in row or [])) for row in rows]


def _indicators(dataset: "Dataset", split: str, name: str, columns: Columns) -> "np.ndarray[Any, Any] | None":
    """Return a column of 0 and 1, (rows,); None if a test split has no values there."""
    require_column(dataset.column_names, split, name, "label_column_name")
    own = replace(columns, label=name)
    values: pa.ChunkedArray = read_labels(dataset, split, own)
    if split == "test" and values.null_count == len(values):
        return None
    numbers = {"0": 0, "1": 1, "False": 0, "True": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
    refuse_rows(values.is_null(), f"the {split} split", f"no value in column {name!r}", columns.first_row)
    given = values.to_pylist()
    refuse_rows(
        np.array([value not in numbers for value in given], dtype=bool),
        f"the {split} split",
        f"something else than 0 and 1 in column {name!r}, which --label_column_name names as one of several labels",
        columns.first_row,
    )
    return np.array([numbers[value] for value in given], dtype=np.int64)
