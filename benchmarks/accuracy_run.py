"""One training run of ours, as the command makes it, for its figures.

python -m benchmarks.accuracy_run [recipe] [any flag of hf_sentiment_ft.train]
"""

import json
import sys
from pathlib import Path

from .clock import finish, output_dir

KEPT = ("test_target_errors",)  # besides single numbers


def main() -> None:
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    folder = Path(output_dir()) / "run"
    run(parse_train_arguments([*sys.argv[1:], "--output_dir", str(folder), "--save_only_model"]))
    figures = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    finish(**{name: value for name, value in figures.items() if isinstance(value, float) or name in KEPT})


if __name__ == "__main__":
    main()
