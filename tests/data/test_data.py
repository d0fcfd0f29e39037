"""Loading labelled texts: where they may come from, how they are checked, split and sampled."""

import json
from pathlib import Path
from typing import Any

import pytest

from ..splits import load, refusal, texts
from ..tiny import write_csv

ROWS = [(f"text {i}", ("bad", "good")[i % 2]) for i in range(60)]


def save(folder: Path, features: Any = None, **splits: list[tuple[Any, Any]]) -> str:
    """A folder made by `save_to_disk`, columns `text` and `label`."""
    from datasets import Dataset, DatasetDict

    tables = {
        name: Dataset.from_dict({"text": [r[0] for r in rows], "label": [r[1] for r in rows]}, features=features)
        for name, rows in splits.items()
    }
    DatasetDict(tables).save_to_disk(folder)
    return str(folder)


def class_label(*names: str) -> Any:
    from datasets import ClassLabel, Features, Value

    return Features({"text": Value("string"), "label": ClassLabel(names=list(names))})


@pytest.fixture
def table(tmp_path: Path):
    """Write rows as a CSV file, by default as the training file, and return its path."""
    return lambda rows, name="train.csv", **kw: write_csv(tmp_path / name, rows, **kw)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (("bad", "good"), ["bad", "good"]),
        ((10, 9), ["9", "10"]),
        ((0, 1), ["0", "1"]),
        ((True, False), ["False", "True"]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet"])
def test_files_with_labels_of_every_kind(kind: str, values: tuple[Any, Any], labels: list[str], tmp_path: Path):
    from datasets import Dataset

    rows = [(f"t{i}", values[i % 2]) for i in range(40)]
    frame = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    path = tmp_path / f"train.{kind}"
    {"csv": frame.to_csv, "parquet": frame.to_parquet}.get(kind, frame.to_json)(path)
    data = load(train_file=str(path))
    assert data.labels == labels, "sorted by value"
    assert list(data.splits) == ["train", "validation", "test"]
    loaded = {row["text"]: data.labels[row["label"]] for split in data.splits.values() for row in split}
    assert loaded == {text: str(label) for text, label in rows}
    assert data.splits["train"].features["label"].names == labels


def test_class_labels_keep_the_order_of_their_names(tmp_path: Path):
    rows = [(f"t{i}", i % 2) for i in range(20)]
    other = [(f"other {text}", label) for text, label in rows]
    data = load(
        dataset_name=save(tmp_path / "saved", class_label("pos", "neg"), train=rows, validation=other, test=other)
    )
    assert data.labels == ["pos", "neg"]
    assert data.splits["test"]["label"][:] == [0, 1] * 10
    assert texts(data, "train") == [text for text, _ in rows]
    assert data.notes == []


def test_splits_may_number_the_same_classes_differently(tmp_path: Path):
    from datasets import Dataset, DatasetDict

    rows = {"text": ["a", "b"] * 10, "label": [0, 1] * 10}
    train = Dataset.from_dict(rows, features=class_label("neg", "pos"))
    test = Dataset.from_dict(rows, features=class_label("pos", "neg"))
    DatasetDict(train=train, test=test).save_to_disk(tmp_path / "saved")
    data = load(dataset_name=str(tmp_path / "saved"))
    assert data.splits["test"]["label"][:] == [1, 0] * 10
    assert data.splits["test"].features["label"].names == ["neg", "pos"]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_usual_names_of_the_validation_split(name: str, tmp_path: Path):
    other = [("seen", "bad"), ("heard", "good")]
    data = load(dataset_name=save(tmp_path / "saved", train=ROWS, test=ROWS, **{name: other}))
    assert texts(data, "validation") == ["seen", "heard"]


def test_folder_of_files(tmp_path: Path):
    for split in ("train", "test"):
        write_csv(tmp_path / f"{split}.csv", ROWS[:20])
    data = load(dataset_name=str(tmp_path))
    assert (len(data.splits["test"]), len(data.splits["train"]) + len(data.splits["validation"])) == (20, 20)


def test_raw_data_set_is_kept_on_request(table, tmp_path: Path):
    first = load(train_file=table(ROWS), save_dataset_dir=str(tmp_path / "kept"))
    again = load(dataset_name=str(tmp_path / "kept"))
    assert {split: texts(again, split) for split in again.splits} == {s: texts(first, s) for s in first.splits}


def test_folder_with_a_single_saved_table_is_used_as_train(tmp_path: Path):
    from datasets import Dataset

    Dataset.from_list([{"text": text, "label": label} for text, label in ROWS]).save_to_disk(tmp_path / "saved")
    assert len(load(dataset_name=str(tmp_path / "saved")).splits["train"]) > 40


NAMED = {"text_column_name": "a", "label_column_name": "b"}


@pytest.mark.parametrize(("header", "named"), [(("Sentence", "LABELS"), {}), (("a", "b"), NAMED)])
def test_columns_are_found_by_usual_names_or_named(header: tuple[str, str], named: dict[str, str], table):
    data = load(train_file=table(ROWS, header=header), **named)
    assert data.splits["train"].column_names == ["text", "label"]
    assert data.labels == ["bad", "good"]


def test_columns_may_have_each_others_names(table):
    path = table(ROWS, header=("label", "text"))
    data = load(train_file=path, text_column_name="label", label_column_name="text")
    assert data.labels == ["bad", "good"]
    assert all(text.startswith("text ") for text in texts(data, "train"))


@pytest.mark.parametrize(
    ("header", "named", "message"),
    [
        (("foo", "label"), {}, "no text column found among foo, label; set it with --text_column_name"),
        (("text", "bar"), {}, "no label column found among text, bar; set it with --label_column_name"),
        (
            ("a", "label"),
            {"text_column_name": "b"},
            "--text_column_name is 'b', which is not a column; the columns are: a, label",
        ),
        (
            ("text", "a"),
            {"label_column_name": "b"},
            "--label_column_name is 'b', which is not a column; the columns are: text, a",
        ),
        (("label", "text"), {}, "the text column 'text' of the train split contains"),
    ],
)
def test_wrong_columns_are_told_with_those_there_are(header, named: dict[str, str], message: str, table):
    assert message in refusal(train_file=table([(f"t{i}", i % 2) for i in range(1001)], header=header), **named)


BAD_ROWS = [
    ([("a", "x"), ("", "y"), ("b", "x")], "1 row of the train split has no text in column 'text': row 1 "),
    (
        [(" \t", "x"), ("ok", "y"), ("\u00a0", "y")],
        "2 rows of the train split have no text in column 'text': rows 0, 2 ",
    ),
    ([(None, "x")] * 12 + [("a", "y")], "12 rows of the train split have no text in column 'text': rows 0, 1, 2, 3, 4"),
    ([("a", "x"), ("b", None), ("c", "y")], "1 row of the train split has no label in column 'label': row 1 "),
    ([("a", None), ("b", 1), ("c", 0)], "1 row of the train split has no label in column 'label': row 0 "),
    ([("a", "x"), ("b", "x")], "the train split has one label, 'x'; expected at least two"),
    ([("a", 0.5), ("b", 1.5)], "the label column 'label' contains float64; expected class names, integers or strings"),
    ([("a", 0.5), ("b", 1.5)], "round it to a few levels, such as stars, which are then ordered labels"),
    ([("a", {"x": 1}), ("b", {"x": 0})], "or a list of names if a text can have several labels"),
    ([("a", [0.5]), ("b", [])], "contains lists of float64; expected lists of label names or integers"),
    ([("a", ["x"]), ("b", None)], "1 row of the train split has no list of labels in column 'label' (write an empty"),
    ([(1, "x"), (2, "y")], "the text column 'text' of the train split contains Value('int64'); expected strings"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_rows_that_cannot_be_learnt_from_are_named(rows: list[tuple[Any, Any]], message: str, tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    assert message in refusal(train_file=str(path))


def test_missing_integer_label_in_a_csv_file_is_named(table):
    assert "no label in column 'label': row 1 " in refusal(train_file=table([("a", 1), ("b", None), ("c", 0)]))


def test_words_that_look_like_missing_values_are_words(table):
    data = load(train_file=table([(word, label) for word in ("n/a", "None", "good") for label in ("None", "pos")] * 9))
    assert data.labels == ["None", "pos"]


def test_unlabelled_row_of_a_class_label_column_is_named(tmp_path: Path):
    rows = [("a", 0), ("b", 1)] * 10
    saved = save(tmp_path / "saved", class_label("neg", "pos"), train=rows, test=[("a", 0), ("b", -1)])
    assert "1 row of the test split has no label in column 'label': row 1 " in refusal(dataset_name=saved)


def test_label_that_train_lacks_is_named(table, tmp_path: Path):
    files = {"train_file": table(ROWS), "test_file": table([("a", "bad"), ("b", "superb")], "test.csv")}
    assert "1 row of the test split has a label that train does not have ('superb'): row 1 " in refusal(**files)
    saved = save(tmp_path / "saved", class_label("neg", "neutral", "pos"), train=[("a", 0), ("b", 2)] * 10)
    assert "no row of the train split has the label neutral; the model cannot learn it" in refusal(dataset_name=saved)


def test_too_many_labels_are_refused(table):
    message = refusal(train_file=table([(f"t{i}", f"l{i}") for i in range(1001)]))
    assert "the label column 'label' has 1001 different values; expected at most 1000" in message


def test_files_may_be_of_different_kinds(table, tmp_path: Path):
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": "bad"}\n')
    data = load(train_file=table(ROWS), test_file=str(tmp_path / "test.jsonl"))
    assert texts(data, "test") == ["a"]


def test_files_and_splits_that_are_missing_are_named(table, tmp_path: Path):
    assert "--test_file is x.csv, which is not a file" in refusal(train_file=table(ROWS), test_file="x.csv")
    only_test = save(tmp_path / "saved", test=ROWS)
    assert "has the splits test; expected one named train" in refusal(dataset_name=only_test)


def test_test_file_with_other_columns_is_told_with_those_it_has(table):
    files = {"train_file": table(ROWS), "test_file": table([("a", "bad")], "test.csv", header=("review", "label"))}
    message = refusal(**files)
    assert "the test split has no column 'text'" in message
    assert "--test_file" in message
    assert "review" in message
    assert "\n" not in message


def test_column_that_only_the_test_file_has_does_not_matter(table):
    other = table([("a", "bad", 1), ("b", "good", 2)], "test.csv", header=("text", "label", "stars"))
    assert texts(load(train_file=table(ROWS), test_file=other), "test") == ["a", "b"]
