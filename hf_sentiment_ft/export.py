"""Export a finished run for other runtimes, as ONNX, or as a notebook that tries the published model.

    python -m hf_sentiment_ft.export ./output --format onnx
    python -m hf_sentiment_ft.export ./output --format onnx --quantize int8
    python -m hf_sentiment_ft.export ./output --format notebook

The ONNX model goes into the subfolder `onnx` of the run, or `onnx-int8`; see `label_words.export`.
"""

import sys
from pathlib import Path

from .config.parser import Parser
from .errors import UsageError, errors_exit


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "export",
        "Write a finished run as an ONNX model for text classification, in its subfolder onnx, with the "
        "same probabilities. ONNX Runtime and the tokenizers library alone can answer with it. Or write "
        "notebook.ipynb, with which visitors of the published model try it in Colab or Kaggle.",
        "./output --quantize int8",
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    parser.add_argument("--format", choices=("onnx", "notebook"), default="onnx", help="what to write (default: onnx)")
    parser.add_argument(
        "--quantize",
        choices=("int8",),
        help="most weights in 8 bit, in the subfolder onnx-int8: less than half of the size, and with answers that "
        "differ, see docs/deploy.md (default: float32; only for onnx)",
    )
    return parser


def main() -> None:
    """Export the run given on the command line."""
    with errors_exit():
        args = build_parser().parse_args(sys.argv[1:])

        from . import label_words, publishing, runtime

        runtime.log_to_console()
        if args.format == "onnx":
            label_words.export_onnx(args.output_dir, args.quantize)
            return
        if args.quantize:
            raise UsageError("--quantize is for --format onnx; remove one of them.")
        folder: Path = args.output_dir
        if not (folder / "card.json").is_file():
            raise UsageError(f"{folder} contains no finished run: it has no card.json. Pass a run's output folder.")
        runtime.refuse_foreign_files(folder, [publishing.NOTEBOOK])
        runtime.begin_files(folder, [publishing.NOTEBOOK])
        print(publishing.save_notebook(folder))
        runtime.record_files(folder)


if __name__ == "__main__":
    main()
