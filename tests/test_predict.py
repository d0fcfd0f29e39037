"""The predict command: texts, files and standard input; the same answers as the evaluation."""

import bz2
import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from hf_sentiment_ft import predict
from hf_sentiment_ft.data.files import read_rows
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities

from .conftest import REVIEWS, ROOT
from .splits import load


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


def test_bf16_is_close_and_another_number(run_predict, run_dir: Path, tmp_path: Path):
    """Rounded to 8 bits; that some probability differs shows that the flag reaches the model."""
    given = ["--input_file", run_dir / "test_predictions.csv", "--output_file"]
    run_predict(*given, tmp_path / "fp32.csv")
    run_predict(*given, tmp_path / "bf16.csv", "--precision", "bf16")
    exact, rounded = (
        [float(row["probability_positive"]) for row in read_csv(tmp_path / f"{name}.csv")] for name in ("fp32", "bf16")
    )
    assert rounded == pytest.approx(exact, abs=0.02)
    assert rounded != exact


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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"text": "fine film"}'),
        ("a.json", b'[{"text": "fine film"}]'),
        ("a.csv", b"text,id\nfine film,1\n"),
        ("A.CSV", b"\xef\xbb\xbftext,id\r\nfine film,1\r\n"),
        ("a.csv", b"id;text\n1;fine film\n"),
        ("a.tsv", b"text\tid\nfine film\t1\n"),
        ("a.csv.gz", gzip.compress(b"text\nfine film\n", mtime=0)),
        ("a.jsonl.bz2", bz2.compress(b'{"text": "fine film"}\n')),
        ("a.txt", b"\nfine film\r\n"),
        ("a.TXT", b"\xef\xbb\xbffine film"),
        ("a.parquet", b""),
    ],
)
def test_every_type_of_file_gives_the_same_answer(name: str, content: bytes, run_predict, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    if name == "a.parquet":
        pd.DataFrame({"text": ["fine film"], "day": [pd.Timestamp("2020-01-01")]}).to_parquet(tmp_path / name)
    run_predict("--input_file", tmp_path / name, "--output_file", tmp_path / "out.jsonl")
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    expected = run_predict("fine film").split("\t")
    assert row["prediction"] == expected[0]
    assert f"positive {row['probability_positive']:.4f}" in expected[2]


@pytest.mark.parametrize("name", ["o.csv", "O.TSV", "o.jsonl", "o.ndjson.gz", "o.parquet", "o.csv.xz"])
def test_what_is_written_can_be_read(name: str, run_predict, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text(
        '{"text": "two\\nlines, \\"quoted\\"", "id": "07"}\n{"text": "schön", "id": null}\n'
    )
    run_predict("--input_file", tmp_path / "in.jsonl", "--output_file", tmp_path / name)
    rows = list(read_rows(str(tmp_path / name), "." + name.lower().split(".")[1]))
    assert [row["text"] for row in rows] == ['two\nlines, "quoted"', "schön"]
    assert [row["id"] or None for row in rows] == ["07", None]
    assert all(0.99 < float(row["probability_negative"]) + float(row["probability_positive"]) < 1.01 for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.jsonl", name]), "nothing else is left"


def test_texts_are_those_of_training(run_predict, run_dir: Path, tmp_path: Path):
    """Numbers in the columns of a prompt, white space, and texts that no model reads whole."""
    import torch

    model = shutil.copytree(run_dir, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    template = "{title}\nStars: {stars}"
    (model / "config.json").write_text(
        json.dumps(config | {"prompt_template": f"\n{template}\nSentiment:{{label_word}}"})
    )
    rows = [{"title": " film ", "stars": star} for star in (1, 5.0, 0, "many", None)] + [
        {"title": "x " * 75_000, "stars": 2}
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = run_predict("--input_file", tmp_path / "in.jsonl", model=model)
    data = load(train_file=json_lines(tmp_path, rows), text_template=template)
    texts = sorted(text for split in data.splits for text in data.splits[split]["text"])
    loaded = load_label_word_model(str(run_dir))
    with torch.inference_mode():
        expected = predict_probabilities(loaded, texts, 4)[:, 1]
    found = [json.loads(line)["probability_positive"] for line in printed.splitlines()]
    assert sorted(found) == pytest.approx(sorted(expected), abs=1e-5)


def json_lines(folder: Path, rows: list[dict]) -> str:
    """The rows with labels, two of each."""
    lines = [json.dumps({**row, "label": "ab"[i % 2]}) for i, row in enumerate(rows)]
    (folder / "train.jsonl").write_text("\n".join(lines))
    return str(folder / "train.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"text\nfine\ncaf\xe9\n", "in.csv: line 3 is not UTF-8"),
        ("in.txt", b"caf\xe9\n", "in.txt: line 1 is not UTF-8"),
        (
            "in.csv",
            b"text,id\nfine,1\na dull, slow film,2\n",
            "in.csv: line 3: the rows have more fields than the header",
        ),
        ("in.csv", b"text,id\n", "in.csv, which has no rows."),
        ("in.csv", b"text,id\nfine,1\n ,2\n", "in.csv has no text in column 'text': row 1 (counted from 0)."),
        (
            "in.jsonl",
            b'{"text": "\\ud83d"}',
            "in.jsonl: line 1 contains half of a surrogate pair, '\\ud83d'; remove it.",
        ),
        ("in.jsonl", b'{"text": "a"}\n{"text": 7}', "row 1 of {path} (counted from 0) has no usable text: 7 in column"),
        ("in.jsonl", b'{"text": "a"}\n{"id": 7}', "in.jsonl has no text in column 'text': row 1 (counted from 0)."),
        (
            "in.xlsx",
            b"PK",
            "in.xlsx; expected a file of one of the types .csv, .tsv, .json, .jsonl, .ndjson, .parquet, .txt",
        ),
    ],
)
def test_faulty_file_is_told_with_the_row(name, content: bytes, message: str, run_predict, tmp_path: Path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        run_predict("--input_file", path, "--output_file", tmp_path / "out.csv")
    assert stop.value.code == 2
    assert message.format(path=path) in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == [name], "neither half of an output nor what it is made of"


def test_standard_input_and_texts_that_are_no_text(run_predict, monkeypatch, capsys):
    run_predict(stdin="\ufefffine film\r\n\n")
    for texts, message in ((["fine", " "], "row 1 (counted from 0)"), (["caf\udce9"], "surrogates not allowed")):
        with pytest.raises(SystemExit):
            run_predict(*texts)
        assert message in capsys.readouterr().err
    assert run_predict(stdin="") == ""
    assert run_predict("--input_file", "-", stdin="fine film") == run_predict(stdin="fine film")
    assert run_predict("two\nlines").endswith("\ttwo lines\n")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("in.csv", "which is the input; choose another file."),
        ("link.csv", "which is the input; choose another file."),
        ("folder.csv", "which is a folder; expected a file."),
        ("none/out.csv", "but there is no folder {folder}/none; create it first."),
        ("/proc/out.csv", "but no file can be written there: "),
        ("out.parquet.GZ", "but Parquet compresses itself; use {folder}/out.parquet."),
    ],
)
def test_output_that_cannot_be_is_refused_before_anything(output, message, run_predict, tmp_path: Path, capsys):
    (tmp_path / "in.csv").write_text("text\nfine\n")
    (tmp_path / "link.csv").symlink_to("in.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SystemExit):
        run_predict(
            "--input_file", tmp_path / "in.csv", "--output_file", tmp_path / output, model=tmp_path / "no_model"
        )
    assert message.format(folder=tmp_path) in capsys.readouterr().err
    assert (tmp_path / "in.csv").read_text() == "text\nfine\n"


def test_output_is_whole_or_as_it_was(run_predict, tmp_path: Path, capsys):
    rows = [{"text": f"film {i}"} for i in range(1100)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"text": null}\n')
    (tmp_path / "out.csv").write_text("earlier")
    (tmp_path / "link.csv").symlink_to("out.csv")
    with pytest.raises(SystemExit):
        run_predict("--input_file", tmp_path / "in.jsonl", "--output_file", tmp_path / "link.csv", "--batch_size", 64)
    assert "row 1100 (counted from 0)" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "earlier"
    run_predict("--input_file", REVIEWS / "test.csv", "--output_file", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read_csv(tmp_path / "out.csv")) == 100
    assert len(list(tmp_path.iterdir())) == 3


def test_columns_that_are_called_as_the_answers_are_kept(run_predict, tmp_path: Path, caplog):
    (tmp_path / "in.csv").write_text("text,prediction,input_prediction,probability_positive\nfine,mine,old,9\n")
    run_predict("--input_file", tmp_path / "in.csv", "--output_file", tmp_path / "out.csv")
    (row,) = read_csv(tmp_path / "out.csv")
    assert (row["input_prediction"], row["input_input_prediction"], row["input_probability_positive"]) == (
        "mine",
        "old",
        "9",
    )
    assert row["prediction"] in ("negative", "positive")
    assert (
        "already has the columns prediction, probability_positive; they are kept as input_prediction, inp"
        in caplog.text
    )


def test_columns_that_only_later_rows_have(run_predict, tmp_path: Path, capsys):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "b", "note": {"deep": 1}}\n')
    rows = [json.loads(line) for line in run_predict("--input_file", tmp_path / "in.jsonl").splitlines()]
    assert ["note" in row for row in rows] == [False, True]
    with pytest.raises(SystemExit):
        run_predict("--input_file", tmp_path / "in.jsonl", "--output_file", tmp_path / "out.csv")
    assert "row 1 (counted from 0) has the column 'note', which the first row lacks" in capsys.readouterr().err


def test_reader_that_has_had_enough(run_dir: Path, tmp_path: Path):
    """As in `predict | head -1`."""
    (tmp_path / "in.txt").write_text("a film\n" * 3000)
    command = [sys.executable, "-m", "hf_sentiment_ft.predict", "--model", run_dir, "--input_file", tmp_path / "in.txt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout.readline().endswith("\ta film\n")
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 141
    assert "Traceback" not in error
    assert "error" not in error


def test_progress_is_shown_on_a_terminal(run_dir: Path, tmp_path: Path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    (tmp_path / "in.txt").write_text("a film\n" * 40)
    at_once = "from hf_sentiment_ft import predict; predict.SILENT_SECONDS = 0; predict.main()"
    command = [sys.executable, "-c", at_once, "--model", run_dir, "--input_file", tmp_path / "in.txt"]
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=terminal, cwd=ROOT, check=True)
    os.close(terminal)
    assert b"40 rows [" in os.read(screen, 10_000)
    os.close(screen)


def test_device_that_is_not_there(run_predict, capsys):
    with pytest.raises(SystemExit):
        run_predict("a", "--device", "gpu")
    assert "--device is gpu, which cannot be used: " in capsys.readouterr().err


def test_a_model_of_another_kind_is_refused(run_predict, tiny_gpt2: Path, capsys):
    with pytest.raises(SystemExit):
        run_predict("a", model=tiny_gpt2)
    assert "a model without label words" in capsys.readouterr().err


def test_column_that_is_missing_is_told_before_the_model_is_loaded(run_predict, tmp_path: Path, capsys):
    (tmp_path / "in.csv").write_text("text\nfine\n")
    with pytest.raises(SystemExit):
        run_predict("--input_file", tmp_path / "in.csv", "--text_column_name", "review", model=tmp_path / "none")
    assert "--text_column_name is 'review', which is not a column; the columns are: text" in capsys.readouterr().err


def test_a_closed_standard_input_is_told(run_dir: Path):
    command = f"exec {sys.executable} -m hf_sentiment_ft.predict --model {run_dir} <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (2, "error: there is no standard input; give texts or --input_file.\n")


@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_a_killed_run_goes_on_where_it_was(name: str, run_predict, run_dir: Path, tmp_path: Path, capsys):
    """By a real SIGKILL, within a line of the journal; the same rows as without it, none missing, none twice."""
    rows = [f"{number},film {number} is {'dull' * (number % 3)}" for number in range(20)]
    (tmp_path / "in.csv").write_text("\n".join(["id,text", *rows]) + "\n")
    flags = ["--model", run_dir, "--input_file", tmp_path / "in.csv", "--output_file"]
    program = f"""
import os, signal, sys
from hf_sentiment_ft import predict
from hf_sentiment_ft.data.journal import Journal
from hf_sentiment_ft.label_words import labelling
labelling.ROWS_AT_ONCE = 4
add = Journal.add
def add_and_die(journal, rows):
    add(journal, rows)
    if journal.num_rows == 12:
        journal.path.open("a").write("[0.25, 0.")
        os.kill(os.getpid(), signal.SIGKILL)
Journal.add = add_and_die
sys.argv[1:] = {[*map(str, flags), str(tmp_path / name)]}
predict.main()
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / name).exists()
    run_predict(*flags[2:], tmp_path / name)
    run_predict(*flags[2:], tmp_path / f"whole-{name}")
    suffix = "." + name.split(".")[1]
    written, whole = (list(read_rows(str(tmp_path / one), suffix)) for one in (name, f"whole-{name}"))
    assert len(written) == 20
    for one, other in zip(written, whole, strict=True):  # batched differently
        assert one.keys() == other.keys()
        assert [one[key] for key in one if "prob" not in key and key != "text"] == [
            other[key] for key in other if "prob" not in key and key != "text"
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.csv", name, f"whole-{name}"])


def test_answers_of_other_rows_are_not_taken_over(run_predict, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A journal says of which model and input it is; a file that another process writes is left alone."""
    (tmp_path / "in.csv").write_text("text\nfine film\n")
    (tmp_path / ".o.csv.journal").write_text('{"model": "another"}\n[0.5, 0.5]\n')
    flags = ["--input_file", tmp_path / "in.csv", "--output_file", tmp_path / "o.csv"]
    run_predict(*flags)
    assert "of another model or input; it is labelled anew" in caplog.text
    (row,) = read_csv(tmp_path / "o.csv")
    assert float(row["probability_positive"]) != 0.5
    with FileLock(tmp_path / ".o.csv.lock"), pytest.raises(SystemExit):
        run_predict(*flags)
