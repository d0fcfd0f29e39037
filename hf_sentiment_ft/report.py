"""Write the report of a finished run: one page that shows how good the model is, and where not.

python -m hf_sentiment_ft.report ./output
"""

import sys
from pathlib import Path

from .config.parser import Parser
from .errors import errors_exit


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "report",
        "Write report.html into the folder of a finished run: accuracy beside its baselines, plots, the "
        "most confident mistakes with the words that mattered, rows in both splits, and suspected label errors. What "
        "training has not examined yet is examined now, as far as the folder has what it takes.",
        "./output",
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    return parser


def main() -> None:
    """Write `report.html` into the folder given on the command line, and print its path."""
    with errors_exit():
        folder = build_parser().parse_args(sys.argv[1:]).output_dir

        from . import evaluation, runtime
        from .runtime.threads import use_cpu_threads

        use_cpu_threads()
        runtime.refuse_foreign_files(folder, runtime.REPORT_FILES)
        runtime.begin_files(folder, runtime.REPORT_FILES)
        print(evaluation.save_report(folder, evaluation.add_words(folder)))
        runtime.record_files(folder)


if __name__ == "__main__":
    main()
