"""What a run found out, and the files that keep it."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .data import UNLABELLED_TEST
from .sampling import StreamedRows
from .scoring import label_probabilities

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers.trainer_utils import PredictionOutput

    from .data import LabelledSplits
    from .trainer import LabelWordTrainer

BASELINES = {
    "without calibration": "test_uncalibrated_accuracy",
    "zero-shot": "zero_shot_test_accuracy",
    "zero-shot, calibrated": "zero_shot_test_calibrated_accuracy",
    "majority class": "majority_test_accuracy",
}


def majority_accuracy(train: "Dataset", test: "Dataset") -> float:
    """Accuracy on test of always answering the most frequent label of train."""
    most_frequent = np.bincount(train["label"][:]).argmax()
    return float(np.mean(np.asarray(test["label"][:]) == most_frequent))


def save_results(
    trainer: "LabelWordTrainer",
    data: "LabelledSplits",
    zero_shot: "PredictionOutput | None",
    predictions: "dict[str, PredictionOutput]",
    train_metrics: dict[str, Any],
    calibrated_zero_shot: "PredictionOutput | None" = None,
) -> dict[str, Any]:
    """Write the figures of a run, and its predictions on the test split or, without one, on the validation split.

    Args:
        trainer: What trained and predicted.
        data: The rows.
        zero_shot: The untouched model's predictions on the test split.
        predictions: The trained model's, on `validation` and, unless there is none, `test`.
        train_metrics: What `Trainer.train` returned, empty where nothing was trained.
        calibrated_zero_shot: The untouched model's predictions after calibration.

    Returns:
        All figures, as in `all_results.json`: `test_...` and `eval_...` for the trained model, `zero_shot_test_...` and
        `majority_test_accuracy` for the baselines, `train_...`.
    """
    if isinstance(rows := trainer.train_dataset, StreamedRows):
        seen = trainer.state.global_step * trainer.get_total_train_batch_size(trainer.args)
        train_metrics |= {"train_streamed_rows": seen, "train_streamed_truncated": rows.num_truncated}
        data.notes.append(rows.describe(seen))
    figures = {"train": train_metrics} if train_metrics else {}
    if "validation" in predictions:
        figures["eval"] = _figures("eval", trainer, predictions["validation"])
    if "test" in predictions:
        majority = majority_accuracy(data.splits["train"], data.splits["test"])
        figures["test"] = _figures("test", trainer, predictions["test"]) | {"majority_test_accuracy": majority}
        if zero_shot is not None:
            figures["test"] |= _figures("zero_shot_test", trainer, zero_shot)
        if calibrated_zero_shot is not None:
            report = trainer.report(calibrated_zero_shot)
            figures["test"] |= {f"zero_shot_test_calibrated_{name}": value for name, value in report.items()}
    split, prefix = ("test", "test") if "test" in predictions else ("validation", "eval")
    path = Path(trainer.args.output_dir, f"{prefix}_predictions.csv")
    save_predictions(path, trainer, predictions[split], data.splits[split])
    if UNLABELLED_TEST in predictions:
        path = Path(trainer.args.output_dir, "test_predictions.csv")
        save_predictions(path, trainer, predictions[UNLABELLED_TEST], data.splits[UNLABELLED_TEST])
    for split, split_figures in figures.items():
        trainer.save_metrics(split, split_figures)
    return {name: value for split_figures in figures.values() for name, value in split_figures.items()}


def _figures(prefix: str, trainer: "LabelWordTrainer", prediction: "PredictionOutput") -> dict[str, Any]:
    """Trainer's loss and speed, and every figure of ours, under one prefix."""
    timing = {name.removeprefix("test_"): value for name, value in prediction.metrics.items()}
    timing.pop("model_preparation_time", None)
    return {f"{prefix}_{name}": value for name, value in (timing | trainer.report(prediction)).items()}


def save_predictions(
    path: Path, trainer: "LabelWordTrainer", prediction: "PredictionOutput", dataset: "Dataset"
) -> None:
    """Write one line for each row, in the order of the data set.

    Columns: `text`, `label` (unless there are no labels), `prediction` (the label with the best score),
    `generated_text` (what `pipeline` says), and `probability_LABEL` for each label.
    """
    labels, tokenizer = trainer.verbalizer.labels, trainer.processing_class
    scores, tokens, _ = prediction.predictions
    order = np.argsort(np.asarray(prediction.label_ids)[:, 1])  # row number: evaluation goes by length
    probabilities = label_probabilities(scores)[order]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        known = [column for column in ("text", "label") if column in dataset.column_names]
        writer.writerow([*known, "prediction", "generated_text", *(f"probability_{label}" for label in labels)])
        for row, row_probabilities, generated in zip(dataset, probabilities, tokens[order].tolist(), strict=True):
            word = tokenizer.decode([token for token in generated if token >= 0], skip_special_tokens=True)
            best = labels[int(row_probabilities.argmax())]
            gold = [labels[row["label"]]] if "label" in known else []
            writer.writerow([row["text"], *gold, best, word, *(f"{p:.6f}" for p in row_probabilities)])


def summary(results: dict[str, Any], output_dir: str | None) -> str:
    """The closing lines of a run: how good, against what, and where it is."""
    lines = []
    if "test_accuracy" in results:
        low, high = results["test_accuracy_interval"]
        lines.append(
            f"test accuracy {results['test_accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), "
            f"as pipeline generates {results['test_generation_accuracy']:.1%}"
        )
        lines += [f"  {name} {results[key]:.1%}" for name, key in BASELINES.items() if key in results]
    else:
        lines.append(f"validation accuracy {results['eval_accuracy']:.1%} (no test split with labels)")
    lines.append(f"model, card, results and predictions: {output_dir}")
    return "\n".join(lines)
