"""The card of a model that gives a text several labels: its figures, and what it says about thresholds."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft.evaluation.label_sets import NEVER, choose_thresholds, majority_set_metrics, measure_sets
from hf_sentiment_ft.publishing.card import render_card

from .test_model_card import numbers_in_results

FEW = ["toxic", "severe_toxic", "in|sult"]


def label_sets(labels: list[str], rows: int = 60) -> dict[str, Any]:
    """What a run with these labels puts into its card, of made-up rows that never have the last label."""
    random = np.random.default_rng(0)
    truth = random.random((rows, len(labels))) < 0.3
    truth[:, -1] = False
    probabilities = 1 / (1 + np.exp(-(2 * truth - 1.5 + random.normal(0, 1, truth.shape))))
    thresholds = choose_thresholds(probabilities, truth)
    thresholds[-1] = NEVER
    measured = measure_sets(probabilities, truth, labels, thresholds) | {"rows": rows, "temperature": 1.2345}
    baseline = majority_set_metrics(truth, truth, labels)
    kept = {name: baseline[name] for name in ("f1_micro", "f1_macro", "exact_match")}
    return {
        "labels": labels,
        "separator": ";",
        "question": "\n{label}",
        "thresholds": dict(zip(labels, thresholds, strict=True)),
        "test": measured,
        "validation": measured,
        "baselines": {"zero_shot": kept, "tfidf": kept, "majority": kept},
    }


def card_of(run: Path, sets: dict[str, Any], **changed: Any) -> str:
    values = json.loads((run / "card.json").read_text(encoding="utf-8"))
    return str(render_card(values | {"label_sets": sets} | changed, "user/name"))


def test_figures_are_those_of_the_results(run_dir: Path):
    sets = label_sets(FEW)
    card = card_of(run_dir, sets)
    results = card.split("## Results")[1].split("## Data")[0]
    figures = set(re.findall(r"\b\d\.\d{4}\b", results))
    assert len(figures) > 20
    assert figures <= numbers_in_results(sets)
    toxic, test = sets["test"]["per_label"]["toxic"], sets["test"]
    low, high = toxic["recall_interval"]
    assert f"{toxic['recall']:.4f} ({low:.4f} to {high:.4f}) | {toxic['f1']:.4f} | {toxic['support']} |" in results
    assert "| in&#124;sult | never | – | – | – | 0 |" in results
    assert f"| **this model** | {test['f1_micro']:.4f} | {test['f1_macro']:.4f} | {test['f1_samples']:.4f} |" in results
    assert (
        f"| always the same labels, by their frequency in train | {sets['baselines']['majority']['f1_micro']:.4f} |"
        in (results)
    )
    both, predicted = (test["cooccurrence"][kind][0] for kind in ("true", "predicted"))
    assert f"| toxic | {both[0]} / {predicted[0]} | {both[1]} / {predicted[1]} | 0 / 0 |" in results


def test_what_is_for_a_single_label_is_left_out(run_dir: Path):
    single, card = (
        card_of(run_dir, sets, text_classification=True).split("---\n", 2)[2] for sets in ({}, label_sets(FEW))
    )
    for other in (
        "Confusion matrix",
        "eneration accuracy*",
        "When in doubt",
        "Risk-coverage",
        '"choice"',
        "| label word",
    ):
        assert other in single
        assert other not in card
    for placeholder in ("{{", "}}", "{%", "None", "nan", "\n\n\n"):
        assert placeholder not in card


def test_how_to_ask_for_one_label_and_for_all(run_dir: Path):
    card = " ".join(card_of(run_dir, label_sets(FEW), examples=[]).split())
    assert 'print(classify("your text\\ntoxic", return_full_text=False)' in card
    assert "behind the text stands `\\n{label}`, with the name of a label, in which a space is written for each" in card
    assert 'hf_sentiment_ft.predict --model user/name "your text"' in card
    assert "labels = ['toxic', 'severe_toxic', 'in|sult'] questions = {label: {\"type\": \"noul\"," in card
    assert "underscore" not in card_of(run_dir, label_sets(["a", "b"]))
    refused = card_of(run_dir, label_sets(FEW), decision={"refusal": "its prompt contains <s>."})
    assert '`pipeline("decision")` refuses this model: its prompt contains &#60;s&#62;.' in refused
    assert '"decision"' not in card_of(run_dir, label_sets(FEW), decision=None), "an adapter"


@pytest.mark.parametrize(
    "labels", [FEW, ["a", "b"], [f"label {number}" for number in range(100)], ['"); x("', "\n```"]]
)
def test_code_of_the_card_is_python_whatever_labels_are_called(run_dir: Path, labels: list[str]):
    blocks = card_of(run_dir, label_sets(labels), examples=[]).split("```python\n")[1:]
    assert len(blocks) == 3
    for block in blocks:
        calls = [node for node in ast.walk(ast.parse(block.split("\n```")[0])) if isinstance(node, ast.Call)]
        assert not any(isinstance(call.func, ast.Name) and call.func.id == "x" for call in calls)


def test_of_many_labels_the_most_frequent_are_shown(run_dir: Path):
    sets = label_sets([f"label {number}" for number in range(100)])
    card = card_of(run_dir, sets)
    table = card.split("| label | threshold |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [int(line.split("|")[-2]) for line in table]
    assert len(rows) == 50
    assert rows == sorted((one["support"] for one in sets["test"]["per_label"].values()), reverse=True)[:50]
    assert "`all_results.json` has the others" in card
    pair = sets["test"]["frequent_pairs"][0]
    assert f"| {', '.join(pair['labels'])} | {pair['true']} | {pair['predicted']} |" in card
    assert 'labels = decide.model.config.label_questions["names"]' in card


def test_without_a_test_split_or_with_a_target_precision(run_dir: Path):
    sets = label_sets(FEW)
    card = " ".join(card_of(run_dir, sets | {"test": None, "baselines": None}, reported_split="validation").split())
    assert "These results are for the validation split (60 rows), on which the thresholds were chosen" in card
    assert "The base model's" not in card
    assert "those with the best F1 there" in card
    card = " ".join(card_of(run_dir, sets | {"target_precision": 0.9}).split())
    assert "the lowest at which at least 90 % of the texts that get the label have it" in card
    assert "best F1 there" not in card


def test_several_seeds(run_dir: Path):
    seeds = {"runs": [{}, {}], "kept": 43, "metric": "accuracy", "split": "test"}
    seeds |= {"mean_accuracy": 0.5, "std_accuracy": 0.01}
    card = " ".join(card_of(run_dir, label_sets(FEW), seeds=seeds).split())
    assert "The mean exact match on the test split is 0.5000, with a standard deviation of 0.0100." in card
