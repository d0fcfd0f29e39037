"""Tables as users have them: of several files, with words and mistakes of their own."""

from pathlib import Path

import pytest

from hf_sentiment_ft.config.arguments import DataArguments
from hf_sentiment_ft.data.naming import name_splits
from hf_sentiment_ft.errors import UsageError

from ..splits import load, refusal
from ..tiny import write_csv

ROWS = [(f"text {i}", ("bad", "good")[i % 2]) for i in range(40)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", b"text,label\ncaf\xe9,a\nx,b\n", "UnicodeDecodeError: 'utf-8' codec can't decode"),
        ("train.jsonl", b'{"text": "a", "label": 1\n', "train.jsonl: line 1 is not JSON: Expecting ',' delimiter"),
        ("train.parquet", b"not parquet", "ArrowInvalid: Parquet magic bytes not found"),
    ],
)
def test_damaged_file_is_named_with_the_cause_in_one_line(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    told = refusal(train_file=str(tmp_path / name))
    assert told.startswith(f"--train_file is {tmp_path / name}, which cannot be loaded: ")
    assert message in told
    assert "\n" not in told


def test_split_without_rows_is_as_good_as_none():
    from datasets import Dataset, DatasetDict

    full, empty = Dataset.from_dict({"text": ["a"]}), Dataset.from_dict({"text": []})
    named = name_splits(DatasetDict(train=full, validation=empty, dev=full, test=empty), DataArguments())
    assert {split: len(rows) for split, rows in named.items()} == {"train": 1, "validation": 1}
    with pytest.raises(UsageError, match="the splits train, test; expected one named train, with rows"):
        name_splits(DatasetDict(train=empty, test=full), DataArguments())


def test_quoted_text_and_line_breaks_of_a_csv_file(tmp_path: Path):
    rows = [('a "great", film', "good"), ("two\nlines", "bad")] * 20
    data = load(train_file=write_csv(tmp_path / "train.csv", rows))
    assert set(data.splits["train"]["text"][:]) == {'a "great", film', "two\nlines"}


def test_words_that_look_like_missing_values_in_a_folder_are_words(tmp_path: Path):
    rows = [(word, label) for word in ("n/a", "None", "good") for label in ("None", "pos")] * 9
    write_csv(tmp_path / "train.csv", rows)
    assert load(dataset_name=str(tmp_path)).labels == ["None", "pos"]


def test_files_of_a_folder_with_different_columns_are_told(tmp_path: Path):
    write_csv(tmp_path / "train.csv", ROWS)
    write_csv(tmp_path / "test.csv", [("a", "bad", 5)], header=("text", "label", "stars"))
    assert "stars" in refusal(dataset_name=str(tmp_path))


def test_same_labels_as_numbers_and_as_strings(tmp_path: Path):
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": "1"}\n{"text": "b", "label": "0"}\n')
    train = write_csv(tmp_path / "train.csv", [(f"t{i}", i % 2) for i in range(40)])
    data = load(train_file=train, test_file=str(tmp_path / "test.jsonl"))
    assert data.splits["test"]["label"][:] == [1, 0]


def test_one_column_as_text_and_label_is_refused(tmp_path: Path):
    table = write_csv(tmp_path / "train.csv", ROWS)
    message = refusal(train_file=table, text_column_name="text", label_column_name="text")
    assert "--label_column_name" in message


def test_data_set_cannot_be_kept_over_itself(tmp_path: Path):
    folder = str(tmp_path / "kept")
    load(train_file=write_csv(tmp_path / "train.csv", ROWS), save_dataset_dir=folder)
    assert "--save_dataset_dir" in refusal(dataset_name=folder, save_dataset_dir=folder)


def test_edited_files_are_read_anew(tmp_path: Path):
    """Also where a README names the splits, which keeps `datasets` from looking at the files."""
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.csv\n---\n"
    )
    write_csv(tmp_path / "train.csv", [(f"old {i}", i % 2) for i in range(40)])
    assert all(text.startswith("old") for text in load(dataset_name=str(tmp_path)).splits["train"]["text"])
    write_csv(tmp_path / "train.csv", [(f"new {i}", i % 2) for i in range(50)])
    assert all(text.startswith("new") for text in load(dataset_name=str(tmp_path)).splits["train"]["text"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_file": "none.csv"}, "--train_file is none.csv, which is not a file"),
        (
            {"train_file": __file__},
            "expected a file of one of the types .csv, .tsv, .json, .jsonl, .ndjson, .parquet, optionally",
        ),
        ({"dataset_name": "user/nothing"}, "--dataset_name is user/nothing, which cannot be loaded"),
        ({"dataset_name": "package:no_such_package/x"}, "the Python package 'no_such_package' is not installed"),
    ],
)
def test_data_that_is_not_there(given: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch):
    import datasets
    from huggingface_hub import constants

    for settings in (datasets.config, constants):  # no network to wait for
        monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    assert message in refusal(**given)
