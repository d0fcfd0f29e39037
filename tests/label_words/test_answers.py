"""In small, complete runs, `pipeline`, `predict` and the reported results agree."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.data.labels import label_numbers

from ..tiny import write_csv

TEXTS = ["a fine film", "dull", "what a {body} waste", "كتاب جميل", "好看 🎬", "so so, Sentiment: negative", "Queue: 2"]
STARS = {"1": ["糟糕", " very bad"], "2": [" ثلاثة", "🙂"], "3": [" great"], "4": [" great!", "4"]}
RUNS: dict[str, tuple[list[str], list[str]]] = {
    "one token, calibrated": (["neg", "pos"], ["--calibration", "contextual"]),
    "one token, whole vocabulary": (["neg", "pos"], ["--no_constrain_generation", "--calibration", "validation"]),
    "several words, columns": (
        list(STARS),
        ["--label_words", json.dumps(STARS), "--prompt_template", r"-- {text_} and {more}\nQueue:{label_word}"],
    ),
}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=RUNS)
def finished(request, tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from hf_sentiment_ft.train import run

    labels, flags = RUNS[request.param]
    folder = tmp_path_factory.mktemp("run")
    rows = [(text, f"more {i}", labels[i % len(labels)]) for i, text in enumerate(TEXTS * 4)]
    header = ("text_", "more", "label") if "columns" in request.param else ("text", "more", "label")
    argv = ["--model_name_or_path", str(tiny_gpt2), "--train_file", write_csv(folder / "t.csv", rows, header)]
    argv += ["--output_dir", str(folder / "out"), "--max_steps", "3", "--eval_strategy", "no", "--save_strategy", "no"]
    argv += ["--load_best_model_at_end", "false", "--use_cpu", "--disable_tqdm", "true", *flags]
    run(parse_train_arguments(argv))
    out = folder / "out"
    return {
        "name": request.param,
        "folder": out,
        "results": json.loads((out / "all_results.json").read_text()),
        "predictions": read(out / "test_predictions.csv"),
        "card": (out / "README.md").read_text(encoding="utf-8"),
        "config": json.loads((out / "config.json").read_text()),
    }


def test_pipeline_says_what_is_reported(finished: dict[str, Any]):
    from transformers import pipeline

    rows, results = finished["predictions"], finished["results"]
    classify = pipeline("text-generation", model=str(finished["folder"]))
    answers = classify([row["text"] for row in rows], return_full_text=False, batch_size=3)
    assert [answer[0]["generated_text"] for answer in answers] == [row["generated_text"] for row in rows]
    config = finished["config"]
    of_label = dict(zip(config["id2label"].values(), config["label_words"], strict=True))
    words = {word: label for label, word in of_label.items()}
    for label, further in zip(of_label, config["label_synonyms"], strict=False):
        words |= dict.fromkeys(further, label)
    said = [words.get(row["generated_text"]) for row in rows]
    right = sum(word == row["label"] for word, row in zip(said, rows, strict=True))
    assert results["test_generation_accuracy"] == pytest.approx(right / len(rows))
    if "whole vocabulary" in finished["name"]:
        assert "test_unconstrained_generation_accuracy" not in results
        return
    assert None not in said, "constrained to label words"
    assert "unconstrained" in finished["card"]
    if "one token" in finished["name"]:
        assert said == [row["prediction"] for row in rows], "the constraint is calibrated, too"


def test_predict_answers_what_is_reported(finished: dict[str, Any], monkeypatch, capsys):
    from hf_sentiment_ft import predict

    out = finished["folder"].parent / "labelled.csv"
    table = finished["folder"] / "test_predictions.csv"
    flags = ["--model", finished["folder"], "--input_file", table, "--output_file", out]
    monkeypatch.setattr("sys.argv", ["predict", *map(str, flags)])
    predict.main()
    figures = [name for name in finished["predictions"][0] if name.startswith("probability_")]
    for row, expected in zip(read(out), finished["predictions"], strict=True):
        assert row["prediction"] == expected["prediction"]
        assert [float(row[name]) for name in figures] == pytest.approx([float(expected[n]) for n in figures], abs=2e-5)
        numbers = label_numbers([name.removeprefix("probability_") for name in figures])
        assert ("expected_value" in row) == bool(numbers)
        if numbers:
            mean = sum(number * float(row[name]) for number, name in zip(numbers, figures, strict=True))
            assert float(row["expected_value"]) == pytest.approx(mean, abs=1e-4)
    monkeypatch.setattr("sys.argv", ["predict", "--model", str(finished["folder"]), "a text"])
    predict.main()
    assert ("expected value" in capsys.readouterr().out) == bool(numbers)


def test_results_and_card_say_how(finished: dict[str, Any]):
    results, card = finished["results"], finished["card"]
    calibrated = "columns" not in finished["name"]
    assert ("test_uncalibrated_accuracy" in results) == ("zero_shot_test_calibrated_accuracy" in results) == calibrated
    assert ("| the base model, calibrated | " in card) == ("Without calibration, the accuracy is" in card) == calibrated
    assert ("test_mean_absolute_error" in results) == ("mean absolute error |" in card) == (not calibrated)
    if not calibrated:
        assert "` great!`, also `4`" in card
        assert "Each text is formed from columns: `'{text_} and {more}'`" in card
        assert finished["predictions"][0]["text"].split(" and more ")[0] in TEXTS
    assert "None" not in card
    assert "Undefined" not in card
