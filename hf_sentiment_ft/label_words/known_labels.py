"""Rows with the class ids of a trained model, whose labels may be in another order, or more, than those of the rows."""

from dataclasses import replace

import numpy as np

from ..data.questions import Question
from ..data.splits import LabelledSplits
from ..errors import UsageError
from .questions import Questions


def with_labels(data: LabelledSplits, labels: list[str], model: str) -> LabelledSplits:
    """Return the same rows with class ids in the order of a model's labels.

    Args:
        data: Labelled rows.
        labels: Label names of the model, in the order of its class ids.
        model: Name of the model, for the error message.

    Raises:
        UsageError: If the data has a label that the model does not know.
    """
    from datasets import ClassLabel, List, Value

    if not set(data.labels) <= set(labels):
        raise UsageError(
            f"the data has the labels {', '.join(data.labels)}, but {model} was trained on {', '.join(labels)} and "
            "cannot predict any others. Evaluate it on data with its own labels."
        )
    if data.labels == labels:
        return data
    new_ids = [labels.index(label) for label in data.labels]
    feature = ClassLabel(names=labels)
    splits = dict(data.splits)
    for split, rows in data.splits.items():
        if "label" in rows.column_names:
            ids = [new_ids[label] for label in rows["label"]]
            splits[split] = rows.remove_columns("label").add_column("label", ids, feature=feature)
        if "shares" in rows.column_names:
            shares = np.zeros((len(rows), len(labels)))
            shares[:, new_ids] = rows["shares"][:]
            rest = splits[split].remove_columns("shares")
            splits[split] = rest.add_column("shares", shares.tolist(), feature=List(Value("float64")))
    return replace(data, splits=splits, labels=labels)


def with_questions(data: LabelledSplits, questions: Questions, labels: list[str], model: str) -> LabelledSplits:
    """Return the same rows with the answers to a model's questions, in its order; labels that are missing are `no`.

    Args:
        data: Labelled rows.
        questions: What the model is asked.
        labels: Label names of the model, in the order of its class ids.
        model: Name of the model, for the error message.

    Raises:
        UsageError: If the data has other questions or labels than the model.
    """
    names = [question.name for question in data.questions]
    known = set(names) <= set(questions.names) if questions.multi_label else set(names) == set(questions.names)
    if not names or data.multi_label != questions.multi_label or not known or not set(data.labels) <= set(labels):
        kind = "labels" if questions.multi_label else "label columns"
        raise UsageError(
            f"{model} was trained on several {kind}, {', '.join(questions.names)}, but the data has "
            f"{', '.join(names or data.labels)}. Name the same ones in --label_column_name."
        )
    order = [names.index(name) if name in names else None for name in questions.names]
    new_ids = [labels.index(label) for label in data.labels]

    def reorder(row: dict[str, list[int]]) -> dict[str, list[int]]:
        return {"answers": [0 if one is None else new_ids[row["answers"][one]] for one in order]}

    splits = {
        split: rows.map(reorder) if "answers" in rows.column_names else rows for split, rows in data.splits.items()
    }
    asked = [Question(name, ids) for name, ids in zip(questions.names, questions.label_ids, strict=True)]
    return replace(data, splits=splits, labels=labels, questions=asked)
