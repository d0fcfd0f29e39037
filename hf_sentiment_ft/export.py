"""Export a finished run for other runtimes: ONNX.

    python -m hf_sentiment_ft.export ./output --format onnx
    python -m hf_sentiment_ft.export ./output --format onnx --quantize int8

The model goes into the subfolder `onnx` of the run, or `onnx-int8`; see `label_words.export`.
"""

import sys
from pathlib import Path

from .config.parser import Parser
from .errors import errors_exit


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "export",
        "Write a finished run as an ONNX model for text classification, in its subfolder onnx, with the "
        "same probabilities. ONNX Runtime and the tokenizers library alone can answer with it.",
        "./output --quantize int8",
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="format of the model (default: onnx)")
    parser.add_argument(
        "--quantize",
        choices=("int8",),
        help="most weights in 8 bit, in the subfolder onnx-int8: less than half of the size, and with answers that "
        "differ, see docs/deploy.md (default: float32)",
    )
    return parser


def main() -> None:
    """Export the run given on the command line."""
    with errors_exit():
        args = build_parser().parse_args(sys.argv[1:])

        from . import label_words, runtime

        runtime.log_to_console()
        label_words.export_onnx(args.output_dir, args.quantize)


if __name__ == "__main__":
    main()
