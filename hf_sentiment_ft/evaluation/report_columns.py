"""What the report shows of a run with several label columns."""

from pathlib import Path
from typing import Any

from ..errors import UsageError
from .data_checks import shortened
from .evaluated import SHOWN_ROWS

BASELINES = {
    "tfidf": "TF-IDF with logistic regression",
    "majority": "always the most frequent label",
}


def column_values(folder: Path, results: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a run with several label columns.

    Args:
        folder: Output folder of the run.
        results: All metrics, as in `all_results.json`.

    Raises:
        UsageError: If the run was not evaluated on rows with labels.
    """
    import pandas as pd

    split, prefix = ("test", "test_") if "test_columns" in results else ("validation", "eval_")
    columns, path = results.get(f"{prefix}columns"), folder / f"{prefix}predictions.csv"
    if not columns or not path.is_file():
        raise UsageError(
            f"{folder} contains no finished run with predictions. Name the output folder of a training run, or train "
            "first."
        )
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    zero_shot = results.get(f"zero_shot_{prefix}columns", {})
    of_columns = [
        {"name": name, "figures": figures, "zero_shot": zero_shot.get(name, {}).get("accuracy")}
        | {baseline: results.get(f"{baseline}_{prefix}columns", {}).get(name) for baseline in BASELINES}
        | {"mistakes": _confident_mistakes(rows, name)}
        for name, figures in columns.items()
    ]
    metrics = {name.removeprefix(prefix): value for name, value in results.items() if name.startswith(prefix)}
    return {"columns": of_columns, "split": split, "num_rows": len(rows), "metrics": metrics}


def _confident_mistakes(rows: Any, column: str) -> list[dict[str, Any]]:
    """Return the wrong answers of the highest probability, the highest first."""
    wrong = rows[rows[column] != rows[f"prediction_{column}"]]
    mistakes = [
        {
            "row": int(number),
            "text": shortened(row["text"]),
            "label": row[column],
            "prediction": row[f"prediction_{column}"],
            "probability": float(row[f"probability_{column}_{row[f'prediction_{column}']}"]),
        }
        for number, row in wrong.iterrows()
    ]
    return sorted(mistakes, key=lambda one: -one["probability"])[:SHOWN_ROWS]
