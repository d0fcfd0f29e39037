r"""The label words' rows of the language model head as a classifier, for `pipeline("text-classification")`.

python -m hf_sentiment_ft.text_classification ./output
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import errors_exit
from .label_words.classifier import FOLDER, export_text_classification
from .runtime.start import log_to_console

if TYPE_CHECKING:
    pass


def main() -> None:
    """Export the run that the command line names."""
    log_to_console()
    parser = argparse.ArgumentParser(
        prog="python -m hf_sentiment_ft.text_classification",
        description="Write a finished run as a model for pipeline('text-classification'), in its subfolder "
        f"{FOLDER}, with the same answers and probabilities.",
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    with errors_exit():
        export_text_classification(parser.parse_args(sys.argv[1:]).output_dir)


if __name__ == "__main__":
    main()
