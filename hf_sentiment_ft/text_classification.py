r"""Export the label words' rows of the language model head as a classifier: `pipeline("text-classification")`.

    python -m hf_sentiment_ft.text_classification ./output

The model goes into the subfolder `text-classification` of the run; see `label_words.classifier`.
"""

import sys
from pathlib import Path

from .config.parser import Parser
from .errors import UsageError, errors_exit


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "text_classification",
        "Write a finished run as a model for pipeline('text-classification'), in its subfolder "
        "text-classification, with the same answers and probabilities.",
        "./output",
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    return parser


def main() -> None:
    """Export the run given on the command line."""
    with errors_exit():
        folder = build_parser().parse_args(sys.argv[1:]).output_dir

        from . import label_words, runtime

        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder. Pass the output folder of a finished run.")
        runtime.log_to_console()
        runtime.refuse_foreign_files(folder, runtime.CLASSIFIER_FILES)
        runtime.begin_files(folder, runtime.CLASSIFIER_FILES)
        label_words.export_text_classification(folder)
        runtime.record_files(folder)


if __name__ == "__main__":
    main()
