"""Files of a finished run → `report.html`, one page without network that shows how good the model is, and where not."""

import json
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .plots import calibration_plot, confusion_plot, coverage_plot, training_curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAGE = "report.html"
TEMPLATE = Path(__file__).parent / "report.html.jinja"
SHOWN_ROWS = 10  # of each list of texts
LONGEST = 400  # characters of a text
MIN_SLICE = 20  # rows; the accuracy of fewer says little
INK = "#010203"  # color of lines and letters in the plots, replaced by that of the page's text
BASELINES = {
    "zero_shot_test_accuracy": "the model before training (zero-shot)",
    "majority_test_accuracy": "always the most frequent label",
}


@dataclass(frozen=True)
class Evaluated:
    """The evaluated rows of a run.

    Attributes:
        rows: Predictions file, with the columns `text`, `label`, `prediction` and `probability_LABEL`.
        labels: Label names in the order of their ids.
        probabilities: Probabilities of the labels, (rows, num_labels).
        class_ids: True class ids, (rows,).
        split: Name of the split.
        prefix: Prefix of its metrics, such as `test_`.
    """

    rows: "pd.DataFrame"
    labels: list[str]
    probabilities: "np.ndarray[Any, Any]"
    class_ids: "np.ndarray[Any, Any]"
    split: str
    prefix: str

    @property
    def confidence(self) -> "np.ndarray[Any, Any]":
        """Return the probability of the predicted label, (rows,)."""
        return self.probabilities.max(axis=1)

    @property
    def correct(self) -> "np.ndarray[Any, Any]":
        """Return whether the predicted label is the true one, (rows,)."""
        return self.probabilities.argmax(axis=1) == self.class_ids


def read_evaluated(folder: Path) -> Evaluated:
    """Read the predictions of a finished run.

    Raises:
        UsageError: If the folder contains no finished run, or one that was not evaluated on rows with labels.
    """
    import pandas as pd

    for split, prefix in (("test", "test_"), ("validation", "eval_")):
        path = folder / f"{prefix}predictions.csv"
        if not path.is_file() or not (folder / "all_results.json").is_file():
            continue
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "label" not in rows:
            continue
        columns = [name for name in rows.columns if name.startswith("probability_")]
        labels = [name.removeprefix("probability_") for name in columns]
        ids = np.array([labels.index(label) for label in rows["label"]])
        return Evaluated(rows, labels, rows[columns].to_numpy(float), ids, split, prefix)
    raise UsageError(
        f"{folder} contains no finished run with predictions. Name the output folder of a training run, or train first."
    )


def save_report(folder: Path) -> Path:
    """Write the report of a finished run to its folder, from the files that are in it, and return its path.

    Texts are escaped: nothing in them can become markup or run as a script.

    Args:
        folder: Output folder of the run.

    Raises:
        UsageError: If the folder contains no finished run.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    evaluated = read_evaluated(folder)
    results = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    figures = {name: Markup(as_svg(figure)) for name, figure in plots(folder, evaluated, results).items()}  # noqa: S704
    values = {
        "title": _title(folder),
        "split": evaluated.split,
        "num_rows": len(evaluated.rows),
        "labels": evaluated.labels,
        "figures": figures,
        "accuracies": accuracies(results, evaluated.prefix),
        "metrics": {
            name.removeprefix(evaluated.prefix): value
            for name, value in results.items()
            if name.startswith(evaluated.prefix)
        },
        "slices": slices(evaluated),
        "mistakes": texts(evaluated, np.flatnonzero(~evaluated.correct), -evaluated.confidence),
        "uncertain": texts(evaluated, np.arange(len(evaluated.rows)), evaluated.confidence),
    }
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(values)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return folder / PAGE


def _title(folder: Path) -> str:
    """Return the model's name as its card has it, or that of the folder."""
    card = folder / "card.json"
    named = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return str(named.get("model_name") or folder.resolve().name)


def accuracies(results: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return the accuracy of the model with its interval, then those of the baselines, as far as they are known."""
    low, high = results[f"{prefix}accuracy_interval"]
    found = [{"name": "this model", "value": results[f"{prefix}accuracy"], "low": low, "high": high}]
    return found + [{"name": name, "value": results[key]} for key, name in BASELINES.items() if key in results]


def slices(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Return the accuracy on parts of the rows that models often find harder; parts of few rows are left out."""
    lengths = evaluated.rows["text"].str.len().to_numpy()
    short, long = np.quantile(lengths, [0.25, 0.75])
    lower = evaluated.rows["text"].str.lower()
    named = "|".join(re.escape(label.lower()) for label in evaluated.labels)
    parts = {
        "all rows": np.ones(len(lengths), bool),
        f"shortest quarter (up to {short:.0f} characters)": lengths <= short,
        f"longest quarter (from {long:.0f} characters)": lengths >= long,
        "with a negation (not, no, never, n't)": lower.str.contains(r"\b(?:not|no|never)\b|n't").to_numpy(),
        "that contain the name of a label": lower.str.contains(named).to_numpy(),
    }
    return [
        {"name": name, "rows": int(part.sum()), "accuracy": float(evaluated.correct[part].mean())}
        for name, part in parts.items()
        if part.sum() >= MIN_SLICE
    ]


def texts(
    evaluated: Evaluated, candidates: "np.ndarray[Any, Any]", order: "np.ndarray[Any, Any]"
) -> list[dict[str, Any]]:
    """Return the first of some rows, with their labels and the probability of the prediction.

    Args:
        evaluated: The evaluated rows.
        candidates: Numbers of the rows to choose from.
        order: Value of each row of the split, (rows,); the smallest come first.
    """
    chosen = candidates[np.argsort(order[candidates], kind="stable")][:SHOWN_ROWS]
    columns = ["text", "label", "prediction"]
    return [
        {"row": int(row), "probability": float(evaluated.confidence[row]), **evaluated.rows.loc[row, columns]}
        | {"text": evaluated.rows["text"][row][:LONGEST] + "…" * (len(evaluated.rows["text"][row]) > LONGEST)}
        for row in chosen
    ]


def plots(folder: Path, evaluated: Evaluated, results: dict[str, Any]) -> "dict[str, Figure]":
    """Draw all plots of the page in one color for lines and letters, which `as_svg` replaces."""
    from matplotlib import rc_context

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(inked, INK) | {"font.family": "sans-serif", "legend.framealpha": 0}
    with rc_context(settings):
        figures = {
            "confusion_matrix": confusion_plot(
                results[f"{evaluated.prefix}confusion_matrix"], evaluated.labels, evaluated.split
            ),
            "calibration": calibration_plot(evaluated.probabilities, evaluated.class_ids, evaluated.split),
            "coverage": coverage_plot(evaluated.confidence, evaluated.correct, evaluated.split),
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
