"""The page of a model that gives a text several labels, from made-up results and predictions."""

import csv
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.evaluation import add_words, save_report
from hf_sentiment_ft.evaluation.label_sets import majority_set_metrics, measure_sets

from .test_label_sets import made_up, prefixed
from .test_report_page import HOSTILE, Page

LABELS = ["toxic", "severe_toxic", "threat"]
# Each column is a label. Row 0 has all answers wrong, row 1 one with 0.99, row 2 none.
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
PROBABILITIES = np.array([[0.2, 0.8, 0.7], [0.99, 0.9, 0.1], [0.9, 0.8, 0.3]])


def finished(
    folder: Path,
    labels: list[str],
    probabilities: np.ndarray,
    truth: np.ndarray,
    prefix: str = "test_",
    separator: str = ";",
    baselines: bool = True,
    texts: tuple[str, ...] = (),
) -> Path:
    """Write what a run leaves in its folder, with thresholds of 0.6."""
    figures = measure_sets(probabilities, truth, labels, [0.6] * len(labels))
    results = prefixed(prefix, figures) | {"problem_type": "multi_label_classification", "label_separator": separator}
    if baselines:
        results |= prefixed(f"majority_{prefix}", majority_set_metrics(truth, truth, labels))
    (folder / "all_results.json").write_text(json.dumps(results))
    sets = [[separator.join(np.array(labels)[row]) for row in chosen] for chosen in (truth, probabilities >= 0.6)]
    with (folder / f"{prefix}predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "prediction", *(f"probability_{label}" for label in labels)])
        given = texts or [f"text {row}" for row in range(len(truth))]
        writer.writerows([text, *both, *row] for text, *both, row in zip(given, *sets, probabilities, strict=True))
    return folder


def words_of(report: Path) -> str:
    """The text of a page, with a space between two cells."""
    return " ".join(unescape(re.sub("<[^>]+>", " ", report.read_text(encoding="utf-8"))).split())


def test_figures_and_examples(tmp_path: Path):
    text = words_of(save_report(finished(tmp_path, LABELS, PROBABILITIES, TRUTH)))
    results = json.loads((tmp_path / "all_results.json").read_text())
    assert text.split("Made by")[0].count("None") == 0
    assert f"Micro F1 of {results['test_f1_micro']:.3f} on 3 test texts: " in text
    assert "All labels are right in 33.3 % of the texts (95 % interval 6.1 % to 79.2 %)." in text
    threat = results["test_per_label"]["threat"]
    assert threat["recall"] is None
    assert "threat 0.600 0.0 % (0.0 %–79.3 %) – – 0 1" in text
    wrong = text[text.index("The texts with the most wrong labels") : text.index("most confident wrong answers")]
    assert wrong.index("toxic severe_toxic, threat") < wrong.index("severe_toxic – toxic"), "the most wrong one first"
    assert "2 text" not in wrong.split("too many", 1)[1], "row 2 is right"
    confident = text[text.index("most confident wrong answers") :]
    assert confident.index("toxic gets it, and does not have it 99.0 %") < confident.index(
        "toxic has it, and does not get it 20.0 %"
    )


def test_which_labels_come_together(tmp_path: Path):
    page = save_report(finished(tmp_path, LABELS, PROBABILITIES, TRUTH)).read_text(encoding="utf-8")
    heat = page[page.index('class="heat"') :].split("</table>")[0]
    cells = [cell.split("</td>")[0] for cell in heat.split('<td style="--share: ')[1:]]
    assert cells[:3] == ['1.000">2<br><small>2</small>', '0.500">1<br><small>2</small>', '0.000">0<br><small>0</small>']
    assert len(cells) == 9


def test_labels_and_texts_stay_texts(tmp_path: Path):
    wrong = np.eye(len(HOSTILE))
    folder = finished(tmp_path, list(HOSTILE), wrong, wrong == 0, separator="\t", texts=HOSTILE)
    page = Page(save_report(folder).read_text(encoding="utf-8"))
    assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(page.text.count(text) > 8 for text in HOSTILE), "they are shown as they are written"


def test_a_hundred_labels_without_baselines_and_test_split(tmp_path: Path):
    probabilities, truth = made_up(40, 100)
    labels = [f"label {number}" for number in range(100)]
    folder = finished(tmp_path, labels, probabilities, truth, prefix="eval_", baselines=False)
    page = save_report(folder)
    assert "There are no baselines to compare with." in words_of(page)
    assert "on 40 validation texts" in words_of(page)
    assert "These are the 20 most frequent of 100 labels." in words_of(page)
    assert page.read_text(encoding="utf-8").count("--share:") == 400
    assert all(label in words_of(page) for label in labels)


def test_a_better_baseline_is_said_to_be_better(tmp_path: Path):
    folder = finished(tmp_path, LABELS, PROBABILITIES, TRUTH)
    results = json.loads((folder / "all_results.json").read_text()) | {"majority_test_f1_micro": 0.99}
    (folder / "all_results.json").write_text(json.dumps(results))
    assert "By micro F1, this model is worse than always the same labels." in words_of(save_report(folder))


def test_all_right_leaves_out_the_mistakes(tmp_path: Path):
    folder = finished(tmp_path, ["a", "b"], np.array([[0.9, 0.1], [0.1, 0.2]]), np.array([[1, 0], [0, 0]], bool))
    assert "most wrong" not in words_of(save_report(folder))


def test_words_are_not_measured(tmp_path: Path):
    """The model is not even loaded."""
    folder = finished(tmp_path, LABELS, PROBABILITIES, TRUTH)
    (folder / "config.json").write_text("{}")
    save_report(folder, add_words(folder))
    assert json.loads((folder / "report.json").read_text()) == {}


def test_a_folder_without_predictions_is_refused(tmp_path: Path):
    folder = finished(tmp_path, LABELS, PROBABILITIES, TRUTH)
    (folder / "test_predictions.csv").unlink()
    with pytest.raises(UsageError, match="contains no finished run with predictions"):
        save_report(folder)
