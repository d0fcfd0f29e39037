"""Label the rows of a table, a few at a time."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from operator import mul
from typing import Any

import numpy as np

from ..data.columns import Columns
from ..data.files import Row
from ..data.journal import Journal
from ..data.texts import texts_of
from .answers import answer_questions
from .model import LabelWordModel, predict_probabilities
from .questions import YES

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 1024  # read, labelled and written together, so that memory does not grow with the file


def label_rows(
    loaded: LabelWordModel,
    rows: Iterable[Row],
    columns: Columns,
    batch_size: int,
    where: str = "the input",
    precision: str = "fp32",
    min_probability: float | None = None,
    journal: Journal | None = None,
    rows_at_once: int | None = None,
) -> Iterator[Row]:
    """Yield each row with `prediction`, `label_word` and `probability_LABEL` added.

    Of a multi-label model, `prediction` has all labels of the text, and there is no label word; of one of several label
    columns, there are `prediction_COLUMN` and `probability_COLUMN_LABEL` for each. If the labels have an order,
    there is also `expected_value`, the mean of their numbers, weighted by their probabilities.

    With `min_probability`, there is also `undecided`; prediction and label word of undecided rows are None. A column of
    the input that has one of these names is kept as `input_NAME`.

    Args:
        loaded: The model.
        rows: The rows.
        columns: The columns that form the text.
        batch_size: Texts per forward pass.
        where: What the rows are of, for messages.
        precision: `fp32` or `bf16`; see `predict_probabilities`.
        min_probability: Smallest probability of a prediction; None to decide all rows.
        journal: Probabilities of an interrupted run, and where to keep those of this one.
        rows_at_once: Rows that are labelled before the first of them is yielded; None for `ROWS_AT_ONCE`.

    Raises:
        UsageError: If a row has no text.
    """
    added = set(_answer(loaded, _no_answer(loaded), min_probability))
    rows, number = iter(rows), 0
    while chunk := list(islice(rows, rows_at_once or ROWS_AT_ONCE)):
        texts = texts_of(chunk, where, replace(columns, first_row=number))
        probabilities = journal.take(len(texts)) if journal else []
        if rest := texts[len(probabilities) :]:
            ask = answer_questions if loaded.questions else predict_probabilities
            new = ask(loaded, rest, batch_size, precision).tolist()
            probabilities += new
            if journal:
                journal.add(new)
        if number == 0 and (taken := sorted(added & set(chunk[0]))):
            logger.warning(
                "The input already has the columns %s; they are kept as input_%s.",
                ", ".join(taken),
                ", input_".join(taken),
            )
        for row, figures in zip(chunk, probabilities, strict=True):
            yield {**_keep(row, added), **_answer(loaded, figures, min_probability)}
        number += len(chunk)


def _no_answer(loaded: LabelWordModel) -> list[Any]:
    """Return figures in the form of those of a row."""
    none = [0.0] * len(loaded.verbalizer.labels)
    return [none for _ in loaded.questions.names] if loaded.questions else none


def _answer(loaded: LabelWordModel, figures: list[Any], min_probability: float | None) -> Row:
    """Return the columns that are added to a row.

    Args:
        loaded: The model.
        figures: Probabilities of the labels, (num_labels,); where there are several questions, (questions, num_labels).
        min_probability: Smallest probability of a prediction; None to decide all rows.
    """
    labels, words, questions = loaded.verbalizer.labels, loaded.verbalizer.words, loaded.questions
    if questions and questions.multi_label:
        yes = np.array(figures)[:, YES]
        named = {f"probability_{name}": round(float(one), 6) for name, one in zip(questions.names, yes, strict=True)}
        return {"prediction": questions.join(questions.chosen(yes[None]))[0], **named}
    if questions:
        answer: Row = {}
        for name, ids, own in zip(questions.names, questions.label_ids, figures, strict=True):
            answer[f"prediction_{name}"] = labels[max(ids, key=own.__getitem__)]
            answer |= {f"probability_{name}_{labels[label]}": round(own[label], 6) for label in ids}
        return answer
    best = figures.index(max(figures))
    answer = {"prediction": labels[best], "label_word": words[best]}
    if min_probability is not None:
        undecided = figures[best] < min_probability
        answer = (dict.fromkeys(answer) if undecided else answer) | {"undecided": undecided}
    if numbers := loaded.verbalizer.numbers:
        answer["expected_value"] = round(sum(map(mul, numbers, figures)), 6)
    return answer | {f"probability_{label}": round(figure, 6) for label, figure in zip(labels, figures, strict=True)}


def _keep(row: Row, added: set[str]) -> Row:
    """Return a row whose columns have other names than those that are added."""
    kept: Row = {}
    for name, value in row.items():
        while name in added or name in kept:
            name = f"input_{name}"
        kept[name] = value
    return kept
