"""A train split that is read while training goes on: its rows, their order, and what is refused."""

import bz2
import gzip
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, IterableDataset, Value

from hf_sentiment_ft.config.arguments import DataArguments
from hf_sentiment_ft.config.command_line import check_streaming, parse_train_arguments
from hf_sentiment_ft.data.sampling import StreamedRows
from hf_sentiment_ft.data.splits import LabelledSplits, load_splits
from hf_sentiment_ft.errors import RunError, UsageError

from ..conftest import REVIEWS
from ..local_hub import REPO, api_fixture, files_of, hub_fixture, record  # noqa: F401
from ..splits import refusal
from ..tiny import write_csv

ROWS = [(f"film {i}" + " and so on" * (i % 7), ("bad", "good")[i % 3 % 2]) for i in range(60)]
SMALL = {"streaming": True, "max_eval_samples": 10, "max_test_samples": 10, "shuffle_buffer_size": 20}


def load(label_words: str | None = None, **given: Any) -> LabelledSplits:
    return load_splits(DataArguments(**SMALL | given), 0, label_words)


def streamed(data: LabelledSplits) -> list[tuple[str, str]]:
    assert data.stream is not None
    assert data.stream.checked is not None
    return [(row["text"], data.labels[row["label"]]) for row in data.stream.checked]


def write(folder: Path, kind: str, rows: list[tuple[str, str]] = ROWS) -> str:
    """A file of each kind that tables come in."""
    table, path = Dataset.from_dict(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))), folder / kind
    if kind.endswith(".parquet"):
        table.to_parquet(path)
    elif kind.endswith(".jsonl"):
        table.to_json(path)
    elif kind.endswith(".tsv"):
        table.to_csv(path, sep="\t", index=False)
    else:
        content = Path(write_csv(folder / "plain.csv", rows)).read_bytes()
        path.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)(content))
    return str(path)


@pytest.mark.parametrize("kind", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz", "a.CSV.bz2"])
def test_rows_are_those_of_the_table(kind: str, tmp_path: Path):
    data = load(train_file=write(tmp_path, kind))
    assert streamed(data) == ROWS[20:]
    for split, rows in {"validation": ROWS[:10], "test": ROWS[10:20]}.items():
        assert data.splits[split]["text"][:] == [text for text, _ in rows]
        assert f"The data has no {split} split: 10 rows were taken from the beginning of train." in data.notes


def test_splits_of_their_own_are_read_up_to_a_limit(tmp_path: Path):
    for part in range(3):
        write_csv(tmp_path / f"part-{part}.csv", ROWS[20 * part :][:20])
    test = write_csv(tmp_path / "test.csv", [(f"new {text}", label) for text, label in ROWS[:8]])
    data = load(train_file=str(tmp_path / "part-*.csv"), validation_file=test, test_file=test, max_eval_samples=5)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 20, "validation": 5, "test": 8}
    assert data.splits["validation"]["text"][:] == [f"new {text}" for text, _ in ROWS[:5]]
    assert "validation is the first 5 rows of that split; use --max_eval_samples to take more." in data.notes
    assert not data.split_off
    assert sorted(streamed(data)) == sorted(ROWS)


def test_labels_that_come_late_are_named_by_the_files_or_by_label_words(tmp_path: Path):
    rows = [*ROWS, ("odd", "odd")]
    plain = write_csv(tmp_path / "plain.csv", rows)
    words = '{"good": " good", "odd": " odd", "bad": " bad"}'
    assert load(words, train_file=plain).labels == ["good", "odd", "bad"]
    assert streamed(load(words, train_file=plain))[-1] == ("odd", "odd")
    with pytest.raises(
        UsageError, match="Labels that are not in the first 20 rows must be listed in --label_words"
    ) as error:
        streamed(load(train_file=plain))
    assert "a label that train does not have ('odd'): row 60 (counted from 0). The row is {'text': 'odd'" in str(
        error.value
    )
    named = Features({"text": Value("string"), "label": ClassLabel(names=["odd", "good", "bad"])})
    table = Dataset.from_list([{"text": text, "label": label} for text, label in rows], features=named)
    table.to_parquet(tmp_path / "typed.parquet")
    data = load(train_file=str(tmp_path / "typed.parquet"))
    assert (data.labels, streamed(data)[-1]) == (["odd", "good", "bad"], ("odd", "odd"))


@pytest.mark.parametrize(("row", "number"), [(("", "good"), 3), (("  ", "bad"), 25), (("late", ""), 59)])
def test_row_with_a_fault_is_shown_with_its_number(row: tuple[str, str], number: int, tmp_path: Path):
    """In validation, in the first rows, and on the way."""
    path = write_csv(tmp_path / "a.csv", [*ROWS[:number], row, *ROWS[number + 1 :]])
    with pytest.raises(UsageError, match=rf"has no (text|label) in column '\w+': row {number} \(counted from 0\)"):
        streamed(load(train_file=path))


def test_what_a_stream_does_not_tell_is_refused(tmp_path: Path):
    bad = [row for row in ROWS if row[1] == "bad"]
    begins_bad = write_csv(tmp_path / "begins.csv", [*bad[:10], *ROWS])
    assert "10 rows were taken from the beginning of train. They all have one label" in refusal(
        train_file=begins_bad, **SMALL
    )
    bad_first = write_csv(tmp_path / "sorted.csv", [*bad, *ROWS])
    few = write_csv(tmp_path / "few.csv", ROWS[:15])
    assert "train has 15 rows, too few to take 10 for it; lower --max_test_samples" in refusal(train_file=few, **SMALL)
    own = {"validation_file": few, "test_file": few}
    message = refusal(train_file=bad_first, **own, **SMALL)
    assert "the first 20 rows of train all have the label 'bad'" in message
    assert "Raise --shuffle_buffer_size (now 20)" in message
    assert "expected a whole split with --streaming, one of train" in refusal(
        dataset_name=str(REVIEWS), train_split="train[:50%]", **SMALL
    )
    Dataset.from_list([{"text": "a", "label": 1}]).save_to_disk(tmp_path / "saved")
    assert "It is memory-mapped anyway; remove --streaming" in refusal(dataset_name=str(tmp_path / "saved"), **SMALL)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--streaming requires --max_steps"),
        (["--num_train_epochs", "2"], "--streaming requires --max_steps"),
        (["--max_steps", "9", "--num_shots_per_class", "8"], "--num_shots_per_class is 8, which needs all rows"),
        (["--max_steps", "9", "--drop_duplicates"], "--drop_duplicates is True, which needs all rows"),
        (["--max_steps", "9", "--class_weights", "balanced"], "--class_weights is balanced, which needs all rows"),
        (["--max_steps", "9", "--max_train_samples", "8"], "use --max_steps to set how many rows are trained on."),
        (["--max_steps", "9", "--validation_split_percentage", "20"], "use --max_eval_samples to set how many rows"),
        (["--max_steps", "9", "--save_dataset_dir", "x"], "--save_dataset_dir is x, which needs all rows"),
        (["--max_steps", "9", "--dataloader_num_workers", "2"], "expected 0 with --streaming"),
        (["--max_steps", "9", "--train_sampling_strategy", "sequential"], "expected random or group_by_length"),
    ],
)
def test_flag_that_needs_the_table_is_refused(flags: list[str], message: str):
    _, data_args, _, _, args = parse_train_arguments(["--streaming", *flags])
    with pytest.raises(UsageError) as error:
        check_streaming(data_args, args)
    assert message in str(error.value)
    check_streaming(parse_train_arguments(flags)[1], args)


def test_evaluation_comes_by_steps_where_epochs_have_no_known_end():
    _, data_args, _, _, args = parse_train_arguments(["--streaming", "--max_steps", "50"])
    check_streaming(data_args, args)
    assert [args.eval_strategy.value, args.eval_steps, args.save_strategy.value, args.save_steps] == ["steps", 0.1] * 2


def make_rows(num_rows: int, read: Any = None, **given: Any) -> StreamedRows:
    """30 rows a pass, as long as their number says."""

    def numbers() -> Any:
        for number in range(30):
            yield {"text": str(number), "label": number % 2}

    def to_features(rows: dict[str, list[Any]], numbers: range) -> dict[str, list[Any]]:
        lengths = [int(text) + 1 for text in rows["text"]]
        return {"number": rows["text"], "length": lengths, "truncated": [length > 20 for length in lengths]}

    stream = IterableDataset.from_generator(read or numbers).shuffle(seed=1, buffer_size=8)
    return StreamedRows(stream, to_features, num_rows, **{"global_batch": 4, "grouped": True, "seed": 3} | given)


def test_each_row_comes_once_in_each_pass_and_never_in_the_same_order():
    rows = make_rows(75)
    order = [int(row["number"]) for row in rows]
    assert sorted(order[:30]) == sorted(order[30:60]) == list(range(30))
    assert len(set(order[60:])) == 15
    assert order[:30] != order[30:60]
    ungrouped = [int(row["number"]) for row in make_rows(60, grouped=False)]
    assert ungrouped[:30] != ungrouped[30:], "datasets shuffles anew in each pass"
    assert order == [int(row["number"]) for row in rows] == [int(row["number"]) for row in make_rows(75)]
    assert order != [int(row["number"]) for row in make_rows(75, seed=4)]
    assert rows.num_truncated == sum(number >= 20 for number in order), "of those given out, not of those read ahead"
    assert rows.describe(75).endswith("the stream has 30, so each was used 2.5 times.")
    short = make_rows(12)
    assert len(list(short)) == 12
    assert short.describe(12).endswith("its end was not reached.")


def test_rows_of_similar_length_come_together():
    def mixed() -> Any:
        yield from ({"text": str(number * 37 % 200), "label": 0} for number in range(200))

    def spread(grouped: bool) -> int:
        lengths = [row["length"] for row in make_rows(200, mixed, grouped=grouped)]
        return sum(max(batch) - min(batch) for batch in zip(*[iter(lengths)] * 4, strict=True))

    assert spread(True) < spread(False) / 4


def test_stream_that_breaks_off_says_how_to_go_on():
    def broken() -> Any:
        yield from ({"text": str(number), "label": 0} for number in range(9))
        raise OSError("no more paper")

    with pytest.raises(RunError, match=r"in pass 1: OSError: no more paper\..*--resume_from_checkpoint true"):
        list(make_rows(50, broken))


def test_changed_files_are_noticed(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", ROWS)
    before = load(train_file=path).stream
    write_csv(tmp_path / "a.csv", [*ROWS, ("one more", "good")])
    after = load(train_file=path).stream
    assert before
    assert after
    assert before.source.startswith("1 file (")
    assert before.source != after.source
    assert load(train_file=path).stream.source == after.source
