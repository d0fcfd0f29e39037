"""What is written in a table is what is learnt: no value is taken for a number, a date or a missing value."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ..splits import load, refusal, texts
from ..tiny import write_csv


def table(path: Path, *labels: str, times: int = 20) -> str:
    rows = [(f"film {number} {label.strip()}", label) for number in range(times) for label in labels]
    return write_csv(path, rows)


def json_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def all_texts(data: Any) -> list[str]:
    return sorted(text for split in data.splits for text in texts(data, split))


@pytest.mark.parametrize("labels", [["007", "042"], ["1E2", "2E3"], ["01", "1", "02"], ["1.0", "2"], ["FALSE", "TRUE"]])
@pytest.mark.parametrize("how", ["file", "folder", "stream"])
def test_labels_of_text_files_are_as_written(labels: list[str], how: str, tmp_path: Path):
    path = table(tmp_path / "train.csv", *reversed(labels))
    given: dict[str, Any] = {"dataset_name": str(tmp_path)} if how == "folder" else {"train_file": path}
    if how == "stream":
        given |= {"streaming": True, "max_eval_samples": 8, "max_test_samples": 8}
    assert load(**given).labels == sorted(labels, key=lambda label: (float(label), label) if label[0] < "A" else label)


def test_labels_that_are_numbers_are_in_the_order_of_their_values(tmp_path: Path):
    assert load(train_file=table(tmp_path / "a.csv", "10", "9", "-1", "1E2")).labels == ["-1", "9", "10", "1E2"]
    assert load(train_file=table(tmp_path / "b.csv", "10", "9", "x")).labels == ["10", "9", "x"]


def test_texts_of_text_files_are_as_written(tmp_path: Path):
    """Unless they are as few as labels, since the columns have then been confused."""
    rows = [(f"{i:03}", ("odd", "even")[i % 2]) for i in range(40)] + [("1.10", "odd"), ("NA", "even"), ("1E5", "odd")]
    path = write_csv(tmp_path / "a.csv", rows)
    assert all_texts(load(train_file=path)) == sorted(text for text, _ in rows)
    data = load(train_file=write_csv(tmp_path / "numbers.csv", rows[:40]))
    assert "007" in all_texts(data)
    message = refusal(train_file=write_csv(tmp_path / "b.csv", [(str(i % 2), f"film {i}") for i in range(40)]))
    assert "the text column 'text' of the train split contains only numbers, such as '0', and fewer" in message


def test_types_do_not_change_from_part_to_part(tmp_path: Path):
    rows = [(f"film {i}", ("01", "02", "A1")[i % 3]) for i in range(10_000)] + [(f"late {i}", "01") for i in range(200)]
    assert load(train_file=write_csv(tmp_path / "a.csv", rows)).labels == ["01", "02", "A1"]
    other = table(tmp_path / "test.csv", "TRUE", "FALSE")
    data = load(train_file=table(tmp_path / "train.csv", "TRUE", "FALSE", "unsure"), test_file=other)
    assert data.splits["test"]["label"][:] == [1, 0] * 20


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_columns_that_are_not_used_do_not_matter(kind: str, streaming: bool, tmp_path: Path):
    """They may be empty at first and of any type later, and differ between files."""
    rows = [{"text": f"film {i}", "label": "ab"[i % 2], "note": None, "id": i} for i in range(12_000)]
    rows += [{"text": "the last", "label": "b", "note": "a word", "id": "x7"}]
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        write_csv(path, [tuple(row.values()) for row in rows], header=tuple(rows[0]))
        write_csv(tmp_path / "b.csv", [("b", "b film", 3)] * 5, header=("label", "text", "stars"))
    else:
        json_lines(path, [*rows, {"text": "more", "label": "a", "note": {"deep": [1]}, "extra": 1}])
        json_lines(tmp_path / "b.jsonl", [{"label": "b", "text": "b film", "id": [1]}] * 5)
    data = load(train_file=f"{tmp_path}/*.{kind}", streaming=streaming)
    read = [row["text"] for row in data.stream.checked] if data.stream else all_texts(data)
    assert read.count("the last") == 1
    assert read.count("b film") == 5


def test_strings_of_json_are_strings(tmp_path: Path):
    """Also those that look like dates, and rows that look like the log of a chat."""
    rows = [{"text": f"2020-01-{i % 28 + 1:02}", "label": f"{2020 + i % 2}-01-01T00:00:00"} for i in range(40)]
    data = load(train_file=json_lines(tmp_path / "a.jsonl", rows))
    assert data.labels == ["2020-01-01T00:00:00", "2021-01-01T00:00:00"]
    assert "2020-01-28" in all_texts(data)
    chat = [{"type": "user", "message": f"film {i}", "label": "ab"[i % 2]} for i in range(40)]
    data = load(train_file=json_lines(tmp_path / "b.jsonl", chat), text_column_name="message")
    assert "film 7" in all_texts(data)


def test_white_space_around_labels_is_told_and_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = table(tmp_path / "a.csv", "pos", "neg", "pos ", "\tneg")
    with caplog.at_level(logging.WARNING):
        assert load(train_file=path).labels == ["neg", "pos"]
    assert "Labels in column 'label' of the train split have white space around them, which is ignored" in caplog.text
    blank = write_csv(tmp_path / "b.csv", [("a", "x"), ("b", "  "), ("c", "y")])
    assert "1 row of the train split has no label in column 'label': row 1 (counted from 0)" in refusal(
        train_file=blank
    )


def test_invisible_marks_around_labels_are_white_space(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = table(tmp_path / "a.csv", "pos", "neg", "pos\u200b", "\ufeffneg", "\u00a0pos")
    with caplog.at_level(logging.WARNING):
        assert load(train_file=path).labels == ["neg", "pos"]
    assert "which is ignored, such as 'pos\\u200b'" in caplog.text  # written out, so that it is seen
    blank = write_csv(tmp_path / "b.csv", [("a", "x"), ("b", "\u200b"), ("c", "y")])
    assert "1 row of the train split has no label in column 'label'" in refusal(train_file=blank)


@pytest.mark.parametrize(
    "alike", [("Pos", "pos"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße"), ("new york", "new\u200b york")]
)
def test_labels_that_look_alike_are_told(alike: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert len(load(train_file=table(tmp_path / "a.csv", *alike, "neg")).labels) == 3
    first, second = sorted(alike)
    assert f"The labels {first!r}, {second!r} look alike" in caplog.text
    assert "'neg'" not in caplog.text


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_numbers_fill_a_template_as_text(kind: str, tmp_path: Path):
    from datasets import Dataset

    rows = [{"title": f"film {i}", "stars": (1, 5)[i % 2], "price": (2.0, 0.5)[i % 2]} for i in range(40)]
    frame = Dataset.from_list([{**row, "label": "ab"[i % 2]} for i, row in enumerate(rows)])
    path = str(tmp_path / f"a.{kind}")
    {"jsonl": frame.to_json, "parquet": frame.to_parquet, "csv": frame.to_csv}[kind](path)
    found = all_texts(load(train_file=path, text_template="{title}: {stars} for {price}"))
    whole = "2.0" if kind == "csv" else "2"  # a CSV file is taken by its letters
    assert found[:2] == [f"film 0: 1 for {whole}", "film 10: 1 for " + whole]
    assert "film 1: 5 for 0.5" in found
    assert "film 1\n5" in all_texts(load(train_file=path, text_column_name="title,stars"))


def test_numbers_and_words_in_one_column_of_a_template(tmp_path: Path):
    stars = [*range(1, 1500), "many", None, 0]
    rows = [{"title": f"film {i}", "stars": star, "label": "ab"[i % 2]} for i, star in enumerate(stars)]
    found = all_texts(load(train_file=json_lines(tmp_path / "a.jsonl", rows), text_template="{title}: {stars}"))
    assert {"film 0: 1", "film 1499: many", "film 1500: ", "film 1501: 0"} <= set(found)
    rows[3]["stars"] = [1]
    path = json_lines(tmp_path / "b.jsonl", rows)
    assert "[1] is of the type list; expected text or a number" in refusal(train_file=path, text_template="{stars}")


def test_label_that_changes_its_type_late_is_told(tmp_path: Path):
    rows = [{"text": f"film {i}", "label": i % 2 if i < 2000 else "x"} for i in range(2002)]
    message = refusal(train_file=json_lines(tmp_path / "a.jsonl", rows))
    assert "a.jsonl: the column 'label' contains values of several types, such as numbers and strings; write" in message
