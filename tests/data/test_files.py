"""Files as users have them: separators, encodings, broken lines, and faults that are not the table's."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_sentiment_ft.data.files import read_rows
from hf_sentiment_ft.errors import UsageError

from ..splits import load, refusal, texts
from ..tiny import write_csv

ROWS = [(f"film {i}", ("bad", "good")[i % 2]) for i in range(40)]
LINES = ["text,label", *(",".join(row) for row in ROWS)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons.csv", "\n".join(LINES).replace(",", ";")),
        ("tabs.csv", "\n".join(LINES).replace(",", "\t")),
        ("bars.csv", "\n".join(LINES).replace(",", "|")),
        ("commas.tsv", "\n".join(LINES)),
        ("excel.csv", "\ufeff" + "\r\n".join(["sep=;", *LINES]).replace(",", ";")),
        ("comma_in_a_name.csv", "\n".join(f"{line},".replace(",", ";") for line in LINES).replace("l;", 'l;"a,b"', 1)),
        ("blanks_around_names.csv", "\n".join(["text , label", *LINES[1:]])),
        ("macintosh.csv", "\r".join(LINES)),
        ("blank_lines.csv", "\n\n" + "\n\n".join(LINES) + "\n\n"),
        ("empty_column.csv", "\n".join(f"{line}," for line in LINES)),
        ("list.json", "[" + ",\n".join(f'{{"text": "{text}", "label": "{label}"}}' for text, label in ROWS) + "]"),
    ],
)
def test_tables_are_read_however_they_are_written(name: str, content: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content.encode())
    data = load(train_file=str(tmp_path / name))
    assert data.labels == ["bad", "good"]
    assert sorted(text for split in data.splits for text in texts(data, split)) == sorted(text for text, _ in ROWS)


def test_separators_within_texts_are_text(tmp_path: Path):
    rows = [(f"one; two; {i}\tthree", label) for i, (_, label) in enumerate(ROWS)]
    assert "one; two; 2\tthree" in texts(load(train_file=write_csv(tmp_path / "a.csv", rows)), "train")


def test_index_of_a_filtered_data_frame_is_just_a_column(tmp_path: Path):
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=["text", "label"])
    frame[frame.index != 3].to_parquet(tmp_path / "a.parquet")
    assert len(load(train_file=str(tmp_path / "a.parquet")).splits["train"]) == 31


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"text,label\nfine,a\na dull, slow film,b\n",
            "a.csv: line 3: the rows have more fields than the head",
        ),
        ("a.csv", b"\nsep=;\ntext;label\nx;a\n\ny;a;b\n", "a.csv: line 6: the rows have more fields"),
        ("a.csv", b'text,label\n"two\nlines",a\nx,b,c\n', "a.csv: line 4: the rows have more fields"),
        ("a.csv", b"text,label\nfine,a\ncaf\xe9,b\n", "a.csv: line 3 is not UTF-8 (UnicodeDecodeError: 'utf-8' codec"),
        (
            "a.csv",
            b'text,label\nfine,a\n"never closed,b\nx,a\n',
            "a.csv: the row that begins in line 3: unexpected end",
        ),
        ("a.csv", b'text,label\n"good" film,a\n', "Write a quotation mark inside quotes twice."),
        ("a.jsonl", b'{"text": "a", "label": 1}\n\n[1]\n', "a.jsonl: line 3 is [1]; expected a JSON object."),
        ("a.jsonl", b'{"text": "a", "label": 1}\n7\n', "a.jsonl: line 2 is 7; expected a JSON object."),
        ("a.csv.gz", b"no gzip", "a.csv.gz cannot be read (BadGzipFile: Not a gzipped file"),
    ],
)
def test_broken_file_is_told_with_the_line(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    for given in ({}, {"streaming": True}):
        told = refusal(train_file=str(tmp_path / name), **given)
        assert message in told
        assert told.startswith(f"--train_file is {tmp_path / name}, which cannot be loaded: ")


def test_second_column_of_a_name_has_a_name_of_its_own(tmp_path: Path):
    (tmp_path / "a.csv").write_text("a,a.1,a,,\n1,2,3,4,5\n6\n")
    rows = list(read_rows(str(tmp_path / "a.csv"), ".csv"))
    assert rows[0] == {"a": "1", "a.1": "2", "a.2": "3", "": "4", ".1": "5"}
    assert list(rows[1].values()) == ["6", None, None, None, None]


def test_cache_that_cannot_be_written_is_not_the_tables_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import datasets

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "file" / "datasets"))
    message = refusal(train_file=write_csv(tmp_path / "a.csv", ROWS))
    assert message.startswith(f"the cache of datasets, {tmp_path}/file/datasets, cannot be written to (NotADirectory")
    assert "Set HF_HOME to a writable folder" in message
    assert "a.csv" not in message


def test_splits_that_few_rows_do_not_suffice_for_are_told_with_what_was_taken(tmp_path: Path):
    path = write_csv(tmp_path / "ten.csv", [(f"film {i}", f"label {i % 5}") for i in range(10)])
    assert (
        "the train split has 10 rows, too few to take a test split from it: 5 of them became validation, and 5 would "
        "become test (at least one for each of the 5 labels), which leaves 0 to train on. Add rows, pass --test_file, "
        "or use --test_split_percentage 0."
    ) in refusal(train_file=path)


def test_missing_file_is_told_before_the_model_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    monkeypatch.chdir(tmp_path)
    for path, message in (("nope.csv", "nope.csv, which is not a file"), ("a.csv", "no label column found among text")):
        Path("a.csv").write_text("text\nfine\n")
        with pytest.raises(UsageError, match=message):
            run(parse_train_arguments(["--model_name_or_path", "./no_model", "--train_file", path, "--use_cpu"]))


def test_white_space_around_column_names_is_no_part_of_them(tmp_path: Path):
    (tmp_path / "a.csv").write_text(" text , label \n fine ,a\n")
    assert list(read_rows(str(tmp_path / "a.csv"), ".csv")) == [{"text": " fine ", "label": "a"}]


def test_utf_16_without_a_mark_is_told(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes("text,label\nfine,a\n".encode("utf-16-le"))
    with pytest.raises(UsageError, match="line 1 is not UTF-8, but probably UTF-16. Save the file as UTF-8."):
        list(read_rows(str(tmp_path / "a.csv"), ".csv"))


@pytest.mark.parametrize(("label", "kind"), [({"a": 1, "b": 2}, "objects"), (0.5, "float64")])
def test_labels_of_another_kind_are_told(label: Any, kind: str, tmp_path: Path):
    rows = [{"text": f"row {number}", "label": label} for number in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert f"the label column 'label' contains {kind}; expected" in refusal(train_file=tmp_path / "a.jsonl")


def test_fault_of_the_network_is_not_the_files(tmp_path: Path):
    """So that it is tried again; `memory` is another place that files may be at."""
    with pytest.raises(FileNotFoundError):
        list(read_rows("memory://gone.csv", ".csv"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_utf_16_without_a_mark_is_refused(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes("\n".join(LINES).encode("utf-16-le"))
    with pytest.raises(UsageError, match="line 1 is not UTF-8, but probably UTF-16. Save the file as UTF-8"):
        list(read_rows(str(tmp_path / name), (tmp_path / name).suffix))


def test_lines_of_text_may_end_in_any_way(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"one\rtwo\r\n\rthree\nfour")
    rows = [row["text"] for row in read_rows(str(tmp_path / "a.txt"), ".txt")]
    assert rows == ["one", "two", "three", "four"]


def test_an_object_on_many_lines_is_told_what_is_expected(tmp_path: Path):
    (tmp_path / "a.json").write_text('{\n "data": []\n}', encoding="utf-8")
    with pytest.raises(UsageError, match="Expected an object on each line, or one list of objects"):
        list(read_rows(str(tmp_path / "a.json"), ".json"))


def test_strings_as_polars_writes_them(tmp_path: Path):
    columns = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    views = {name: pa.array(values, pa.string_view()) for name, values in columns.items()}
    pq.write_table(pa.table(views), tmp_path / "a.parquet")
    assert load(train_file=str(tmp_path / "a.parquet")).labels == ["bad", "good"]
