"""Splits taken from train, and samples of a split."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hf_sentiment_ft.data.sampling import stratified_sample
from hf_sentiment_ft.data.splits import LabelledSplits
from hf_sentiment_ft.errors import UsageError

from ..splits import load
from ..tiny import write_csv

# Three classes with shares of 60, 30 and 10 %.
LABELS = np.array((["common"] * 6 + ["rarer"] * 3 + ["rare"]) * 20)
ROWS = [(f"text {i}", label) for i, label in enumerate(LABELS)]


@pytest.fixture
def table(tmp_path: Path) -> str:
    return write_csv(tmp_path / "train.csv", ROWS)


def texts(data: LabelledSplits) -> dict[str, list[str]]:
    return {split: rows["text"][:] for split, rows in data.splits.items()}


def counts(data: LabelledSplits, split: str) -> dict[str, int]:
    return dict(Counter(data.labels[label] for label in data.splits[split]["label"][:]))


def test_missing_splits_are_taken_from_train_with_a_note(table: str):
    data = load(train_file=table)
    assert {split: len(rows) for split, rows in texts(data).items()} == {"train": 162, "validation": 20, "test": 18}
    assert sorted(sum(texts(data).values(), [])) == sorted(text for text, _ in ROWS), "every row once"
    assert data.notes == list(data.split_off.values())
    assert data.split_off["validation"] == (
        "The data has no validation split: 20 of 200 train rows were taken, seed 0."
    )
    assert data.split_off["test"] == "The data has no test split: 18 of 180 train rows were taken, seed 0."


def test_splits_taken_from_train_keep_each_class_share(table: str):
    data = load(train_file=table)
    assert counts(data, "validation") == {"common": 12, "rarer": 6, "rare": 2}
    assert counts(data, "train") == pytest.approx({"common": 97, "rarer": 49, "rare": 16}, abs=1)


def test_what_is_taken_depends_on_the_seed_alone(table: str):
    assert texts(load(train_file=table)) == texts(load(train_file=table))
    assert texts(load(train_file=table))["test"] != texts(load(seed=1, train_file=table))["test"]


def test_shares_are_those_of_the_flags(table: str):
    data = load(train_file=table, validation_split_percentage=50, test_split_percentage=20)
    assert {split: len(rows) for split, rows in texts(data).items()} == {"train": 80, "validation": 100, "test": 20}
    assert "test" not in load(train_file=table, test_split_percentage=0).splits


def test_splits_that_are_there_are_left_alone(table: str, tmp_path: Path):
    test = write_csv(tmp_path / "test.csv", [("a", "rare"), ("b", "common")])
    data = load(train_file=table, test_file=test)
    assert texts(data)["test"] == ["a", "b"]
    assert len(texts(data)["train"]) == 180
    assert list(data.split_off) == ["validation"]


def test_too_few_rows_to_take_a_split_from(tmp_path: Path):
    with pytest.raises(UsageError, match="the train split has 3 rows, too few to take a validation split from it"):
        load(train_file=write_csv(tmp_path / "few.csv", [("a", "x"), ("b", "y"), ("c", "x")]))


@pytest.mark.parametrize("rows", [1, 2])
def test_rare_class_stays_in_train(rows: int, tmp_path: Path):
    """Otherwise the model answers with a label that it has never seen; without a word to the user."""
    data = load(train_file=write_csv(tmp_path / "rare.csv", ROWS + [(f"single {i}", "single") for i in range(rows)]))
    assert counts(data, "train")["single"] >= 1


def test_samples_are_drawn_over_all_classes_with_a_note(table: str):
    data = load(train_file=table, max_train_samples=30, max_eval_samples=10, max_test_samples=5)
    assert {split: len(rows) for split, rows in texts(data).items()} == {"train": 30, "validation": 10, "test": 5}
    assert counts(data, "train") == {"common": 18, "rarer": 9, "rare": 3}
    assert data.notes[2:] == [
        "30 of 162 train rows, sampled from all classes, seed 0.",
        "10 of 20 validation rows, sampled from all classes, seed 0.",
        "5 of 18 test rows, sampled from all classes, seed 0.",
    ]
    whole = texts(load(train_file=table))
    assert all(set(texts(data)[split]) <= set(whole[split]) for split in whole), "sampling does not move the splits"


def test_sample_not_smaller_than_the_split_changes_nothing(table: str):
    data = load(train_file=table, max_train_samples=162, max_test_samples=1000)
    assert texts(data) == texts(load(train_file=table))
    assert len(data.notes) == 2


def test_sample_too_small_for_every_class_is_refused(table: str):
    with pytest.raises(UsageError, match="--max_train_samples is 2"):
        load(train_file=table, max_train_samples=2)


@pytest.mark.parametrize("size", [1, 3, 10, 57, 199, 200])
def test_stratified_sample_has_distinct_rows_in_order(size: int):
    rows = stratified_sample(LABELS, size, seed=3)
    assert len(rows) == size
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 0
    assert rows.max() < len(LABELS)


@pytest.mark.parametrize("size", [10, 50, 100, 130])
@pytest.mark.parametrize("seed", range(3))
def test_stratified_sample_keeps_shares(size: int, seed: int):
    drawn = Counter(LABELS[stratified_sample(LABELS, size, seed)])
    assert drawn == pytest.approx({"common": 0.6 * size, "rarer": 0.3 * size, "rare": 0.1 * size}, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_stratified_sample_keeps_every_class_where_there_is_room(seed: int):
    labels = np.array([0] * 1000 + [1] * 3 + [2])
    assert set(labels[stratified_sample(labels, 3, seed)]) == {0, 1, 2}


def test_stratified_sample_draws_at_random_within_a_class():
    labels = np.zeros(100, dtype=int)
    drawn = Counter(row for seed in range(60) for row in stratified_sample(labels, 10, seed))
    assert len(drawn) > 95, "every row has its chance"
    assert (stratified_sample(labels, 10, 0) == stratified_sample(labels, 10, 0)).all()
