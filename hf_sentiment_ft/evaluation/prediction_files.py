"""Predictions of a run as CSV files, a line for each row."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..label_words.questions import YES, Questions
from .predictions import Predictions

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


def save_predictions(
    path: Path,
    predictions: Predictions,
    dataset: "Dataset",
    labels: list[str],
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Save predictions as a CSV file with one line for each row, in the order of the dataset.

    The columns are `text`, `label` (if there are labels), `prediction` (the label with the best score),
    `generated_text` (what `pipeline` generates), and `probability_LABEL` for each label.

    Args:
        path: CSV file to write.
        predictions: Predictions for the rows of `dataset`.
        dataset: Rows before tokenization.
        labels: Label names in the order of their class ids.
        tokenizer: Tokenizer that decodes the generated tokens.
    """
    probabilities, words = predictions.probabilities, generated_words(predictions, tokenizer)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        known = [column for column in ("text", "label") if column in dataset.column_names]
        writer.writerow([*known, "prediction", "generated_text", *(f"probability_{label}" for label in labels)])
        for row, row_probabilities, word in zip(dataset, probabilities, words, strict=True):
            best = labels[int(row_probabilities.argmax())]
            gold = [labels[row["label"]]] if "label" in known else []
            writer.writerow([row["text"], *gold, best, word, *(f"{p:.6f}" for p in row_probabilities)])


def save_answers(
    path: Path,
    predictions: Predictions,
    rows: "Dataset",
    labels: list[str],
    questions: Questions,
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Save predictions as a CSV file with one line for each row.

    For multi-label rows, the columns are `text`, `label` and `prediction` (both with all labels of the text), and
    `probability_LABEL` for each label. For several label columns, these are `text` and, for each column, `COLUMN`,
    `prediction_COLUMN` and `probability_COLUMN_LABEL`. The true labels are left out if the rows have none. The last
    column is `generated_text`: what `pipeline` generates for each question, as a JSON list.

    Args:
        path: CSV file to write.
        predictions: Predictions for the rows, (rows * questions, ...).
        rows: Rows before tokenization.
        labels: Label names in the order of their class ids.
        questions: What was asked.
        tokenizer: Tokenizer that decodes the generated tokens.
    """
    num = len(questions.names)
    known = "answers" in rows.column_names
    columns: dict[str, Any] = {"text": rows["text"][:]}
    if questions.multi_label:
        asked = replace(questions, thresholds=predictions.label_thresholds)
        yes = predictions.probabilities[:, YES].reshape(-1, num)
        if known:
            columns["label"] = asked.join(np.asarray(rows["answers"][:]) == YES)
        columns["prediction"] = asked.join(asked.chosen(yes))
        columns |= {f"probability_{name}": _rounded(yes[:, number]) for number, name in enumerate(questions.names)}
    else:
        probabilities = predictions.probabilities.reshape(-1, num, len(labels))
        for question, (name, ids) in enumerate(zip(questions.names, questions.label_ids, strict=True)):
            own = probabilities[:, question][:, ids]
            if known:
                columns[name] = [labels[answers[question]] for answers in rows["answers"]]
            columns[f"prediction_{name}"] = [labels[ids[best]] for best in own.argmax(axis=1)]
            columns |= {
                f"probability_{name}_{labels[label]}": _rounded(own[:, place]) for place, label in enumerate(ids)
            }
    words = generated_words(predictions, tokenizer)
    columns["generated_text"] = [
        json.dumps(words[start : start + num], ensure_ascii=False) for start in range(0, len(words), num)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def generated_words(predictions: Predictions, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return what `pipeline` generates for each row."""
    tokens = ([token for token in row if token >= 0] for row in predictions.generated_tokens.tolist())
    return [str(tokenizer.decode(row, skip_special_tokens=True)) for row in tokens]


def _rounded(values: "np.ndarray[Any, Any]") -> list[str]:
    return [f"{value:.6f}" for value in values]
