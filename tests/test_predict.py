"""The predict command: texts, files and standard input; the same answers as the evaluation."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from hf_sentiment_ft import predict


@pytest.fixture
def run_predict(run_dir: Path, monkeypatch, capsys):
    """Call the command in this process and return what it printed."""

    def call(*flags: object, stdin: str = "", model: Path = run_dir) -> str:
        monkeypatch.setattr(sys, "argv", ["predict", "--model", str(model), *map(str, flags)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        predict.main()
        return capsys.readouterr().out

    return call


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_gives_the_probabilities_of_the_evaluation(run_predict, run_dir: Path, tmp_path: Path):
    """Also over another batch size: batching is no part of the answer."""
    evaluated = read_csv(run_dir / "test_predictions.csv")
    run_predict(
        "--input_file", run_dir / "test_predictions.csv", "--output_file", tmp_path / "out.csv", "--batch_size", 7
    )
    predicted = read_csv(tmp_path / "out.csv")
    assert [row["prediction"] for row in predicted] == [row["prediction"] for row in evaluated]
    assert {row["label_word"] for row in predicted} <= {" negative", " positive"}
    for name in ("probability_negative", "probability_positive"):
        assert [float(row[name]) for row in predicted] == pytest.approx(
            [float(row[name]) for row in evaluated], abs=2e-5
        )
    assert [row["label"] for row in predicted] == [row["label"] for row in evaluated], "other columns are kept"


def test_json_lines_in_and_out(run_predict, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text('{"id": 7, "review": "schön"}\n{"id": 8, "review": "a dull film"}\n')
    printed = run_predict("--input_file", tmp_path / "in.jsonl", "--text_column_name", "review")
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["id"] for row in rows] == [7, 8]
    assert rows[0]["review"] == "schön"
    assert rows[0]["probability_negative"] + rows[0]["probability_positive"] == pytest.approx(1, abs=1e-5)


def test_columns_are_joined_as_for_training(run_predict, tmp_path: Path):
    rows = [{"title": "dull", "body": "a film"}, {"title": None, "body": "dull"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "joined.jsonl").write_text('{"text": "dull\\na film"}\n{"text": "dull"}\n')
    printed = run_predict("--input_file", tmp_path / "in.jsonl", "--text_column_name", "title, body")
    expected = run_predict("--input_file", tmp_path / "joined.jsonl")
    figures = [[json.loads(line)["probability_positive"] for line in text.splitlines()] for text in (printed, expected)]
    assert figures[0] == figures[1]
    assert json.loads(printed.splitlines()[0])["title"] == "dull", "columns are kept"


def test_texts_and_standard_input_give_the_same_lines(run_predict):
    texts = ["a moving, funny film", "what a waste of an evening"]
    printed = run_predict(*texts)
    assert run_predict(stdin="\n".join(texts) + "\n") == printed
    for line, text in zip(printed.splitlines(), texts, strict=True):
        label, word, figures, shown = line.split("\t")
        assert word == repr(f" {label}")
        assert shown == text
        assert "negative 0." in figures
        assert "positive 0." in figures


def test_text_longer_than_the_model_reads_is_cut_not_refused(run_predict):
    assert run_predict("very " * 500 + "good").count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["a", "--input_file", "x.csv"], "keep one"),
        (["--input_file", "none.csv"], "--input_file is none.csv, which is not a file"),
        (
            ["a", "--output_file", "out.xml"],
            "expected a file of one of the types .csv, .tsv, .jsonl, .ndjson, .parquet, .txt,",
        ),
        (["a", "--batch_size", "0"], "expected at least 1"),
    ],
)
def test_mistakes_give_one_line(flags: list[str], message: str, run_predict, capsys):
    with pytest.raises(SystemExit):
        run_predict(*flags)
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error


def test_bad_rows_are_named(run_predict, tmp_path: Path, capsys):
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    with pytest.raises(SystemExit):
        run_predict("--input_file", tmp_path / "in.jsonl")
    assert "line 2 is not JSON" in capsys.readouterr().err
    (tmp_path / "in.csv").write_text("review,stars\nfine,1\n")
    with pytest.raises(SystemExit):
        run_predict("--input_file", tmp_path / "in.csv")
    assert "row 1 has no text in 'text'; its columns are: review, stars" in capsys.readouterr().err


def test_a_model_of_another_kind_is_refused(run_predict, tiny_gpt2: Path, capsys):
    with pytest.raises(SystemExit):
        run_predict("a", model=tiny_gpt2)
    assert "a model without label words" in capsys.readouterr().err
