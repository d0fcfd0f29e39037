"""Rows with several labels, or several label columns, from training to `predict`, Python, and `pipeline`."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft.classifier import LabelWordClassifier
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.publishing.examples import sample_answers
from hf_sentiment_ft.publishing.verify import different_decisions
from hf_sentiment_ft.train import train

from .tiny import base_tokenizer, tiny_model, write_csv

TOPICS = {"angry": "terrible", "billing": "invoice", "late_parcel": "courier"}
FILLERS = ["we", "then", "called", "again", "from", "home"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = base_tokenizer("gpt2")
    tokenizer.save_pretrained(folder)
    tiny_model(vocab_size=len(tokenizer)).save_pretrained(folder)
    return folder


def tickets(number: int) -> list[tuple[str, list[str]]]:
    """Texts that contain the word of each of their topics."""
    chosen = random.Random(0)
    rows = []
    for _ in range(number):
        topics = [topic for topic in TOPICS if chosen.random() < 0.4]
        words = [TOPICS[topic] for topic in topics] + chosen.sample(FILLERS, 3)
        rows.append((" ".join(words), topics))
    return rows


def trained(model: Path, folder: Path, words: str, **flags: Any) -> dict[str, Any]:
    ours = {"model_name_or_path": model, "output_dir": folder / "output", "label_words": words}
    figures = train(**ours | {"learning_rate": 3e-3, "max_steps": 300, "per_device_eval_batch_size": 4} | flags)
    assert figures
    return figures


@pytest.fixture(scope="module")
def sets(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model for texts that can have several labels."""
    folder = tmp_path_factory.mktemp("sets")
    table = write_csv(folder / "a.csv", [(text, ";".join(topics)) for text, topics in tickets(150)], ("text", "topics"))
    trained(model, folder, "n,y", train_file=table, label_column_name="topics", label_separator=";")
    return folder / "output"


@pytest.fixture(scope="module")
def columns(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model for two label columns."""
    folder = tmp_path_factory.mktemp("columns")
    rows = [(text, "bills" if "billing" in topics else "rest", len(topics)) for text, topics in tickets(150)]
    table = write_csv(folder / "a.csv", rows, ("text", "queue", "number"))
    trained(model, folder, "A,B,0,1,2,3", train_file=table, label_column_name="queue|number")
    return folder / "output"


def predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "test_predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_python_and_results_agree_on_sets(sets: Path):
    results, rows = json.loads((sets / "all_results.json").read_text()), predictions(sets)
    classifier = LabelWordClassifier.from_pretrained(str(sets))
    texts = [row["text"] for row in rows]
    probabilities, chosen = classifier.predict_proba(texts), classifier.predict(texts)
    assert classifier.classes_.tolist() == sorted(TOPICS)
    for row, figures, one in zip(rows, probabilities, chosen, strict=True):
        saved = [float(row[f"probability_{topic}"]) for topic in sorted(TOPICS)]
        np.testing.assert_allclose(figures, saved, atol=2e-5)
        assert row["prediction"] == ";".join(topic for topic, has in zip(sorted(TOPICS), one, strict=True) if has)
    exact = np.mean([row["prediction"] == row["label"] for row in rows])
    assert results["test_accuracy"] == results["test_exact_match"] == pytest.approx(exact)
    assert results["problem_type"] == "multi_label_classification"


def test_sets_are_learnt(sets: Path):
    results = json.loads((sets / "all_results.json").read_text())
    assert results["test_f1_micro"] > results["zero_shot_test_f1_micro"]
    assert results["test_f1_micro"] > 0.8


@pytest.mark.parametrize("kind", ["sets", "columns"])
def test_decision_pipeline_has_the_same_probabilities(kind: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(kind)
    assert different_decisions(folder, ["terrible invoice\nangry?", "we called again\nangry?", "home"]) == []


def test_a_question_that_the_model_was_not_trained_on_is_refused(sets: Path):
    from jinja2 import TemplateError
    from transformers import pipeline

    decide = pipeline("decision", model=str(sets), device="cpu")
    by_name = decide({"state": "terrible", "questions": {"late_parcel": {"type": "noul"}}})["late_parcel"]
    told = decide({"state": "terrible", "questions": {"x": {"type": "noul", "instructions": "late parcel"}}})["x"]
    assert by_name == told
    with pytest.raises(TemplateError, match="This model is asked about angry, billing, late_parcel"):
        decide({"state": "terrible", "questions": {"polite": {"type": "noul"}}})


def test_pipeline_answers_one_question(sets: Path):
    from transformers import pipeline

    rows = predictions(sets)[:5]
    classify = pipeline("text-generation", model=str(sets), device="cpu")
    for row in rows:
        asked = [f"{row['text']}\n{topic}" for topic in ("angry", "billing", "late parcel")]
        words = [answer[0]["generated_text"] for answer in classify(asked, return_full_text=False)]
        assert words == json.loads(row["generated_text"])
    samples = sample_answers(sets)  # with which a published model is verified
    assert {text.rpartition("\n")[2] for text in samples} == {"angry", "billing", "late parcel"}
    assert [answer[0]["generated_text"] for answer in classify([*samples], return_full_text=False)] == [
        *samples.values()
    ]


def test_python_and_results_agree_on_columns(columns: Path):
    results, rows = json.loads((columns / "all_results.json").read_text()), predictions(columns)
    classifier = LabelWordClassifier.from_pretrained(str(columns))
    texts = [row["text"] for row in rows]
    assert classifier.predict(texts).tolist() == [[row["prediction_queue"], row["prediction_number"]] for row in rows]
    queue, number = classifier.predict_proba(texts)
    np.testing.assert_allclose(queue.sum(axis=1), 1)
    np.testing.assert_allclose(number[:, 1], [float(row["probability_number_1"]) for row in rows], atol=2e-5)
    right = [row["prediction_queue"] == row["queue"] for row in rows]
    assert results["test_columns"]["queue"]["accuracy"] == pytest.approx(np.mean(right))
    assert "expected_value_error" in results["test_columns"]["number"]
    assert set(results["majority_test_columns"]) == {"queue", "number"}


def test_card_and_report_of_columns(columns: Path):
    """The figures are those of the results."""
    figures = json.loads((columns / "all_results.json").read_text())["test_columns"]["queue"]
    assert f"| queue | **{figures['accuracy']:.4f}** (" in (columns / "README.md").read_text()
    page = (columns / "report.html").read_text()
    assert f'<td>queue</td><td class="number">{100 * figures["accuracy"]:.1f}&nbsp;%' in page
    wrong = [row["text"] for row in predictions(columns) if row["queue"] != row["prediction_queue"]]
    assert all(text in page for text in wrong[:10])


@pytest.mark.parametrize("kind", ["sets", "columns"])
def test_predict_adds_a_probability_for_each_answer(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from hf_sentiment_ft.predict import main

    folder = request.getfixturevalue(kind)
    rows = predictions(folder)
    table = write_csv(tmp_path / "a.csv", [(row["text"],) for row in rows], ("text",))
    flags = ["--model", str(folder), "--input_file", table, "--output_file", str(tmp_path / "out.csv")]
    monkeypatch.setattr("sys.argv", ["predict", *flags])
    main()
    with (tmp_path / "out.csv").open(newline="") as file:
        labelled = list(csv.DictReader(file))
    added = [name for name in rows[0] if name.startswith(("prediction", "probability"))]
    assert [*labelled[0]] == ["text", *added]
    for found, saved in zip(labelled, rows, strict=True):
        for name in added:
            if name.startswith("prediction"):
                assert found[name] == saved[name]
            else:
                assert float(found[name]) == pytest.approx(float(saved[name]), abs=2e-5)


def test_reading_a_text_once_changes_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A model that cannot read packed questions gets a row for each question."""
    flags = {"train_file": write_csv(tmp_path / "a.csv", [(text, ";".join(topics)) for text, topics in tickets(60)])}
    flags |= {"label_separator": ";", "max_steps": 6, "max_tokens_per_microbatch": 100}
    packed = trained(model, tmp_path / "packed", "n,y", **flags)
    monkeypatch.setattr("hf_sentiment_ft.training.trainer.reads_packed", lambda *given: False)
    alone = trained(model, tmp_path / "alone", "n,y", **flags)
    for name in ("train_loss", "eval_log_loss", "zero_shot_test_log_loss", "test_log_loss"):
        assert packed[name] == pytest.approx(alone[name], rel=1e-3)


def test_label_words_of_several_tokens(model: Path, tmp_path: Path):
    """They are read in a row for each question, and `predict` agrees."""
    table = write_csv(tmp_path / "a.csv", [(text, ";".join(topics)) for text, topics in tickets(60)])
    flags = {"train_file": table, "label_separator": ";", "max_steps": 4, "zero_shot_baseline": False}
    trained(model, tmp_path, "never so,surely", **flags)
    rows = predictions(tmp_path / "output")
    classifier = LabelWordClassifier.from_pretrained(str(tmp_path / "output"))
    found = classifier.predict_proba([row["text"] for row in rows])[:, 0]
    np.testing.assert_allclose(found, [float(row["probability_angry"]) for row in rows], atol=2e-5)


def test_flags_that_do_not_go_together_are_refused(model: Path, tmp_path: Path):
    table = write_csv(tmp_path / "a.csv", [(text, ";".join(topics)) for text, topics in tickets(60)])
    several = {"model_name_or_path": model, "train_file": table, "label_separator": ";", "output_dir": tmp_path / "o"}
    refused = {
        "the rows have several labels, each of which is asked": {"prompt_template": "{text}\nTopic:{label_word}"},
        "--truncation_side is right": {"truncation_side": "right"},
        "--calibration is contextual, which is for a single question": {"calibration": "contextual"},
        "cannot export an exact text classification model": {"export_text_classification": True},
    }
    for message, flags in refused.items():
        with pytest.raises(UsageError, match=message):
            train(**several, **flags)
    single = several | {
        "label_separator": None,
        "train_file": write_csv(tmp_path / "b.csv", [("a", "x"), ("b", "y")] * 20),
    }
    with pytest.raises(UsageError, match="contains {label}, which stands for one of several labels"):
        train(**single, prompt_template="\n{text}\n{label}?{label_word}")
