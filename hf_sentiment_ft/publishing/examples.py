"""Texts of a run's evaluation with what the model answered, for the card and for the verification."""

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ..label_words.questions import Questions
from .markdown import hides

SAMPLE_SIZE = 16
LONGEST = 200  # characters of an example; longer texts hide the answer
PLAIN = re.compile(r"[^<>|`{}\\]+")


def read_predictions(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a predictions file, such as `test_predictions.csv`, by column name.

    Of a model of several questions, each row is that of one of them: its text has the question behind it, as `pipeline`
    is asked, and its label is the question.
    """
    csv.field_size_limit(sys.maxsize)  # by default, texts of more than 131,072 characters are refused
    questions = questions_of(path.parent)
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if questions:
                chosen = number % len(questions.names)
                asked, words = questions.ask([row["text"]]), json.loads(row["generated_text"])
                row = {"text": asked[chosen], "label": questions.names[chosen], "generated_text": words[chosen]}
            yield row


def questions_of(folder: Path) -> Questions | None:
    """Return what the model in a run's folder is asked about every text; None for a single question."""
    for name in ("config.json", "label_words/config.json"):  # that of an adapter
        path = folder / name
        saved = json.loads(path.read_text(encoding="utf-8")).get("label_questions") if path.is_file() else None
        if saved:
            return Questions(**saved)
    return None


def evaluated_rows(folder: Path, size: int) -> list[dict[str, str]]:
    """Return evenly spaced rows of the evaluated split; none if the run has no saved predictions.

    Args:
        folder: Folder of the finished run.
        size: Maximum number of rows.
    """
    for predictions in sorted(folder.glob("*_predictions.csv"), reverse=True):
        rows = list(read_predictions(predictions))
        return rows[:: max(1, len(rows) // size)][:size]
    return []


def sample_answers(folder: Path, size: int = SAMPLE_SIZE) -> dict[str, str]:
    """Return evenly spaced texts of the evaluated split, with the words that the evaluated model generated for them.

    Args:
        folder: Folder of the finished run.
        size: Maximum number of texts.

    Returns:
        Generated word by text; empty if the run has no saved predictions.
    """
    return {row["text"]: row["generated_text"] for row in evaluated_rows(folder, size)}


def probabilities_of(predictions: Path, text: str) -> list[float]:
    """Return the probability of each label that the evaluated model gave a text; empty if the text is not there.

    Args:
        predictions: File of predictions.
        text: A text of the split.
    """
    for row in read_predictions(predictions) if predictions.is_file() else ():
        if row["text"] == text:
            columns = list(row)
            added = columns[columns.index("generated_text") :]
            return [float(row[name]) for name in added if name.startswith("probability_")]
    return []


def short_examples(predictions: Path, size: int = 3) -> list[dict[str, str]]:
    """Return short texts of a split, each of another true label, with the word that the model generated for it.

    Which texts are chosen does not depend on whether the answer is right.

    Args:
        predictions: File of predictions, with labels.
        size: Maximum number of texts.

    Returns:
        The first short text of each of the first labels, as `text` and `output`; a text without markup is preferred.
    """
    found: dict[str, dict[str, str]] = {}
    for row in read_predictions(predictions) if predictions.is_file() else ():
        text, label = row["text"], row.get("label", "")
        # Invisible characters, such as those that reverse a line, have no place in front matter, either.
        if not text.strip() or len(text) > LONGEST or hides(text + row["generated_text"]):
            continue
        plain = PLAIN.fullmatch(text) and text.isprintable()
        if label not in found or (plain and not found[label]["plain"]):
            found[label] = {"text": text, "output": row["generated_text"], "plain": "yes" if plain else ""}
    chosen = sorted(found.values(), key=lambda example: not example["plain"])[:size]
    return [{name: example[name] for name in ("text", "output")} for example in chosen]
