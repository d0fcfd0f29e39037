"""`predict` leaves rows undecided where it is asked to."""

import json
import shutil
from pathlib import Path

import pytest

from .test_predict import read_csv, run_predict  # noqa: F401

NAMES = ("probability_negative", "probability_positive")


@pytest.fixture
def middle(run_dir: Path) -> str:
    """Return a probability that about half of the test rows reach."""
    rows = read_csv(run_dir / "test_predictions.csv")
    best = sorted(max(float(row[name]) for name in NAMES) for row in rows)
    assert best[49] < best[50]
    return str((best[49] + best[50]) / 2)


def test_rows_below_the_probability_are_undecided(run_predict, run_dir: Path, middle: str, tmp_path: Path):  # noqa: F811
    """All others, and all probabilities, are as without the flag."""
    given = ["--input_file", run_dir / "test_predictions.csv", "--output_file"]
    run_predict(*given, tmp_path / "all.csv")
    run_predict(*given, tmp_path / "some.csv", "--min_probability", middle)
    decided, doubted = read_csv(tmp_path / "all.csv"), read_csv(tmp_path / "some.csv")
    assert "undecided" not in decided[0]
    assert sum(row["undecided"] == "true" for row in doubted) == 50
    for one, other in zip(doubted, decided, strict=True):
        doubt = max(float(one[name]) for name in NAMES) < float(middle)
        assert one.pop("undecided") == ("true" if doubt else "false")
        assert one == (other | {"prediction": "", "label_word": ""} if doubt else other)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_types_that_have_booleans_and_null(name: str, run_predict, middle: str, tmp_path: Path):  # noqa: F811
    import pandas as pd

    (tmp_path / "in.txt").write_text("fine film\n")
    given = ["--input_file", tmp_path / "in.txt", "--output_file", tmp_path / name, "--min_probability"]
    found = []
    for least in ("0.9999", "0.0001"):
        run_predict(*given, least)
        table = pd.read_json(tmp_path / name, lines=True) if name == "out.jsonl" else pd.read_parquet(tmp_path / name)
        found.append((bool(table["undecided"][0]), pd.isna(table["prediction"][0]), pd.isna(table["label_word"][0])))
    assert found == [(True, True, True), (False, False, False)]


def test_lines_say_undecided(run_predict):  # noqa: F811
    answer, word, figures, text = run_predict("fine film", "--min_probability", "0.9999").rstrip("\n").split("\t")
    assert (answer, word, text) == ("undecided", "", "fine film")
    assert figures == run_predict("fine film").split("\t")[2]
    assert run_predict("fine film", "--min_probability", "0.0001") == run_predict("fine film")


def test_a_target_error_takes_the_models_threshold(run_predict, run_dir, middle: str, tmp_path: Path, caplog):  # noqa: F811
    model = shutil.copytree(run_dir, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"label_thresholds": {"0.05": float(middle), "0.2": 0.0}}))
    given = ["--input_file", run_dir / "test_predictions.csv", "--output_file", tmp_path / "out.csv", "--target_error"]
    undecided = {}
    for target in ("0.05", "0.1", "0.2"):
        run_predict(*given, target, model=model)
        undecided[target] = sum(row["undecided"] == "true" for row in read_csv(tmp_path / "out.csv"))
    assert undecided == {"0.05": 50, "0.1": 50, "0.2": 0}
    assert "There is no threshold for --target_error 0.1; that for 0.05 is used." in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--min_probability", "0.5", "--target_error", "0.1"], "--min_probability and --target_error are both given"),
        (["--min_probability", "0"], "--min_probability is 0; expected a number between 0 and 1"),
        (["--min_probability", "90"], "--min_probability is 90; expected a number between 0 and 1"),
        (["--min_probability", "nan"], "--min_probability is nan; expected a number between 0 and 1"),
        (["--target_error", "1"], "--target_error is 1; expected a number between 0 and 1"),
        (["--target_error", "0.00001"], "--target_error is 1e-05, which the validation split was too small"),
    ],
)
def test_mistakes_give_one_line(flags: list[str], message: str, run_predict, capsys):  # noqa: F811
    with pytest.raises(SystemExit) as stop:
        run_predict("a", *flags)
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_model_of_an_earlier_version_has_no_thresholds(run_predict, run_dir: Path, tmp_path: Path, capsys):  # noqa: F811
    model = shutil.copytree(run_dir, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((model / "config.json").read_text())
    for name in ("label_thresholds", "label_temperature"):
        del config[name]
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit):
        run_predict("a", "--target_error", "0.1", model=model)
    assert "the model has no thresholds, which training chooses" in capsys.readouterr().err
    assert run_predict("a", "--min_probability", "0.0001", model=model)
