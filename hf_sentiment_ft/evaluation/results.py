"""The results of a run, and the files that they are saved in."""

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sampling import StreamedRows
from ..data.splits import UNLABELLED_TEST, reported_split
from .baselines import ZeroShotBaseline, baselines_of_answers, majority_accuracy
from .evaluated import MULTI_LABEL, SEVERAL_COLUMNS
from .label_sets import labels_summary
from .plots import save_plots
from .prediction_files import save_answers, save_predictions
from .predictions import Predictions, report
from .tfidf import tfidf_accuracy

if TYPE_CHECKING:
    from ..data.splits import LabelledSplits
    from ..label_words.questions import Questions
    from ..label_words.verbalizer import Verbalizer
    from ..training.trainer import LabelWordTrainer

BASELINES = {
    "without calibration": "test_uncalibrated_accuracy",
    "zero-shot": "zero_shot_test_accuracy",
    "zero-shot, calibrated": "zero_shot_test_calibrated_accuracy",
    "TF-IDF with logistic regression": "tfidf_test_accuracy",
    "majority class": "majority_test_accuracy",
}


def save_results(
    trainer: "LabelWordTrainer",
    data: "LabelledSplits",
    predictions: dict[str, Predictions],
    train_metrics: dict[str, Any],
    untouched: ZeroShotBaseline | None = None,
) -> dict[str, Any]:
    """Save the metrics of a run, its predictions on the reported split, and, if it was trained, its plots.

    Args:
        trainer: Trainer that has trained and predicted.
        data: Labelled rows.
        predictions: Predictions of the trained model by split: `validation` and, if there is one, `test`.
        train_metrics: Metrics that `Trainer.train` returned; empty if nothing was trained.
        untouched: Predictions of the model before fine-tuning, on the test split; None if nothing was trained.

    Returns:
        All metrics, as in `all_results.json`: `test_...` and `eval_...` for the trained model, `zero_shot_test_...`,
        `majority_test_accuracy` and, if a model was trained, `tfidf_test_accuracy` for the baselines, and `train_...`.
    """
    folder, verbalizer, tokenizer = Path(trainer.args.output_dir), trainer.verbalizer, trainer.processing_class
    questions = trainer.questions
    if isinstance(rows := trainer.train_dataset, StreamedRows):
        seen = trainer.state.global_step * trainer.get_total_train_batch_size(trainer.args)
        train_metrics |= {"train_streamed_rows": seen, "train_streamed_truncated": rows.num_truncated}
        data.notes.append(rows.describe(seen))
    figures = {"train": train_metrics} if train_metrics else {}
    if "validation" in predictions:
        figures["eval"] = _figures("eval", predictions["validation"], verbalizer, questions)
    if "test" in predictions:
        figures["test"] = _figures("test", predictions["test"], verbalizer, questions)
        figures["test"] |= _baselines(data, questions, trained=bool(train_metrics))
        if untouched and untouched.predictions:
            figures["test"] |= _figures("zero_shot_test", untouched.predictions, verbalizer, questions)
        if untouched and untouched.calibrated:
            calibrated = report(untouched.calibrated, verbalizer)
            figures["test"] |= {f"zero_shot_test_calibrated_{name}": value for name, value in calibrated.items()}
    split, prefix = reported_split(predictions)
    if questions:
        kind = MULTI_LABEL if questions.multi_label else SEVERAL_COLUMNS
        figures[prefix] = {"problem_type": kind, "label_separator": questions.separator} | figures[prefix]
    for name, of_split in ((f"{prefix}_predictions.csv", split), ("test_predictions.csv", UNLABELLED_TEST)):
        if of_split in predictions:
            rows = data.splits[of_split]
            if questions:
                save_answers(folder / name, predictions[of_split], rows, verbalizer.labels, questions, tokenizer)
                continue
            save_predictions(folder / name, predictions[of_split], rows, verbalizer.labels, tokenizer)
    for split, split_figures in figures.items():
        trainer.save_metrics(split, split_figures)
    results = {name: value for split_figures in figures.values() for name, value in split_figures.items()}
    if train_metrics:
        save_plots(folder, results, predictions, verbalizer.labels, trainer.state.log_history)
    return results


def add_results(folder: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Add metrics to the `all_results.json` of a finished run, and return all of them."""
    path = folder / "all_results.json"
    results = json.loads(path.read_text(encoding="utf-8")) | more
    path.write_text(json.dumps(results, indent=4, sort_keys=True) + "\n", encoding="utf-8")  # as Trainer writes it
    return dict(results)


def _baselines(data: "LabelledSplits", questions: "Questions | None", trained: bool) -> dict[str, Any]:
    """Return the test metrics of always the most frequent label and, if a model was trained, of TF-IDF."""
    if questions:
        return baselines_of_answers(data, questions, trained)
    figures = {"majority_test_accuracy": majority_accuracy(data.splits["train"], data.splits["test"])}
    if trained and data.stream is None:
        counted = tfidf_accuracy(data.splits["train"], data.splits["test"])
        figures |= {} if counted is None else {"tfidf_test_accuracy": counted}
    return figures


def _figures(
    prefix: str, predictions: Predictions, verbalizer: "Verbalizer", questions: "Questions | None"
) -> dict[str, Any]:
    """Merge Trainer's loss and speed with our own metrics, under one prefix."""
    timing = {name.removeprefix("test_"): value for name, value in predictions.metrics.items()}
    timing.pop("model_preparation_time", None)
    return {f"{prefix}_{name}": value for name, value in (timing | report(predictions, verbalizer, questions)).items()}


def summary(results: dict[str, Any], output_dir: str | None) -> str:
    """Summarize a run in its closing lines: the accuracy, the baselines, and where the output is.

    Args:
        results: Return value of `save_results`.
        output_dir: Output folder.
    """
    lines = []
    if results.get("problem_type") == MULTI_LABEL:
        lines += labels_summary(results)
    elif results.get("problem_type") == SEVERAL_COLUMNS:
        lines += _columns_summary(results)
    elif "test_accuracy" in results:
        low, high = results["test_accuracy_interval"]
        lines.append(
            f"test accuracy {results['test_accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), "
            f"generation accuracy {results['test_generation_accuracy']:.1%}"
        )
        lines += [f"  {name} {results[key]:.1%}" for name, key in BASELINES.items() if key in results]
    else:
        lines.append(f"validation accuracy {results['eval_accuracy']:.1%} (no test split with labels)")
    prefix = "test" if "test_accuracy" in results else "eval"
    if f"{prefix}_within_one_accuracy" in results:
        lines.append(
            f"mean absolute error {results[f'{prefix}_mean_absolute_error']:.3f}; "
            f"{results[f'{prefix}_within_one_accuracy']:.1%} at most one step off"
        )
    if f"{prefix}_soft_log_loss" in results:
        lines.append(
            f"log loss against the shares of votes {results[f'{prefix}_soft_log_loss']:.4f}; "
            f"at best {results[f'{prefix}_label_entropy']:.4f}, since annotators disagree"
        )
    if "seeds" in results:
        seeds = results["seeds"]
        lines.append(
            f"{len(seeds['runs'])} seeds: {seeds['split']} accuracy {seeds['mean_accuracy']:.1%} on average, with a "
            f"standard deviation of {100 * seeds['std_accuracy']:.1f} points; kept seed {seeds['kept']}, which has the "
            f"best {seeds['metric'].replace('_', ' ')} on validation"
        )
    lines.append(f"model, card, results and predictions: {output_dir}")
    return "\n".join(lines)


def _columns_summary(results: dict[str, Any]) -> list[str]:
    """Return a line for each label column, and one for all of them."""
    split, prefix = ("test", "test_") if "test_columns" in results else ("validation", "eval_")
    lines = []
    for name, figures in results[f"{prefix}columns"].items():
        others = {"TF-IDF": "tfidf_test_columns", "majority": "majority_test_columns"}
        beside = [f"{other} {results[key][name]:.1%}" for other, key in others.items() if name in results.get(key, {})]
        if zero_shot := results.get("zero_shot_test_columns"):
            beside.insert(0, f"zero-shot {zero_shot[name]['accuracy']:.1%}")
        lines.append(
            f"{name}: {split} accuracy {figures['accuracy']:.1%}" + (f" ({', '.join(beside)})" if beside else "")
        )
    low, high = results[f"{prefix}accuracy_interval"]
    all_right = f"all columns right in {results[f'{prefix}accuracy']:.1%} of texts"
    return [*lines, f"{all_right} (95 % interval {low:.1%} to {high:.1%})"]


FIGURES = {
    "accuracy": "accuracy",
    "generation_accuracy": "generation accuracy",
    "f1_macro": "macro F1",
    "log_loss": "log loss",
    "brier_score": "Brier score",
    "expected_calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating one model.

    Attributes:
        model: Name of the model, as given by the user.
        split: Split that was evaluated.
        results: Metrics without a prefix.
        correct: Whether the label with the best score was right, (rows,), in the order of the dataset.
    """

    model: str
    split: str
    results: dict[str, Any]
    correct: "np.ndarray[Any, Any]"


def compare(evaluations: list[Evaluation]) -> dict[str, Any]:
    """Build the contents of `comparison.json`: the metrics of each model, and a test of each pair of models.

    Args:
        evaluations: One evaluation for each model, all on the same rows.
    """
    from .metrics import mcnemar  # imports evaluate, which takes seconds

    return {
        "split": evaluations[0].split,
        "rows": len(evaluations[0].correct),
        "models": [{"model": one.model, **one.results} for one in evaluations],
        "pairs": [
            {"first": first.model, "second": second.model, **mcnemar(first.correct, second.correct)}
            for first, second in combinations(evaluations, 2)
        ],
    }


def comparison_table(comparison: dict[str, Any]) -> str:
    """Format the return value of `compare` as Markdown tables."""
    lines = [
        f"{comparison['split']} split, {comparison['rows']} rows",
        "",
        f"| model | {' | '.join(FIGURES.values())} | 95 % interval of the accuracy |",
        "|" + "---|" * (len(FIGURES) + 2),
    ]
    for model in comparison["models"]:
        low, high = model["accuracy_interval"]
        figures = " | ".join(f"{model[name]:.4f}" for name in FIGURES)
        lines.append(f"| {model['model']} | {figures} | {low:.4f} to {high:.4f} |")
    if comparison["pairs"]:
        lines += [
            "",
            "| first | second | only first right | only second right | p (McNemar, exact) |",
            "|" + "---|" * 5,
        ]
    lines += [
        f"| {pair['first']} | {pair['second']} | {pair['only_first_right']} | {pair['only_second_right']} "
        f"| {pair['p_value']:.3g} |"
        for pair in comparison["pairs"]
    ]
    return "\n".join(lines)
