"""Tables in every form that users have them in, and what is said of those that cannot be read."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hf_sentiment_ft.data.splits import LabelledSplits
from hf_sentiment_ft.errors import UsageError

from ..splits import load
from ..tiny import write_csv

ROWS = [(f"text {i}", ("schlecht", "güt 👍")[i % 2]) for i in range(40)]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
JSON_LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)


def refusal(**given: Any) -> str:
    with pytest.raises(UsageError) as error:
        load(**given)
    assert "\n" not in str(error.value)
    return str(error.value)


def rows_of(data: LabelledSplits) -> list[tuple[str, str]]:
    return sorted((row["text"], data.labels[row["label"]]) for split in data.splits.values() for row in split)


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("table", data)
    return buffer.getvalue()


def zstandard(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").compress(data)


@pytest.mark.parametrize(
    ("name", "content", "compress"),
    [
        ("TRAIN.CSV", CSV, bytes),
        ("train.tsv", CSV.replace(",", "\t"), bytes),
        ("train.csv.gz", CSV, gzip.compress),
        ("train.Csv.BZ2", CSV, bz2.compress),
        ("train.csv.zip", CSV, zipped),
        ("train.jsonl.xz", JSON_LINES, lzma.compress),
        ("train.jsonl.zst", JSON_LINES, zstandard),
        ("train.ndjson.gz", JSON_LINES, gzip.compress),
        ("train.v2.csv", CSV, bytes),
        ("train[1]*?.csv", CSV, bytes),
        ("bom.csv", "\ufeff" + CSV, bytes),
        ("bom.jsonl", "\ufeff" + JSON_LINES, bytes),
        ("windows.csv", CSV.replace("\n", "\r\n"), bytes),
        ("windows.jsonl", JSON_LINES.replace("\n", "\r\n"), bytes),
    ],
)
def test_files_of_every_kind(name: str, content: str, compress: Callable[[bytes], bytes], tmp_path: Path):
    (tmp_path / name).write_bytes(compress(content.encode()))
    data = load(train_file=str(tmp_path / name))
    assert rows_of(data) == sorted(ROWS)
    assert data.labels == ["güt 👍", "schlecht"]


def test_home_and_several_files_by_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What one process reads as train and as test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_csv(tmp_path / "part-1.csv", ROWS[:10])
    write_csv(tmp_path / "part-2.csv", ROWS[10:])
    (tmp_path / "folder-3.csv").mkdir()
    assert rows_of(load(train_file="~/*-*.csv")) == sorted(ROWS)
    assert load(train_file="~/part-*.csv", test_file="~/part-1.csv").splits["test"]["text"][:] == [
        t for t, _ in ROWS[:10]
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "--train_file is {folder}/*, which is not a file, and no file matches it as a pattern."),
        (
            {"a.csv": CSV, "b.tsv": CSV},
            "--train_file is {folder}/*, which matches files of several types (.csv, .tsv); expected one type.",
        ),
        ({"a.csv": CSV, "b.csv": ""}, "--train_file is {folder}/*, but {folder}/b.csv is empty."),
        ({"a.csv": "text,label\n"}, "--train_file is {folder}/*, which cannot be loaded: it has no rows."),
        ({"a.txt.gz": CSV}, "--train_file is {folder}/a.txt.gz; expected a file of one of the types .csv, .tsv, .json"),
        (
            {"a.csv": CSV, "b.csv": "text,stars\na,1\n"},
            "{folder}/b.csv has no column 'label'; its columns are: text, stars",
        ),
        ({"a.csv": "text,label\none, two,x\nthree, four,y\n"}, "the rows have more fields than the header has names;"),
        (
            {"a.csv": "text,label,text\na,x,b\nc,y,d\n"},
            "there are two columns named 'text', read as text, label, text.1;",
        ),
        (
            {"a.jsonl": '{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n'},
            "contains values of several types, such",
        ),
        (
            {"a.jsonl": '{"text": "a", "text": "b", "label": 1}\n'},
            "{folder}/a.jsonl: line 1 is not JSON: the name 'text' appears twice",
        ),
        (
            {"a.jsonl": '{"text": "\\ud83d", "label": 1}\n'},
            "{folder}/a.jsonl: line 1 contains half of a surrogate pair, '\\ud83d';",
        ),
        (
            {"a.jsonl": '{"text": "a", "label": ""}\n'},
            "1 row of the train split has no label in column 'label': row 0",
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(files: dict[str, str], message: str, tmp_path: Path):
    for name, content in files.items():
        data = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert message.format(folder=tmp_path) in refusal(train_file=f"{tmp_path}/*")


def test_one_of_two_columns_of_the_same_name_can_be_chosen(tmp_path: Path):
    (tmp_path / "a.csv").write_text("text,label,text\n" + "".join(f"a{i},{i % 2},b{i}\n" for i in range(20)))
    texts = load(train_file=f"{tmp_path}/a.csv", text_column_name="text.1").splits["train"]["text"]
    assert all(text.startswith("b") for text in texts)


@pytest.mark.parametrize(
    "values",
    [(True, False), (1.0, 0.0), (1, 0), ("1", "0")],
    ids=str,
)
@pytest.mark.parametrize("other", [(True, False), (1.0, 0.0), (1, 0), ("1", "0")], ids=str)
def test_labels_written_differently_in_train_and_test(values: tuple[Any, Any], other: tuple[Any, Any], tmp_path: Path):
    """Numbers are the same as numbers, as strings and with a point zero; truth values are words."""
    for name, (yes, no) in {"train": values, "test": other}.items():
        rows = [{"text": f"{name} {i}", "label": (yes, no)[i % 2]} for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"train_file": f"{tmp_path}/train.jsonl", "test_file": f"{tmp_path}/test.jsonl"}
    if isinstance(values[0], bool) == isinstance(other[0], bool):
        assert load(**files).splits["test"]["label"][:] == [1, 0] * 10
    else:
        assert "20 rows of the test split have a label that train does not have" in refusal(**files)


def test_labels_that_are_numbers_are_in_the_order_of_their_values(tmp_path: Path):
    rows = [json.dumps({"text": f"t{i}", "label": str(i % 12 - 1)}) + "\n" for i in range(66)]
    (tmp_path / "train.jsonl").write_text("".join(rows))
    assert load(train_file=f"{tmp_path}/train.jsonl").labels == [str(number) for number in range(-1, 11)]


def test_a_thousand_labels(tmp_path: Path):
    data = load(train_file=write_csv(tmp_path / "train.csv", [(f"t{i}", f"l{i % 1000:03}") for i in range(4000)]))
    assert data.labels == [f"l{i:03}" for i in range(1000)]
    assert set(data.splits["train"]["label"]) == set(range(1000))


def test_columns_are_joined_by_a_line_break(tmp_path: Path):
    """A column without a text leaves no empty line, in a CSV as in JSON."""
    rows = [(f"title {i}", None if i % 2 else f"body {i}", None, i % 3) for i in range(30)]
    header = ("title", "body", "note", "label")
    write_csv(tmp_path / "train.csv", rows, header)
    empty = [{name: "" if value is None else value for name, value in zip(header, row, strict=True)} for row in rows]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in empty))
    expected = sorted(f"title {i}" if i % 2 else f"title {i}\nbody {i}" for i in range(30))
    for name in ("train.csv", "train.jsonl"):
        data = load(train_file=str(tmp_path / name), text_column_name="title, body,note")
        assert [text for text, _ in rows_of(data)] == expected
    given = {"train_file": str(tmp_path / "train.csv")}
    assert "--text_column_name is 'nobody', which is not a column; the columns are: title, body" in refusal(
        **given, text_column_name="title,nobody"
    )
    message = refusal(**given, text_column_name="body,note")
    assert message.startswith("15 rows of the train split have no text in column 'body', 'note': rows 1, 3, 5")


def test_a_column_name_with_a_comma_is_one_column(tmp_path: Path):
    path = write_csv(tmp_path / "train.csv", ROWS, header=("title,body", "label"))
    assert rows_of(load(train_file=path, text_column_name="title,body")) == sorted(ROWS)


ODD_TEXTS = [
    "a\x00b", "\x00", "\x01\x7f\x1b[31m", "<|endoftext|>", "[PAD] </s> <s>", "{text}{label_word}",
    "\U0001f469\u200d\U0001f467\ufe0f", "שלום hello \u202eمرحبا", "x" * 3_000_000, "a\rb", "a\r\nb",
    'quoted "text", with commas', "\ufeffa", "\u2028.", "e\u0301", "None", "nan", "1",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_odd_texts_are_read_as_they_are(kind: str, tmp_path: Path):
    from datasets import Dataset

    rows = [(text, label) for text in ODD_TEXTS for label in ("None", "n/a")]
    path = str(tmp_path / f"train.{kind}")
    table = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    {"csv": lambda _: write_csv(Path(path), rows), "jsonl": table.to_json, "parquet": table.to_parquet}[kind](path)
    assert rows_of(load(train_file=path)) == sorted(rows)
