"""One training run of ours, as the command makes it, for its figures.

python -m benchmarks.accuracy_run [recipe] [any flag of hf_sentiment_ft.train]
"""

import json
import sys
from pathlib import Path
from typing import Any

from .clock import finish, output_dir

KEPT = ("test_target_errors",)  # besides single numbers


def with_prior_subtracted(predictions: dict[str, Any], labels: list[str]) -> dict[str, float]:
    """What `--calibration validation` would have made of the same model, before temperature scaling."""
    import numpy as np

    from hf_sentiment_ft.evaluation.metrics import measure
    from hf_sentiment_ft.label_words.scoring import label_probabilities

    prior = np.log(label_probabilities(predictions["validation"].scores).mean(0))
    figures = {}
    for split, prefix in (("validation", "eval"), ("test", "test")):
        scores = predictions[split].scores - prior
        measured = measure(scores, scores.argmax(1), predictions[split].class_ids, labels)
        for name in ("accuracy", "log_loss", "expected_calibration_error"):
            figures[f"{prefix}_calibrated_{name}"] = measured[name]
    return figures


def main() -> None:
    from hf_sentiment_ft import evaluation
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    predict_splits, kept = evaluation.predict_splits, {}

    def keep(*args: Any) -> dict[str, Any]:
        kept.update(predict_splits(*args))
        return kept

    evaluation.predict_splits = keep
    folder = Path(output_dir()) / "run"
    flags = parse_train_arguments([*sys.argv[1:], "--output_dir", str(folder), "--save_only_model"])
    run(flags)
    figures = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    figures = {name: value for name, value in figures.items() if isinstance(value, float) or name in KEPT}
    if flags.model.calibration is None and "test" in kept:
        figures |= with_prior_subtracted(kept, list(map(str, range(kept["test"].scores.shape[1]))))
    finish(**figures)


if __name__ == "__main__":
    main()
