"""The page that shows how good a model is: its figures, and that texts in it stay texts."""

import csv
import json
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.evaluation import add_words, save_report

HOSTILE = ('<script>alert("x")</script>', "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "</svg></table>‮", "a & b < c")


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(run_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_dir, tmp_path / "run"))


def test_training_writes_a_page_with_the_figures_of_its_results(run_dir: Path):
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    results = json.loads((run_dir / "all_results.json").read_text())
    shown = [results["test_accuracy"], *results["test_accuracy_interval"], results["majority_test_accuracy"]]
    shown += [results["zero_shot_test_accuracy"], results["test_per_class"]["negative"]["recall"]]
    shown += [results["tfidf_test_accuracy"]]
    for figure in shown:
        assert f"{100 * figure:.1f}\xa0%" in page.text
    assert f"Log loss {results['test_log_loss']:.4f}" in page.text
    assert page.tags.count("figure") == page.tags.count("svg") == 4
    assert not (run_dir / "publication.json").exists() or "report.html" not in (run_dir / "README.md").read_text()


def test_page_loads_nothing_and_runs_nothing(run: Path):
    with (run / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, text in zip(rows, HOSTILE, strict=False):  # the most confident answers, all of them wrong
        row |= {"text": text, "label": "positive", "prediction": "negative"}
        row |= {"probability_negative": "0.999", "probability_positive": "0.001"}
    with (run / "test_predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    findings = json.loads((run / "report.json").read_text(encoding="utf-8"))
    findings["words"] = {text: [[0, 2, 0.3], [2, 5, -0.1]] for text in HOSTILE}  # in the middle of their markup
    errors, pairs = findings["label_errors"]["test"]["rows"], findings["near_duplicates"]["test"]["pairs"]
    for text in HOSTILE:
        errors.append({"row": 0, "text": text, "label": text, "likely": text, "probability": 0.9})
        pairs.append({"row": 0, "train_row": 0, "cosine": 1.0, "text": text, "train_text": text})
    findings["left_out"] = list(HOSTILE)
    (run / "report.json").write_text(json.dumps(findings), encoding="utf-8")
    written = save_report(run).read_text(encoding="utf-8")
    page = Page(written)
    assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    linked = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    inside = ("#", "data:image/png;base64,")  # parts of a plot refer to each other
    assert all(value.startswith(inside) for value in linked if value)
    assert all(page.text.count(text) == 7 for text in HOSTILE), "they are shown as they are written"


def test_least_certain_and_most_confident_texts_are_listed(run: Path):
    with (run / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    least = min(rows, key=lambda row: max(float(row["probability_negative"]), float(row["probability_positive"])))
    text = Page(save_report(run).read_text(encoding="utf-8")).text
    assert least["text"] in text[text.index("least certain") :]


def test_words_that_mattered_are_marked_and_not_by_color_alone(run: Path):
    findings = json.loads((run / "report.json").read_text(encoding="utf-8"))
    text = next(iter(findings["words"]))
    findings["words"] = {text: [[0, 2, 0.3], [3, 5, -0.1], [6, 7, 0.01]]}
    (run / "report.json").write_text(json.dumps(findings), encoding="utf-8")
    written = save_report(run).read_text(encoding="utf-8")
    for word, kind, by in ((text[:2], "for strong", "+30.0"), (text[3:5], "against", "−10.0")):
        assert f'<mark class="{kind}" title="{by} points">{escape(word)}</mark>' in written
    assert written.count("</mark>") in (5, 7), "the legend has three, and a text may be in both lists"
    assert "mark.for::after" in written
    assert "4 forward passes" in " ".join(Page(written).text.split())


def test_words_are_those_of_the_saved_model_and_are_measured_once(run: Path):
    """Training measures with the model that it holds; the command loads it, if that was not done yet."""
    measured = json.loads((run / "report.json").read_text(encoding="utf-8"))["words"]
    assert len(measured) >= 3
    (run / "report.json").unlink()
    save_report(run, add_words(run))
    again = json.loads((run / "report.json").read_text(encoding="utf-8"))["words"]
    assert list(again) == list(measured)
    for text, words in measured.items():
        np.testing.assert_allclose(again[text], words, atol=2e-4)
    (run / "model.safetensors").unlink()
    save_report(run, add_words(run))


def test_a_better_baseline_is_said_to_be_better(run: Path):
    results = json.loads((run / "all_results.json").read_text())
    (run / "all_results.json").write_text(json.dumps(results | {"tfidf_test_accuracy": 0.99}))
    text = " ".join(Page(save_report(run).read_text(encoding="utf-8")).text.split())
    assert "worse than TF-IDF with logistic regression on the same train rows" in text


def test_rows_that_are_harder_or_known_are_counted_apart(run: Path):
    findings = json.loads((run / "report.json").read_text(encoding="utf-8"))
    findings["near_duplicates"]["test"] |= {"equal": list(range(30)), "similar": [40]}
    findings["truncated"] = {"limit": 1024, "rows": list(range(25))}
    (run / "report.json").write_text(json.dumps(findings), encoding="utf-8")
    text = " ".join(Page(save_report(run).read_text(encoding="utf-8")).text.split())
    assert "that are also in train30" in text
    assert "that were truncated (1,024 tokens with prompt)25" in text
    assert "almost the same as one in train" not in text, "of one row, the accuracy says nothing"
    assert (
        "Of 100 test rows, 30 have a text that is also in train, and 1 more have one that is almost the same." in text
    )


def test_labels_may_be_of_any_kind(tmp_path: Path):
    """Numbers, other scripts, and a label that the table writes as NA."""
    labels = ["NA", "10", "退款"]
    rows = [f"text {number},{labels[number % 3]},{labels[0]},x,0.5,0.3,0.2" for number in range(30)]
    head = ["text,label,prediction,generated_text", *(f"probability_{label}" for label in labels)]
    (tmp_path / "test_predictions.csv").write_text("\n".join([",".join(head), *rows]) + "\n", encoding="utf-8")
    per_class = dict.fromkeys(labels, {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 10})
    figures = {"accuracy": 1 / 3, "accuracy_interval": [0.2, 0.5], "confusion_matrix": [[10, 0, 0]] * 3}
    figures |= {"per_class": per_class, "log_loss": 1.0, "expected_calibration_error": 0.1}
    (tmp_path / "all_results.json").write_text(json.dumps({f"test_{name}": value for name, value in figures.items()}))
    page = Page(save_report(tmp_path).read_text(encoding="utf-8"))
    assert "33.3\xa0% of 30 test texts get the right label" in page.text
    assert page.tags.count("svg") == 3, "without checkpoints, there is no training curve"
    assert all(label in page.text for label in labels)


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="contains no finished run with predictions"):
        save_report(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "hf_sentiment_ft.report", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "contains no finished run" in done.stderr
    assert not list(tmp_path.glob("*.html"))
