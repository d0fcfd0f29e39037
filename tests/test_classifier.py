"""The Python interface: scikit-learn's conventions, and the training command as a function."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_sentiment_ft import LabelWordClassifier
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities

from .conftest import ROOT

TICKETS = {"billing": "I was charged twice", "shipping": "the parcel is lost", "tech": "the app crashes"}
TEXTS = [f"{text}, number {number}" for number in range(8) for text in TICKETS.values()]
LABELS = list(TICKETS) * 8
QUICK = {
    "max_steps": 2,
    "zero_shot_baseline": False,
    "disable_tqdm": True,
    "save_strategy": "no",
    "eval_strategy": "no",
}
QUICK |= {"load_best_model_at_end": False}


def test_importing_the_package_is_quick():
    heavy = ("torch", "transformers", "sklearn", "numpy", "datasets")
    code = f"import sys, hf_sentiment_ft; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_trained_model_predicts_as_the_command_does(run_dir: Path):
    classifier = LabelWordClassifier.from_pretrained(str(run_dir), batch_size=2, device="cpu")
    texts = ["great film", "a slow and rather pointless evening", "x"]
    loaded = load_label_word_model(str(run_dir))
    expected = predict_probabilities(loaded, texts, batch_size=1)
    assert classifier.classes_.tolist() == loaded.verbalizer.labels
    np.testing.assert_allclose(classifier.predict_proba(np.array(texts)), expected, atol=1e-5)
    best = [loaded.verbalizer.labels[number] for number in expected.argmax(axis=1)]
    assert classifier.predict(texts).tolist() == best


def test_scikit_learn_trains_and_measures_it(tiny_gpt2: Path):
    from sklearn.metrics import classification_report
    from sklearn.model_selection import cross_val_predict

    classifier = LabelWordClassifier(str(tiny_gpt2), training_flags=QUICK)
    predicted = cross_val_predict(classifier, TEXTS, LABELS, cv=2)
    assert set(predicted) <= set(TICKETS)
    assert "billing" in classification_report(LABELS, predicted, zero_division=0)


def test_labels_come_back_as_they_were_given(tiny_gpt2: Path, tmp_path: Path):
    numbers = [10 if label == "tech" else 9 for label in LABELS]
    classifier = LabelWordClassifier(str(tiny_gpt2), output_dir=str(tmp_path / "run"), training_flags=QUICK)
    assert classifier.fit(TEXTS, numbers) is classifier
    assert classifier.classes_.tolist() == [9, 10]
    assert set(classifier.predict(TEXTS)) <= {9, 10}
    by_label = dict(zip(classifier._loaded.verbalizer.labels, classifier._loaded.verbalizer.token_ids, strict=True))
    assert set(by_label) == {"9", "10"}
    raw = predict_probabilities(classifier._loaded, TEXTS[:4], 4)
    nine = classifier._loaded.verbalizer.labels.index("9")
    np.testing.assert_allclose(classifier.predict_proba(TEXTS[:4])[:, 0], raw[:, nine])
    assert (tmp_path / "run" / "README.md").is_file(), "it can be published"


def test_training_from_python_returns_the_metrics(tiny_gpt2: Path, tmp_path: Path):
    from accelerate import notebook_launcher

    from hf_sentiment_ft.train import train

    table = tmp_path / "tickets.jsonl"
    rows = [json.dumps({"text": text, "label": label}) for text, label in zip(TEXTS, LABELS, strict=True)]
    table.write_text("\n".join(rows), encoding="utf-8")
    kept = {}

    def trained() -> None:
        given = {"label_words": {"billing": " money", "shipping": " way", "tech": " app"}, "report_to": ["none"]}
        kept["results"] = train(
            model_name_or_path=tiny_gpt2, train_file=table, output_dir=tmp_path / "run", resume_from_checkpoint=None,
            **given, **QUICK,
        )  # fmt: skip

    notebook_launcher(trained, num_processes=1)
    saved = json.loads((tmp_path / "run" / "all_results.json").read_text())
    assert kept["results"]["test_accuracy"] == saved["test_accuracy"]
    assert load_label_word_model(str(tmp_path / "run")).verbalizer.words == [" money", " way", " app"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("great film", "one text was given, 'great film'; expected a list of texts"),
        ([""], "has no text"),
        ([None], "has no text"),
        ([3], "expected a string"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts: object, message: str, run_dir: Path):
    classifier = LabelWordClassifier.from_pretrained(str(run_dir))
    with pytest.raises(UsageError, match=message):
        classifier.predict(texts)  # type: ignore[arg-type]


def test_unequal_numbers_of_texts_and_labels_are_refused(tiny_gpt2: Path):
    with pytest.raises(UsageError, match="there are 2 texts and 1 labels"):
        LabelWordClassifier(str(tiny_gpt2)).fit(["a", "b"], ["x"])
