"""One run on a table as users have it, with every choice that is made about its rows."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from . import forked
from .tiny import write_csv

ODD = [
    "<|endoftext|>",
    "[PAD][PAD] positive",
    "a\x00b\x07",
    "\x1b[31mred",
    "👩‍🚀 🇩🇪",
    "שלום hello مرحبا",
    "long " * 3000,
]
FIELDS = ("title", "body", "sentiment")


@pytest.fixture(scope="module")
def finished(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    rows = [(f"title {i}", ODD[i % len(ODD)], ("schlecht", "gut", "weiß nicht")[max(i % 12 - 9, 0)]) for i in range(72)]
    for part in (0, 1):
        path = Path(write_csv(folder / f"part-{part}.csv", rows[part::2], FIELDS))
        (folder / f"part-{part}.CSV.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    write_csv(folder / "test.tsv", [])
    lines = [f"{title}\tnew {i}" for i, (title, _, _) in enumerate(rows[:9])]
    (folder / "test.tsv").write_text("title\tbody\n" + "\n".join(lines) + "\n", encoding="utf-8")
    flags = [
        "--model_name_or_path",
        tiny_gpt2,
        "--train_file",
        folder / "part-*.gz",
        "--test_file",
        folder / "test.tsv",
    ]
    flags += ["--text_column_name", "title,body", "--class_weights", "balanced", "--num_shots_per_class", 4]
    flags += [
        "--drop_duplicates",
        "--max_seq_length",
        100,
        "--max_steps",
        3,
        "--save_only_model",
        "--disable_tqdm",
        "true",
    ]
    forked.finish(*flags, cwd=folder)
    return folder


def test_test_split_without_labels_is_predicted_and_validation_reported(finished: Path):
    with (finished / "output" / "test_predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [f"title {i}\nnew {i}" for i in range(9)]
    assert list(rows[0])[:3] == ["text", "prediction", "generated_text"]
    assert {row["prediction"] for row in rows} <= {"schlecht", "gut", "weiß nicht"}
    results = json.loads((finished / "output" / "all_results.json").read_text())
    assert "eval_accuracy" in results
    assert not [name for name in results if name.startswith(("test_", "unlabelled", "zero_shot"))]
    printed = (finished / "printed.txt").read_text(encoding="utf-8")
    assert "(no test split with labels)" in printed
    assert "examples/s" not in printed, "no bars of datasets either"


def test_card_says_what_was_done_to_the_rows(finished: Path):
    card = (finished / "output" / "README.md").read_text(encoding="utf-8")
    assert "There is no test split with labels." in card
    assert "- The test split has no labels: its 9 rows are only predicted" in card
    assert "train rows, 4 of each class, seed 42" in card
    assert "- The loss is weighted by class, rare classes more (balanced): gut " in card


def test_predictions_hold_odd_texts_as_they_are(finished: Path):
    with (finished / "output" / "eval_predictions.csv").open(encoding="utf-8", newline="") as file:
        bodies = {row["text"].partition("\n")[2] for row in csv.DictReader(file)}
    assert bodies
    assert bodies <= set(ODD)


@pytest.mark.parametrize("body", ODD)
def test_text_never_becomes_control_tokens(body: str, finished: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished / "output")
    ids = tokenizer(body).input_ids
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids).startswith(f"\n{body}\n"), "every character is there"
