"""The files in which a run saves its results."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_sentiment_ft.label_words.verbalizer import Verbalizer

from ..tiny import base_tokenizer, reference_scores, tiny_model

TEXTS = ["plain", 'with, comma and "quotes"', "two\nlines", "é 🎬", "  spaces  ", "a rather long text " * 2] * 3
LABELS = [number % 2 for number in range(len(TEXTS))]
WORDS = Verbalizer(["bad one", "good"], [" negative", " positive"], [[17, 0], [18, 19]])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a trainer with an untrained model, its rows, and its predictions, which were made in order of length."""
    from datasets import ClassLabel, Dataset, Features, Value
    from transformers import TrainingArguments

    from hf_sentiment_ft.data.splits import LabelledSplits
    from hf_sentiment_ft.evaluation.predictions import Predictions
    from hf_sentiment_ft.training.trainer import LabelWordTrainer

    features = Features({"text": Value("string"), "label": ClassLabel(names=WORDS.labels)})
    rows = Dataset.from_dict({"text": TEXTS, "label": LABELS}, features=features)
    train = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 1, 0]}, features=features)
    ids = base_tokenizer("gpt2")(TEXTS).input_ids
    tokenized = Dataset.from_dict(
        {"input_ids": ids, "labels": [list(pair) for pair in zip(LABELS, range(len(ids)), strict=True)],
         "length": [len(row) for row in ids]}
    )  # fmt: skip
    args = TrainingArguments(
        output_dir=str(tmp_path_factory.mktemp("run")), report_to="none", per_device_eval_batch_size=4,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = LabelWordTrainer(
        verbalizer=WORDS, precision="fp32", model=tiny_model(), args=args, processing_class=base_tokenizer("gpt2")
    )
    output = trainer.predict(tokenized)
    return {
        "trainer": trainer,
        "data": LabelledSplits({"train": train, "validation": rows, "test": rows}, WORDS.labels),
        "output": output,
        "prediction": Predictions.of(output, constrained=False),
        "scores": reference_scores(trainer.model, ids, WORDS.token_ids).numpy(),
        "first_tokens": [trainer.model(**_one(row)).logits[0, -1].argmax().item() for row in ids],
    }


def _one(ids: list[int]) -> dict[str, Any]:
    import torch

    return {"input_ids": torch.tensor([ids])}


@pytest.fixture(scope="module")
def table(finished: dict[str, Any]) -> list[dict[str, str]]:
    from hf_sentiment_ft.evaluation.prediction_files import save_predictions

    path = Path(finished["trainer"].args.output_dir, "predictions.csv")
    rows = finished["data"].splits["test"]
    save_predictions(path, finished["prediction"], rows, WORDS.labels, base_tokenizer("gpt2"))
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_have_a_line_for_each_row_in_the_data_sets_order(finished: dict[str, Any], table):
    assert list(table[0]) == [
        "text", "label", "prediction", "generated_text", "probability_bad one", "probability_good",
    ]  # fmt: skip
    assert [row["text"] for row in table] == TEXTS
    assert [row["label"] for row in table] == [WORDS.labels[label] for label in LABELS]
    numbers = finished["output"].label_ids[:, 1].tolist()
    assert numbers != sorted(numbers), "Trainer returns them in another order"


def test_probabilities_and_predictions_belong_to_their_row(finished: dict[str, Any], table):
    from hf_sentiment_ft.label_words.scoring import label_probabilities

    written = np.array([[float(row["probability_bad one"]), float(row["probability_good"])] for row in table])
    np.testing.assert_allclose(written, label_probabilities(finished["scores"]), atol=1e-4)
    assert [row["prediction"] for row in table] == [WORDS.labels[best] for best in finished["scores"].argmax(1)]
    assert len({row["prediction"] for row in table}) == 2, "otherwise, any order would pass"


def test_generated_text_is_what_the_model_says(finished: dict[str, Any], table):
    decode = base_tokenizer("gpt2").decode
    for row, first in zip(table, finished["first_tokens"], strict=True):
        assert row["generated_text"].startswith(decode([first], skip_special_tokens=True))


def test_results_hold_every_split_and_baseline(finished: dict[str, Any]):
    from hf_sentiment_ft.evaluation.baselines import ZeroShotBaseline
    from hf_sentiment_ft.evaluation.results import save_results

    trainer, prediction = finished["trainer"], finished["prediction"]
    both = {"validation": prediction, "test": prediction}
    untouched = ZeroShotBaseline(trainer, None)
    untouched.predictions = prediction
    results = save_results(trainer, finished["data"], both, {"train_loss": 0.5}, untouched)
    folder = Path(trainer.args.output_dir)
    assert json.loads((folder / "all_results.json").read_text()) == results
    assert {"train_results.json", "eval_results.json", "test_results.json"} <= {path.name for path in folder.iterdir()}
    assert results["train_loss"] == 0.5
    right = np.mean(finished["scores"].argmax(1) == LABELS)
    for prefix in ("eval", "test", "zero_shot_test"):
        assert results[f"{prefix}_accuracy"] == pytest.approx(right)
        assert results[f"{prefix}_loss"] > 0
        assert set(results[f"{prefix}_per_class"]) == set(WORDS.labels)
    assert results["majority_test_accuracy"] == pytest.approx(0.5), "the most frequent label of train is 'good'"
    assert (folder / "test_predictions.csv").is_file()
    assert not any(name.startswith("test_test_") for name in results)


def test_results_without_a_test_split_or_baseline(finished: dict[str, Any]):
    from hf_sentiment_ft.evaluation.results import save_results

    results = save_results(finished["trainer"], finished["data"], {"validation": finished["prediction"]}, {})
    assert "eval_accuracy" in results
    assert not any("test_" in name for name in results)


@pytest.mark.parametrize(("train", "expected"), [([0, 1, 1], 0.75), ([0, 0, 1], 0.25), ([2, 2, 2], 0.0)])
def test_majority_accuracy_is_of_trains_most_frequent_label(train: list[int], expected: float):
    from datasets import Dataset

    from hf_sentiment_ft.evaluation.baselines import majority_accuracy

    test = Dataset.from_dict({"label": [1, 1, 0, 1]})
    assert majority_accuracy(Dataset.from_dict({"label": train}), test) == expected


def test_summary_says_how_good_against_what_and_where():
    from hf_sentiment_ft.evaluation.results import summary

    results = {"test_accuracy": 0.875, "test_accuracy_interval": [0.8, 0.93], "test_generation_accuracy": 0.5}
    baselines = {"zero_shot_test_accuracy": 0.625, "majority_test_accuracy": 0.25}
    lines = summary(results | baselines, "./output").splitlines()
    assert lines[0] == "test accuracy 87.5% (95 % interval 80.0% to 93.0%), generation accuracy 50.0%"
    assert [line.split() for line in lines[1:3]] == [["zero-shot", "62.5%"], ["majority", "class", "25.0%"]]
    assert lines[-1].endswith("./output")
    assert "zero-shot" not in summary(results, "./output")
    assert summary({"eval_accuracy": 0.5}, "x").startswith("validation accuracy 50.0% (no test split with labels)")
