"""Files of a finished run → `report.html`, one page without network that shows how good the model is, and where not."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .data_checks import LONGEST, shortened
from .evaluated import (
    MULTI_LABEL,
    SEVERAL_COLUMNS,
    Evaluated,
    EvaluatedSets,
    problem_type,
    read_evaluated,
    read_evaluated_sets,
)
from .findings import read_findings, save_findings
from .plots import calibration_plot, confusion_plot, coverage_plot, training_curve
from .report_columns import column_values
from .report_sets import set_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
TEMPLATE, SETS_TEMPLATE, COLUMNS_TEMPLATE = "report.html.jinja", "report_sets.html.jinja", "report_columns.html.jinja"
MIN_SLICE = 20  # rows; the accuracy of fewer says little
INK = "#010203"  # color of lines and letters in the plots, replaced by that of the page's text
MARKED = 0.05  # least change of the probability for which a word is marked
STRONG = 0.2
BASELINES = {
    "zero_shot_test_accuracy": "the model before training (zero-shot)",
    "tfidf_test_accuracy": "TF-IDF with logistic regression on the same train rows",
    "majority_test_accuracy": "always the most frequent label",
}


def save_report(folder: Path, findings: dict[str, Any] | None = None) -> Path:
    """Write the report of a finished run to its folder, from the files that are in it, and return its path.

    Texts are escaped: nothing in them can become markup or run as a script.

    Args:
        folder: Output folder of the run.
        findings: Return value of `examine_run`, which is saved beside the report; None for what is saved there.

    Raises:
        UsageError: If the folder contains no finished run.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    evaluated: Evaluated | EvaluatedSets | None = None
    findings = read_findings(folder) if findings is None else findings
    kind = problem_type(folder)
    if kind == SEVERAL_COLUMNS:
        results = _results(folder)
        template, values = COLUMNS_TEMPLATE, column_values(folder, results)
    elif kind == MULTI_LABEL:
        results = _results(folder)
        evaluated = read_evaluated_sets(folder, results["label_separator"])
        template, values = SETS_TEMPLATE, set_values(evaluated, results) | _shared_values(evaluated, results)
    else:
        evaluated = read_evaluated(folder)
        results = _results(folder)
        values = label_values(evaluated, results, findings) | _shared_values(evaluated, results)
        template = TEMPLATE
    save_findings(findings, folder)
    figures = {name: Markup(as_svg(figure)) for name, figure in plots(folder, evaluated, results).items()}  # noqa: S704
    values |= {"title": _title(folder), "figures": figures, "seeds": results.get("seeds")}
    templates = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    (folder / PAGE).write_text(environment.get_template(template).render(values), encoding="utf-8")
    return folder / PAGE


def _shared_values(evaluated: Evaluated | EvaluatedSets, results: dict[str, Any]) -> dict[str, Any]:
    """Return what the templates show of the rows and their metrics."""
    metrics = {
        name.removeprefix(evaluated.prefix): value
        for name, value in results.items()
        if name.startswith(evaluated.prefix)
    }
    shown = {"split": evaluated.split, "num_rows": len(evaluated.rows), "labels": evaluated.labels}
    return shown | {"metrics": metrics}


def _results(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "all_results.json").read_text(encoding="utf-8")))


def _title(folder: Path) -> str:
    """Return the model's name as its card has it, or that of the folder."""
    card = folder / "card.json"
    named = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return str(named.get("model_name") or folder.resolve().name)


def label_values(evaluated: Evaluated, results: dict[str, Any], findings: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a run in which a text has one label."""
    return {
        "accuracies": accuracies(results, evaluated.prefix),
        "slices": slices(evaluated, findings),
        "duplicates": findings.get("near_duplicates", {}),
        "label_errors": findings.get("label_errors", {}),
        "left_out": findings.get("left_out", []),
        "words_measured": "words" in findings,
        "num_passes": sum(len(words) + 1 for words in findings.get("words", {}).values() if words),
        "mistakes": texts(evaluated, evaluated.confident_mistakes, findings),
        "uncertain": texts(evaluated, evaluated.least_certain, findings),
    }


def accuracies(results: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return the accuracy of the model with its interval, then those of the baselines, as far as they are known."""
    low, high = results[f"{prefix}accuracy_interval"]
    found = [{"name": "this model", "value": results[f"{prefix}accuracy"], "low": low, "high": high}]
    return found + [{"name": name, "value": results[key]} for key, name in BASELINES.items() if key in results]


def slices(evaluated: Evaluated, findings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the accuracy on parts of the rows that models often find harder; parts of few rows are left out."""
    lengths = evaluated.rows["text"].str.len().to_numpy()
    short, long = np.quantile(lengths, [0.25, 0.75])
    lower = evaluated.rows["text"].str.lower()
    named = "|".join(re.escape(label.lower()) for label in evaluated.labels)
    duplicates = findings.get("near_duplicates", {}).get(evaluated.split, {})
    parts = {
        "all rows": np.ones(len(lengths), bool),
        f"shortest quarter (up to {short:.0f} characters)": lengths <= short,
        f"longest quarter (from {long:.0f} characters)": lengths >= long,
        "with a negation (not, no, never, n't)": lower.str.contains(r"\b(?:not|no|never)\b|n't").to_numpy(),
        "that contain the name of a label": lower.str.contains(named).to_numpy(),
    }
    chosen = {"that are also in train": duplicates.get("equal", [])}
    chosen["that are almost the same as one in train"] = duplicates.get("similar", [])
    for name, what in (("truncated", "that were truncated"), ("longer_than_train", "longer than train texts may be")):
        if name in findings:
            chosen[f"{what} ({findings[name]['limit']:,} tokens with prompt)"] = findings[name]["rows"]
    parts |= {name: np.isin(np.arange(len(lengths)), rows) for name, rows in chosen.items()}
    return [
        {"name": name, "rows": int(part.sum()), "accuracy": float(evaluated.correct[part].mean())}
        for name, part in parts.items()
        if part.sum() >= MIN_SLICE
    ]


def texts(evaluated: Evaluated, rows: list[int], findings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return some rows, with their labels, the probability of the prediction, and the words that mattered for it."""
    words = findings.get("words", {})
    return [
        {
            "row": row,
            "parts": marked_parts(text, words.get(text, [])),
            "label": label,
            "prediction": prediction,
            "probability": float(evaluated.confidence[row]),
        }
        for row, text, label, prediction in evaluated.rows.loc[rows, ["text", "label", "prediction"]].itertuples()
    ]


def marked_parts(text: str, words: list[list[float]]) -> list[dict[str, Any]]:
    """Cut a text into parts that are marked and parts that are not.

    Args:
        text: The text; its end is left out if it is long.
        words: Start, end and importance of each word.

    Returns:
        The parts, each with its `text`; those that are marked have the word's `importance`, and are `strong` if it is
        high.
    """
    parts, done = list[dict[str, Any]](), 0
    for start, end, importance in words:
        if abs(importance) >= MARKED and end <= min(len(text), LONGEST):
            marked = {"importance": importance, "strong": abs(importance) >= STRONG}
            parts += [{"text": text[done : int(start)]}, marked | {"text": text[int(start) : int(end)]}]
            done = int(end)
    return [part for part in (*parts, {"text": shortened(text)[done:]}) if part["text"]]


def plots(folder: Path, evaluated: Evaluated | EvaluatedSets | None, results: dict[str, Any]) -> "dict[str, Figure]":
    """Draw all plots of the page in one color for lines and letters, which `as_svg` replaces.

    Args:
        folder: Output folder of the run.
        evaluated: The evaluated rows; None for several label columns, of which only the training is drawn.
        results: All metrics, as in `all_results.json`.
    """
    from matplotlib import rc_context

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(inked, INK) | {"font.family": "sans-serif", "legend.framealpha": 0}
    with rc_context(settings):
        figures: dict[str, Figure] = {}
        if isinstance(evaluated, EvaluatedSets):
            yes, has = evaluated.probabilities.ravel(), evaluated.truth.ravel().astype(int)
            figures = {"calibration": calibration_plot(np.stack([1 - yes, yes], axis=1), has, evaluated.split)}
        elif evaluated:
            split, counts = evaluated.split, results[f"{evaluated.prefix}confusion_matrix"]
            figures = {
                "confusion_matrix": confusion_plot(counts, evaluated.labels, split),
                "calibration": calibration_plot(evaluated.probabilities, evaluated.class_ids, split),
                "coverage": coverage_plot(evaluated.confidence, evaluated.correct, split),
            }
        states = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name[11:]))
        if states:
            figures = {"training": training_curve(json.loads(states[-1].read_text())["log_history"])} | figures
    return figures


def as_svg(figure: "Figure") -> str:
    """Return a figure as SVG to be put into a page: transparent, in the color of its text, without dates and paths."""
    from matplotlib import rc_context

    written = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "hf_sentiment_ft"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
