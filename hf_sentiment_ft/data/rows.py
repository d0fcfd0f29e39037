"""Rows of labelled texts, as they are read from tables: with a label, with soft labels, or with several answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .columns import Columns
from .label_columns import SoftLabels, read_soft_labels
from .labels import label_ids, label_names, read_labels
from .questions import Question, choose_separator, find_questions, read_answers, sampling_classes
from .streaming import TrainStream, checked_rows, stream_labels
from .texts import number_texts, read_texts, refuse_swapped

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

UNLABELLED_TEST = "unlabelled_test"
_UNLABELLED = (
    "The test split has no labels: its {} rows are only predicted, and the reported metrics are those of validation."
)


def reported_split(splits: Iterable[str]) -> tuple[str, str]:
    """Return the split whose metrics count, test or else validation, and the prefix of their names."""
    return ("test", "test") if "test" in splits else ("validation", "eval")


@dataclass
class LabelledSplits:
    """The rows of a run, with the columns `text` and `label` (a class id), and how they were obtained.

    If there are questions, the rows have the column `answers` (the class id of the answer to each) instead of `label`.
    If the labels are soft, there is also the column `shares`: the share of each label, (num_labels,), 1 in total. The
    `label` is then the one with the largest share.

    Attributes:
        splits: `train`, `validation` and, if there is one, `test`. A test split without labels, which can only be
            predicted, is named `unlabelled_test` and has no column `label`.
        labels: Label names in the order of their ids.
        notes: Sentences for the log and the card: what was split off or sampled, and how.
        split_off: The note of each split that was taken from train.
        sources: The dataset's own name for the rows of each split, such as `train[80%:]`, where a flag names them.
        class_weights: Loss weight of each class, in the order of the ids; 1 on average over train.
        stream: All train rows, if train is streamed; `train` then contains the first ones.
        questions: What is asked about every text, if a row has several labels or label columns; otherwise empty.
        multi_label: Whether the questions are the labels that a text may have; otherwise they are label columns.
        label_separator: What separates the labels of a text where they are written as one string.
    """

    splits: "dict[str, Dataset]"
    labels: list[str]
    notes: list[str] = field(default_factory=list)
    split_off: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    class_weights: list[float] | None = None
    stream: TrainStream | None = None
    questions: list[Question] = field(default_factory=list)
    multi_label: bool = False
    label_separator: str = ";"


@dataclass(frozen=True)
class Split:
    """A split in the making; `datasets` reads a selection row by row, so labels and texts are kept beside it.

    Attributes:
        dataset: The rows.
        labels: Class ids, (rows,); 0 as a placeholder if the rows have no labels. Where there are questions, they are
            those of `sampling_classes`.
        texts: Text numbers, (rows,), equal for equal texts across all splits.
        answers: Answers to the questions, (rows, questions); None if there are none.
        shares: Share of each label, (rows, num_labels), if the labels are soft.
    """

    dataset: "Dataset"
    labels: "np.ndarray[Any, Any]"
    texts: "np.ndarray[Any, Any]"
    answers: "np.ndarray[Any, Any] | None" = None
    shares: "np.ndarray[Any, Any] | None" = None

    def __len__(self) -> int:
        return len(self.dataset)

    def select(self, rows: "np.ndarray[Any, Any]") -> "Split":
        """Return the rows with these numbers."""
        answers, shares = (None if of_rows is None else of_rows[rows] for of_rows in (self.answers, self.shares))
        return Split(self.dataset.select(rows), self.labels[rows], self.texts[rows], answers, shares)


def read_labelled(
    named: "dict[str, Dataset]",
    columns: Columns,
    stream: TrainStream | None = None,
    label_words: str | None = None,
    only_evaluated: bool = False,
) -> tuple[LabelledSplits, dict[str, Split]]:
    """Read rows that have one label each, or soft labels.

    Args:
        named: Rows by split; the first split decides which labels there are.
        columns: Names of the columns.
        stream: All train rows, if train is streamed.
        label_words: Value of `--label_words`, for a stream.
        only_evaluated: Whether the rows are those of a test, which may have fewer labels than the model.

    Raises:
        UsageError: If the rows do not have texts with labels.
    """
    first, least = next(iter(named)), 1 if only_evaluated else 2
    soft = read_soft_labels(named, columns, least) if columns.soft else None
    values = soft.majorities() if soft else {name: read_labels(table, name, columns) for name, table in named.items()}
    labels = stream_labels(stream, columns, values, label_words) if stream else soft.names if soft else []
    texts = {split: read_texts(dataset, split, columns) for split, dataset in named.items()}
    if not only_evaluated:
        refuse_swapped(texts[first], values[first], columns)
    labels = labels or label_names(named[first], first, values[first], columns, least)
    data = LabelledSplits({}, labels, stream=stream)
    if stream:
        stream.checked = checked_rows(stream, columns, labels)
        data.notes, data.split_off = list(stream.notes), stream.split_off
    return data, _label(data, values, texts, columns, soft)


def read_asked(
    named: "dict[str, Dataset]", columns: Columns, streamed: bool = False, only_evaluated: bool = False
) -> tuple[LabelledSplits, dict[str, Split]]:
    """Read rows that have several labels, or several label columns; see `read_labelled`."""
    if streamed:
        raise UsageError(
            "--streaming reads rows of one label each, but these have several labels. Remove --streaming, or stream "
            "them with a single label column."
        )
    first = next(iter(named.values()))
    questions, labels = find_questions(first, columns, only_evaluated)
    data = LabelledSplits({}, labels, questions=questions, multi_label=not columns.separate)
    if not columns.separate:
        data.label_separator = columns.separator or choose_separator([question.name for question in questions])
    texts = {split: read_texts(dataset, split, columns) for split, dataset in named.items()}
    splits = {}
    for split, numbers in number_texts(texts).items():
        answers = read_answers(named[split], split, columns, questions, labels)
        if answers is None:
            splits[UNLABELLED_TEST] = Split(texts[split], np.zeros_like(numbers), numbers)
            data.notes.append(_UNLABELLED.format(len(numbers)))
            continue
        labelled = texts[split].add_column("answers", answers.tolist())
        splits[split] = Split(labelled, sampling_classes(answers, columns.separate), numbers, answers)
    return data, splits


def _label(
    data: LabelledSplits,
    values: "dict[str, pa.ChunkedArray]",
    texts: "dict[str, Dataset]",
    columns: Columns,
    soft: SoftLabels | None,
) -> dict[str, Split]:
    """Add labels to the texts, and shares if they are soft; a test split without labels becomes `unlabelled_test`."""
    from datasets import ClassLabel, List, Value

    splits = {}
    data.notes += [soft.describe()] if soft else []
    for split, numbers in number_texts(texts).items():
        if split == "test" and _is_unlabelled(values[split], data.labels):
            splits[UNLABELLED_TEST] = Split(texts[split], np.zeros_like(numbers), numbers)
            data.notes.append(_UNLABELLED.format(len(numbers)))
            continue
        ids = label_ids(values[split], split, columns, data.labels)
        labelled = texts[split].add_column("label", ids, feature=ClassLabel(names=data.labels))
        shares = soft.shares[split] if soft else None
        if shares is not None:
            labelled = labelled.add_column("shares", shares.tolist(), feature=List(Value("float64")))
        splits[split] = Split(labelled, ids, numbers, shares=shares)
    return splits


def _is_unlabelled(values: "pa.ChunkedArray", names: list[str]) -> bool:
    """Return whether no row has a label: the column is missing or empty, or contains only -1, as in GLUE."""
    import pyarrow.compute as pc

    return "-1" not in names and pc.all(pc.fill_null(pc.equal(values, "-1"), True)).as_py()
