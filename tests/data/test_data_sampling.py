"""What a run learns from and is measured on: named splits, few shots, duplicates, weights, tests without labels."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft.data.sampling import sample_per_class
from hf_sentiment_ft.data.splits import LabelledSplits

from ..splits import load, refusal, texts
from ..tiny import write_csv

ROWS = [(f"text {i}", ("bad", "good", "rare")[0 if i % 10 < 6 else 1 if i % 10 < 9 else 2]) for i in range(100)]
OTHER = [("seen", "bad"), ("heard", "good")]


def numbers(data: LabelledSplits, split: str) -> list[int]:
    return [int(text.split()[1]) for text in texts(data, split)]


def counts(data: LabelledSplits, split: str = "train") -> dict[str, int]:
    return dict(Counter(data.labels[label] for label in data.splits[split]["label"]))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Splits of unusual names, and one of 10 rows named test."""
    from datasets import Dataset, DatasetDict

    splits = {"all": ROWS, "extra": [(f"more {100 + i}", label) for i, (_, label) in enumerate(ROWS[:20])]}
    splits["test"] = [(f"test {200 + i}", label) for i, (_, label) in enumerate(ROWS[:10])]
    tables = {name: Dataset.from_dict({"text": [t for t, _ in rows], "label": [label for _, label in rows]})
              for name, rows in splits.items()}  # fmt: skip
    DatasetDict(tables).save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


def test_splits_of_any_name_and_slices(folder: str):
    data = load(
        dataset_name=folder, train_split="all[:70%]+extra", validation_split="all[70:90]", test_split="all[-10:]"
    )
    assert numbers(data, "train") == [*range(70), *range(100, 120)]
    assert numbers(data, "validation") == [*range(70, 90)]
    assert numbers(data, "test") == [*range(90, 100)]
    assert data.notes[0] == "train is the dataset's all[:70%]+extra."
    assert data.sources["test"] == "all[-10:]"


def test_only_the_train_split_is_named(folder: str):
    data = load(dataset_name=folder, train_split="all")
    assert numbers(data, "test") == [*range(200, 210)], "found by its name"
    assert list(data.split_off) == ["validation"]
    used = load(dataset_name=folder, train_split="all+test")
    assert list(used.split_off) == ["validation", "test"], "rows that are learnt from are not those of the test"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "has the splits all, extra, test; expected one named train, with rows. Set it with --train_split"),
        (
            {"train_split": "train"},
            "--train_split is 'train'; expected one or more of all, extra, test, or slices such as train[:80%]",
        ),
        (
            {"train_split": "all[oops]"},
            "--train_split is 'all[oops]'; expected one or more of all, extra, test, or slices",
        ),
        ({"train_split": "all[500:]"}, "--train_split is 'all[500:]', which has no rows"),
        (
            {"train_split": "all[:60]", "test_split": "test+all[59:]"},
            "--train_split and --test_split have rows of 'all' in",
        ),
        ({"train_split": "all", "num_shots_per_class": 2, "max_train_samples": 4}, "are both given; keep one"),
        ({"class_weights": "even"}, "--class_weights is 'even'; expected balanced. Remove the flag"),
        ({"num_shots_per_class": 0}, "--num_shots_per_class is 0; expected at least 1"),
    ],
)
def test_splits_and_samples_that_cannot_be(given: dict[str, Any], message: str, folder: str):
    assert message in refusal(dataset_name=folder, **given)


def test_few_shots_of_each_class(folder: str):
    given = {"dataset_name": folder, "train_split": "all", "validation_split": "extra"}
    data = load(**given, num_shots_per_class=5)
    assert counts(data) == {"bad": 5, "good": 5, "rare": 5}
    assert data.notes[-1] == "Few-shot: 15 of 100 train rows, 5 of each class, seed 0."
    assert texts(load(**given, num_shots_per_class=5), "train") == texts(data, "train")
    assert texts(load(seed=1, **given, num_shots_per_class=5), "train") != texts(data, "train")
    more = load(**given, num_shots_per_class=20)
    assert counts(more) == {"bad": 20, "good": 20, "rare": 10}
    assert more.notes[-1] == "Few-shot: 50 of 100 train rows, 20 of each class, seed 0; 1 classes have fewer."
    assert set(texts(data, "train")) < set(texts(more, "train")), "more shots keep the fewer ones"


def test_shots_are_drawn_at_random_within_a_class():
    labels = np.arange(100) % 2
    drawn = Counter(row for seed in range(60) for row in sample_per_class(labels, 5, seed))
    assert len(drawn) > 95, "every row has its chance"


def test_rare_classes_weigh_more(tmp_path: Path):
    data = load(train_file=write_csv(tmp_path / "train.csv", ROWS), test_split_percentage=0, class_weights="balanced")
    sizes = counts(data)
    total = sum(sizes.values())
    assert data.class_weights == pytest.approx([total / 3 / sizes[label] for label in data.labels])
    assert data.notes[-1] == (
        "The loss is weighted by class, rare classes more (balanced): "
        f"bad {data.class_weights[0]:.3g}, good {data.class_weights[1]:.3g}, rare {data.class_weights[2]:.3g}."
    )
    assert load(train_file=str(tmp_path / "train.csv")).class_weights is None


@pytest.mark.parametrize("drop", [False, True])
def test_texts_that_are_also_in_train(drop: bool, tmp_path: Path):
    files = {
        "train_file": write_csv(tmp_path / "train.csv", ROWS),
        "validation_file": write_csv(tmp_path / "validation.csv", [*OTHER, ("text 3", "good")]),
        "test_file": write_csv(
            tmp_path / "test.csv", [*OTHER, ("text 5", "bad"), ("text 5", "bad"), ("TEXT 7", "bad")]
        ),
    }
    data = load(**files, drop_duplicates=drop)
    advice = "which makes their metrics too good; use --drop_duplicates to remove such texts from train"
    if drop:
        assert numbers(data, "train") == [i for i in range(100) if i not in (3, 5)]
        assert data.notes == ["2 of 100 train rows were dropped, since their text is also in another split."]
    else:
        assert len(data.splits["train"]) == 100
        assert data.notes == [
            f"{part} rows have a text that is also in train, {advice}." for part in ("1 of 3 validation", "2 of 5 test")
        ]
    assert (len(data.splits["validation"]), len(data.splits["test"])) == (3, 5)


def test_duplicates_that_are_all_of_a_class(tmp_path: Path):
    files = {"train_file": write_csv(tmp_path / "train.csv", [*ROWS, ("seen", "new")])}
    files["test_file"] = write_csv(tmp_path / "test.csv", OTHER)
    assert "--drop_duplicates leaves no row with the label new" in refusal(**files, drop_duplicates=True)


UNLABELLED = {
    "no column": (["text"], [("a",), ("b",)]),
    "empty": (["text", "label"], [("a", None), ("b", None)]),
    "-1": (["text", "label"], [("a", -1), ("b", -1)]),
}


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("kind", UNLABELLED)
def test_test_split_without_labels_is_only_predicted(kind: str, limit: int | None, tmp_path: Path):
    header, rows = UNLABELLED[kind]
    files = {"train_file": write_csv(tmp_path / "train.csv", ROWS)}
    files["test_file"] = write_csv(tmp_path / "test.csv", rows, header)
    data = load(**files, max_test_samples=limit)
    assert set(data.splits) == {"train", "validation", "unlabelled_test"}
    assert data.splits["unlabelled_test"].column_names == ["text"]
    assert texts(data, "unlabelled_test") in ([["a", "b"]] if limit is None else [["a"], ["b"]])
    assert data.notes[0] == (
        "The test split has no labels: its 2 rows are only predicted, and the reported metrics are those of validation."
    )


def test_minus_one_may_be_a_label(tmp_path: Path):
    files = {"train_file": write_csv(tmp_path / "train.csv", [(f"t{i}", i % 2 * 2 - 1) for i in range(40)])}
    files["test_file"] = write_csv(tmp_path / "test.csv", [("a", -1), ("b", -1)])
    assert load(**files).splits["test"]["label"][:] == [0, 0]


def test_other_splits_need_labels(tmp_path: Path):
    files = {"train_file": write_csv(tmp_path / "train.csv", ROWS)}
    files["validation_file"] = write_csv(tmp_path / "validation.csv", [("a", None), ("b", None)])
    assert "2 rows of the validation split have no label in column 'label'" in refusal(**files)
