"""Tables with several label columns: shares, counts of votes, and the votes of annotators."""

import json
from pathlib import Path

import pytest

from hf_sentiment_ft.config.arguments import DataArguments
from hf_sentiment_ft.data.splits import load_evaluation_splits
from hf_sentiment_ft.label_words.known_labels import with_labels

from ..splits import load, refusal, texts
from ..tiny import write_csv

COUNTS = ["body", "sad", "calm", "glad"]
VOTES = ["body", "rater_a", "rater_b", "rater_c"]


def columns_of(header: list[str]) -> dict[str, str]:
    return {"text_column_name": header[0], "label_column_name": ", ".join(header[1:])}


def write(path: Path, header: list[str], *values: tuple[object, ...], times: int = 5) -> dict[str, str]:
    rows = [(f"text {number} of {value}", *value) for number in range(times) for value in values]
    return {"train_file": write_csv(path / "table.csv", rows, header), **columns_of(header)}


def of_text(data, beginning: str) -> dict:
    rows = [row for split in data.splits.values() for row in split if row["text"].endswith(beginning)]
    assert len(rows) == 5
    return rows[0]


@pytest.mark.parametrize("scale", [1, 0.1])
def test_shares_and_counts_add_up_to_1(scale: float, tmp_path: Path):
    given = [(3 * scale, 1 * scale, 0), (0, 8 * scale, 0), (0, 2 * scale, 6 * scale)]
    data = load(**write(tmp_path, COUNTS, *given))
    assert data.labels == ["sad", "calm", "glad"], "in the order in which they are named"
    for values, shares, label in zip(given, [[0.75, 0.25, 0], [0, 1, 0], [0, 0.25, 0.75]], [0, 1, 2], strict=True):
        row = of_text(data, str(values))
        assert row["shares"] == pytest.approx(shares)
        assert row["label"] == label
    assert {"shares", "label", "text"} == set(data.splits["validation"].column_names)
    assert "several have the largest" not in data.notes[0]


def test_counts_may_have_the_types_of_json(tmp_path: Path):
    rows = [{"body": f"b{i}", "sad": i % 3, "calm": 1.5, "glad": None if i == 7 else 0} for i in range(20)]
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(map(json.dumps, rows[:7])))
    data = load(train_file=str(path), test_split_percentage=0, **columns_of(["body", "sad", "calm"]))
    assert sorted({round(row[0], 4) for row in data.splits["train"]["shares"]}) == [0, 0.4, 0.5714]
    path.write_text("\n".join(map(json.dumps, rows)))
    message = refusal(train_file=str(path), **columns_of(COUNTS))
    assert "no share or count in column 'glad', which must be 0 or more: row 7" in message


def test_votes_may_be_missing_and_the_first_of_equals_counts(tmp_path: Path):
    data = load(**write(tmp_path, VOTES, ("glad", "glad", "sad"), ("sad", "", "glad"), ("", "calm", "")))
    assert data.labels == ["calm", "glad", "sad"]
    assert of_text(data, "'glad', 'glad', 'sad')")["shares"] == pytest.approx([0, 2 / 3, 1 / 3])
    tie = of_text(data, "'sad', '', 'glad')")
    assert tie["shares"] == [0, 0.5, 0.5]
    assert tie["label"] == 1
    assert of_text(data, "'', 'calm', '')")["shares"] == [1, 0, 0]
    assert "in 5 of 15 rows, several have the largest, and the first of calm, glad, sad counts." in data.notes[0]


def test_labels_that_are_numbers_stay_in_order(tmp_path: Path):
    data = load(**write(tmp_path, VOTES, ("10 stars", "2 stars", "2 stars"), ("9 stars", "9 stars", "10 stars")))
    assert set(data.labels) == {"2 stars", "9 stars", "10 stars"}
    assert len(data.splits["train"][0]["shares"]) == 3, "10 stars is never first, but is learned"


def test_weights_of_classes_need_rows_of_each(tmp_path: Path):
    table = write(tmp_path, VOTES, ("a", "a", "b"), ("c", "c", "b"))
    assert load(**table).class_weights is None
    assert "--class_weights is balanced, but b has the largest share of no train row" in refusal(
        **table, class_weights="balanced"
    )


def test_samples_keep_their_shares(tmp_path: Path):
    table = write(tmp_path, COUNTS, (4, 1, 0), (1, 4, 0), (0, 0, 5), times=20)
    data = load(**table, max_train_samples=30, drop_duplicates=True)
    for split in data.splits.values():
        for row in split:
            counts = json.loads(row["text"].partition("of ")[2].replace("(", "[").replace(")", "]"))
            assert row["shares"] == pytest.approx([count / 5 for count in counts])
    assert len(data.splits["train"]) == 30


@pytest.mark.parametrize("values", [[(1, 0, 0), (0, 1, 1)], [("true", "no", "yes"), ("false", "yes", "no")]])
def test_0_and_1_are_several_labels(values: list, tmp_path: Path):
    data = load(**write(tmp_path, COUNTS, *values, times=10))
    assert [question.name for question in data.questions] == COUNTS[1:]
    assert data.splits["train"].column_names == ["text", "answers"]


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        (COUNTS, [(2, 1, 0), (0, 0, 0)], "has no label in column 'sad, calm, glad': row 1"),
        (COUNTS, [(2, 1, 0), (2, -1, 0)], "no share or count in column 'calm', which must be 0 or more: row 1"),
        (COUNTS, [(2, 1, ""), (2, 1, 1)], "no share or count in column 'glad', which must be 0 or more: row 0"),
        (COUNTS, [("", "", "")], "the label columns sad, calm, glad are empty"),
        (VOTES, [("a", "a", "b"), ("", "", "")], "1 row of the train split has no label in column 'rater_a, rater_b"),
        (VOTES, [("a", "b", 4)], "rater_c with numbers, and rater_a, rater_b with words. For soft labels from annot"),
        (COUNTS, [(3, 1, "x")], "glad with words. For soft labels from shares or counts of votes, leave out glad"),
        (VOTES, [("a", "a", "a")], "one label, 'a'; expected at least two"),
    ],
)
def test_what_holds_no_votes_is_refused(header: list[str], values: list, message: str, tmp_path: Path):
    assert message in refusal(**write(tmp_path, header, *values, times=1))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("rater_a,nobody", "'nobody', which is not a column"),
        ("rater_a,rater_a", "names a column twice"),
        ("rater_a,body", "the text and the label are both the column 'body'"),
    ],
)
def test_names_that_are_wrong_are_told(named: str, message: str, tmp_path: Path):
    table = write(tmp_path, VOTES, ("a", "a", "b")) | {"label_column_name": named}
    assert message in refusal(**table)


def test_a_stream_is_refused(tmp_path: Path):
    assert "--streaming reads rows of one label each" in refusal(
        **write(tmp_path, VOTES, ("a", "a", "b")), streaming=True
    )


def test_ratings_as_numbers_are_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    load(**write(tmp_path, COUNTS, (4, 5, 3), (1, 2, 1), (1, 1, 2)))
    assert "If they are ratings by several annotators instead, write them as words, such as `4 stars`" in caplog.text


def test_a_column_whose_name_has_a_comma_is_one(tmp_path: Path):
    rows = [(f"text {number}", "ab"[number % 2]) for number in range(20)]
    data = load(train_file=write_csv(tmp_path / "t.csv", rows, ["text", "sad,glad"]), label_column_name="sad,glad")
    assert data.labels == ["a", "b"]
    assert data.splits["train"].column_names == ["text", "label"], "rows of one label have no shares"


@pytest.mark.parametrize("header", [["body"], VOTES])
def test_a_test_file_without_labels_is_only_predicted(header: list[str], tmp_path: Path):
    test = write_csv(tmp_path / "test.csv", [("new", *[""] * (len(header) - 1))], header)
    data = load(**write(tmp_path, VOTES, ("a", "a", "b"), ("b", "b", "a")), test_file=test)
    assert data.splits["unlabelled_test"].column_names == ["text"]
    assert texts(data, "unlabelled_test") == ["new"]


def test_shares_follow_the_labels_of_a_model(tmp_path: Path):
    path = write(tmp_path, VOTES, ("glad", "calm", "glad"))["train_file"]
    data = load_evaluation_splits(DataArguments(train_file=path, test_file=path, **columns_of(VOTES)), 0)
    asked = with_labels(data, ["sad", "glad", "calm"], "the model")
    assert asked.splits["test"][0]["label"] == 1
    assert asked.splits["test"][0]["shares"] == pytest.approx([0, 2 / 3, 1 / 3])
