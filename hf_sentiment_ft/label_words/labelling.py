"""Label the rows of a table, a few at a time."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from ..data.columns import Columns
from ..data.files import Row
from ..data.journal import Journal
from ..data.texts import texts_of
from .model import LabelWordModel, predict_probabilities

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
    labels, words = loaded.verbalizer.labels, loaded.verbalizer.words
    added = {"prediction", "label_word", *(f"probability_{label}" for label in labels)}
    added |= set() if min_probability is None else {"undecided"}
    rows, number = iter(rows), 0
    while chunk := list(islice(rows, rows_at_once or ROWS_AT_ONCE)):
        texts = texts_of(chunk, where, replace(columns, first_row=number))
        probabilities = journal.take(len(texts)) if journal else []
        if rest := texts[len(probabilities) :]:
            new = predict_probabilities(loaded, rest, batch_size, precision).tolist()
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
            best = figures.index(max(figures))
            named = {f"probability_{label}": round(figure, 6) for label, figure in zip(labels, figures, strict=True)}
            answer: Row = {"prediction": labels[best], "label_word": words[best]}
            if min_probability is not None:
                undecided = figures[best] < min_probability
                answer = (dict.fromkeys(answer) if undecided else answer) | {"undecided": undecided}
            yield {**_keep(row, added), **answer, **named}
        number += len(chunk)


def _keep(row: Row, added: set[str]) -> Row:
    """Return a row whose columns have other names than those that are added."""
    kept: Row = {}
    for name, value in row.items():
        while name in added or name in kept:
            name = f"input_{name}"
        kept[name] = value
    return kept
