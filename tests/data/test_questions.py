"""Rows with several labels, or several label columns, as people have them: lists, separators, 0 and 1, columns."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..splits import load, refusal
from ..tiny import write_csv

TOPICS = ("angry", "billing", "spam")
ROWS = [(f"ticket {number}", [TOPICS[label] for label in range(3) if number >> label & 1]) for number in range(80)]
EXPECTED = {text: [int(topic in topics) for topic in TOPICS] for text, topics in ROWS}


def answers(data: Any) -> dict[str, list[int]]:
    return {row["text"]: row["answers"] for split in data.splits.values() for row in split}


def as_lists(folder: Path) -> dict[str, Any]:
    path = folder / "lists.jsonl"
    path.write_text("".join(json.dumps({"text": text, "labels": topics}) + "\n" for text, topics in ROWS))
    return {"train_file": str(path)}


def as_strings(folder: Path) -> dict[str, Any]:
    path = write_csv(folder / "strings.csv", [(text, " ; ".join(topics)) for text, topics in ROWS], ("text", "topics"))
    return {"train_file": path, "label_column_name": "topics", "label_separator": ";"}


def as_flags(folder: Path) -> dict[str, Any]:
    rows = [(text, *EXPECTED[text]) for text, _ in ROWS]
    return {
        "train_file": write_csv(folder / "flags.csv", rows, ("text", *TOPICS)),
        "label_column_name": ",".join(TOPICS),
    }


@pytest.mark.parametrize("written", [as_lists, as_strings, as_flags])
def test_each_label_is_a_question(written: Any, tmp_path: Path):
    data = load(**written(tmp_path))
    assert [question.name for question in data.questions] == list(TOPICS)
    assert data.labels == ["no", "yes"]
    assert data.multi_label
    assert answers(data) == EXPECTED
    assert {len(data.splits[split]) for split in ("validation", "test")} == {8, 7}


def test_rare_labels_are_in_all_splits(tmp_path: Path):
    rows = [(f"ticket {n}", "rare;usual" if n % 10 == 0 else "usual" if n % 2 else "") for n in range(300)]
    path = write_csv(tmp_path / "a.csv", rows)
    data = load(train_file=path, label_separator=";")
    assert all(np.array(split["answers"][:])[:, 0].any() for split in data.splits.values())


def test_each_label_column_is_a_question_with_its_own_labels(tmp_path: Path):
    rows = [(f"ticket {n}", ("billing", "sales")[n % 2], ("high", "low", "sales")[n % 3]) for n in range(60)]
    path = write_csv(tmp_path / "a.csv", rows, ("text", "queue", "urgency"))
    data = load(train_file=path, label_column_name="queue|urgency")
    assert data.labels == ["billing", "sales", "high", "low"]
    assert [(question.name, question.label_ids) for question in data.questions] == [
        ("queue", [0, 1]),
        ("urgency", [2, 3, 1]),
    ]
    assert not data.multi_label
    assert answers(data) == {text: [data.labels.index(queue), data.labels.index(how)] for text, queue, how in rows}


def test_a_test_file_without_labels_is_only_predicted(tmp_path: Path):
    test = write_csv(tmp_path / "test.csv", [("one",), ("two",)], ("text",))
    data = load(**as_flags(tmp_path), test_file=test)
    assert "answers" not in data.splits["unlabelled_test"].column_names


def test_two_and_a_hundred_labels(tmp_path: Path):
    for number in (2, 100):
        names = [f"topic {label:03}" for label in range(number)]
        rows = [(f"ticket {n}", ";".join(names[n % number :: 7])) for n in range(3 * number)]
        data = load(train_file=write_csv(tmp_path / "a.csv", rows), label_separator=";", test_split_percentage=0)
        assert [question.name for question in data.questions] == names


def test_what_cannot_be_learnt_is_refused(tmp_path: Path):
    flags = as_flags(tmp_path)
    rows = [("a ticket", 1, 0, 2), ("another", 0, 1, 0)]  # in train, these would be counts of votes
    assert "something else than 0 and 1 in column 'spam'" in refusal(
        **flags | {"validation_file": write_csv(tmp_path / "a.csv", rows, ("text", *TOPICS))}
    )
    rows = [(f"ticket {n}", n % 2, n % 3 % 2, 0) for n in range(40)]
    assert "no row of the train split has the label spam; the model cannot learn it." in refusal(
        **flags | {"train_file": write_csv(tmp_path / "a.csv", rows, ("text", *TOPICS))}
    )
    assert "--label_column_name is 'toxic', which is not a column" in refusal(
        **flags | {"label_column_name": "angry,toxic"}
    )
    assert "names a column twice" in refusal(**flags | {"label_column_name": "angry,angry"})
    assert "--label_separator is ';', but --label_column_name names several columns" in refusal(
        **flags, label_separator=";"
    )
    rows = [(f"ticket {n}", "all") for n in range(40)]
    assert "the train split has one label: all; expected 2 to 100" in refusal(
        train_file=write_csv(tmp_path / "a.csv", rows), label_separator=";"
    )
    test = write_csv(tmp_path / "test.csv", [("a ticket", "angry;new"), ("another", "")], ("text", "topics"))
    assert "1 row of the test split has a label that train does not have ('new'): row 0" in refusal(
        **as_strings(tmp_path), test_file=test
    )
    assert "--streaming reads rows of one label each" in refusal(
        **as_flags(tmp_path), streaming=True, max_eval_samples=8, max_test_samples=8
    )
