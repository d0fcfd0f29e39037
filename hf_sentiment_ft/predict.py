"""Predict labels and their probabilities with a trained model.

python -m hf_sentiment_ft.predict --model ./output "a moving, funny film"
python -m hf_sentiment_ft.predict --model user/name --input_file reviews.csv --output_file labelled.csv
cat reviews.txt | python -m hf_sentiment_ft.predict --model ./output
"""

import argparse
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config.parser import Parser
from .config.templates import column_names, split_at_text
from .errors import UsageError, errors_exit

if TYPE_CHECKING:
    from .data.columns import Columns
    from .data.files import Row
    from .label_words.model import LabelWordModel

SILENT_SECONDS = 2  # before a bar is shown
LOG_SECONDS = 30  # between two lines in a log file
BROKEN_PIPE = 141  # exit code of a program that the signal SIGPIPE ends


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "predict",
        "Print the label, the label word and the probability of each label for every text.",
        "--model user/name --input_file reviews.csv --output_file labelled.csv",
    )
    parser.add_argument(
        "texts", nargs="*", help="texts to label (default: --input_file, or the lines of standard input)"
    )
    parser.add_argument("--model", required=True, help="folder of a training run, or Hub id")
    parser.add_argument("--model_revision", default="main", help="branch, tag or commit on the Hub")
    parser.add_argument(
        "--input_file",
        help="CSV, TSV, JSON lines, Parquet or .txt file (one text per line), optionally compressed (.csv.gz), or a "
        "pattern for several files; - for the lines of standard input",
    )
    parser.add_argument(
        "--output_file",
        type=Path,
        help=".csv, .tsv, .jsonl, .parquet or .txt, optionally compressed (default: standard output)",
    )
    parser.add_argument(
        "--text_column_name",
        help="column with the text, or several, such as title,body (default: text, or the columns in the prompt)",
    )
    parser.add_argument(
        "--min_probability", type=float, help="leave a text undecided if no label is at least this probable"
    )
    parser.add_argument(
        "--target_error",
        type=float,
        help="leave texts undecided so that at most this share of the decided ones is wrong, such as 0.05; training "
        "chose the probability on the validation split (90%% confidence, for texts like those)",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="texts per forward pass (default: 32)")
    parser.add_argument("--device", help="such as cpu or cuda (default: cuda if available, otherwise cpu)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="bf16 is faster on CPUs with bf16 instructions, and changes probabilities a little (default: fp32, as "
        "the model was evaluated)",
    )
    parser.add_argument(
        "--num_cpu_threads", type=int, help="threads on a CPU (default: one per core that the process may use)"
    )
    return parser


def parse_predict_arguments(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    Returns:
        The flags; `input_file` is a list of files, and `input_type` and `output_type` are suffixes such as `.csv`.

    Raises:
        UsageError: If a flag is unknown, a value is invalid, or a file cannot be read or written.
    """
    args = build_parser().parse_args(argv)

    from .data.files import TABLES, find_files
    from .data.writing import check_output

    if args.texts and args.input_file:
        raise UsageError("texts and --input_file are both given; keep one.")
    if args.min_probability is not None and args.target_error is not None:
        raise UsageError("--min_probability and --target_error are both given; keep one.")
    for name in ("min_probability", "target_error"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1:
            raise UsageError(f"--{name} is {value:g}; expected a number between 0 and 1.")
    if args.batch_size < 1:
        raise UsageError(f"--batch_size is {args.batch_size}; expected at least 1.")
    if args.num_cpu_threads is not None and args.num_cpu_threads < 1:
        raise UsageError(f"--num_cpu_threads is {args.num_cpu_threads}; expected at least 1.")
    paths: list[Path] = []
    args.input_type = ".txt"
    if args.input_file == "-":
        args.input_file = None
    if args.input_file:
        pattern = os.path.expanduser(args.input_file)
        paths, args.input_type = find_files("--input_file", pattern, (*TABLES, ".txt"))
    args.input_file = paths
    if args.output_file:
        args.output_file = args.output_file.expanduser()
        args.output_type = check_output("--output_file", args.output_file, paths)
    else:
        args.output_type = args.input_type if args.input_type in (".csv", ".tsv", ".txt") else ".jsonl"
    return args


def read_input(args: argparse.Namespace) -> "tuple[Iterator[Row], str]":
    """Return the rows to label, with all columns of the input, and what to call the input in messages.

    Raises:
        UsageError: If a file has no rows, or its beginning cannot be read.
    """
    from .data.files import read_lines, read_rows

    if args.texts:
        return ({"text": text} for text in args.texts), "the given texts"
    if not args.input_file and sys.stdin is None:  # it is closed
        raise UsageError("there is no standard input; give texts or --input_file.")
    if not args.input_file:
        return read_lines(sys.stdin.buffer, ".txt", "standard input"), "standard input"
    name = ", ".join(map(str, args.input_file))
    rows = chain.from_iterable(read_rows(str(path), args.input_type) for path in args.input_file)
    first = next(rows, None)
    if first is None:
        raise UsageError(f"--input_file is {name}, which has no rows.")
    return chain([first], rows), name


def text_columns(first: "Row", given: str | None, prompt_template: str) -> "Columns":
    """Return the columns that form the text.

    Args:
        first: The first row.
        given: Value of `--text_column_name`; by default the columns in the prompt or, where there are none or the row
            lacks one of them, the column `text`.
        prompt_template: The model's prompt template.

    Raises:
        UsageError: If a column is missing.
    """
    from .data.columns import Columns, named_columns

    if given:
        return Columns(named_columns(list(first), given), label="")
    template = split_at_text(prompt_template)[1]
    names = column_names(template)
    if template != "{text}" and names and set(names) <= set(first):
        return Columns(names, label="", template=template)
    if "text" not in first:
        raise UsageError(
            f"row 1 has no text in {'text' if template in ('', '{text}') else template!r}; its columns are: "
            f"{', '.join(first)}. Set the text column with --text_column_name."
        )
    return Columns(["text"], label="")


def describe_run(args: argparse.Namespace, loaded: "LabelWordModel", columns: "Columns") -> dict[str, Any]:
    """Return all that the probabilities of a file's rows depend on, so that no answer of other rows is taken over."""
    files = list(args.input_file)
    if Path(args.model).is_dir():
        files += sorted(path for path in Path(args.model).iterdir() if path.suffix in (".safetensors", ".json"))
    return {
        "model": [args.model, getattr(loaded.model.config, "_commit_hash", None), loaded.verbalizer.labels],
        "files": [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        "text": [columns.text, columns.template],
        "precision": args.precision,
    }


def show_progress(rows: "Iterator[Row]", output: Path | None) -> "Iterator[Row]":
    """Yield rows, and show on standard error how many: by a bar in a terminal, by a line now and then in a log file.

    Nothing is shown of a short run, or if the rows themselves go to the terminal.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    begun = said = time.monotonic()
    hidden = not sys.stderr.isatty() or (output is None and sys.stdout.isatty())
    for number, row in enumerate(tqdm(rows, unit=" rows", disable=hidden, delay=SILENT_SECONDS), start=1):
        yield row
        if not sys.stderr.isatty() and (now := time.monotonic()) - said > LOG_SECONDS:
            print(f"{number:,} rows, {number / (now - begun):.0f} per second", file=sys.stderr)
            said = now


def answer_in_words(row: "Row", loaded: "LabelWordModel") -> str:
    """Return the answers about a row, and their probabilities, for a line of text.

    Args:
        row: A row of `label_rows`.
        loaded: The model.
    """
    labels, questions = loaded.verbalizer.labels, loaded.questions
    if questions and not questions.multi_label:
        answers = {name: row[f"prediction_{name}"] for name in questions.names}
        return ", ".join(
            f"{name} {answer} {row[f'probability_{name}_{answer}']:.4f}" for name, answer in answers.items()
        )
    names = questions.names if questions else labels
    figures = ", ".join(f"{name} {row[f'probability_{name}']:.4f}" for name in names)
    if questions:
        return f"{row['prediction'] or 'no label'}\t{figures}"
    figures += f", expected value {row['expected_value']:.4f}" if "expected_value" in row else ""
    answer = "undecided\t" if row["prediction"] is None else f"{row['prediction']}\t{row['label_word']!r}"
    return f"{answer}\t{figures}"


def main() -> None:
    """Load the model and label the texts given on the command line."""
    with errors_exit():
        args = parse_predict_arguments(sys.argv[1:])
        rows, where = read_input(args)

        from transformers.utils import logging

        from .data.columns import named_columns
        from .data.files import SEPARATORS
        from .data.journal import journal_beside
        from .data.texts import form_text
        from .data.writing import as_one_line, write_rows
        from .label_words.labelling import label_rows
        from .label_words.model import load_label_word_model, place
        from .runtime.start import check_caches
        from .runtime.threads import use_cpu_threads

        first = next(rows, None)
        if first is None:  # standard input was empty
            return
        if args.text_column_name:  # before the model is loaded
            named_columns(list(first), args.text_column_name)
        use_cpu_threads(args.num_cpu_threads)
        logging.disable_progress_bar()  # of loading the weights
        check_caches(args.model, None)
        loaded = load_label_word_model(args.model, args.model_revision)
        place(loaded, args.device)
        columns = text_columns(first, args.text_column_name, loaded.model.config.prompt_template)
        least = loaded.calibration.threshold(args.target_error) if args.target_error else args.min_probability

        if loaded.questions and least is not None:
            raise UsageError(
                "--min_probability and --target_error are for models of one question, but this one answers "
                f"{', '.join(loaded.questions.names)}. Remove the flag, and use the probabilities."
            )

        def as_line(row: "Row") -> str:
            return f"{answer_in_words(row, loaded)}\t{as_one_line(form_text(row, columns))}"

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        again = args.input_file and args.output_file  # standard input cannot be read again
        kept = journal_beside(args.output_file, describe_run(args, loaded, columns)) if again else nullcontext()
        with kept as journal:
            if journal and journal.num_rows:
                print(f"Going on behind row {journal.num_rows:,}, where a run was interrupted.", file=sys.stderr)
            labelled = label_rows(
                loaded, chain([first], rows), columns, args.batch_size, where, args.precision, least, journal
            )
            if least is not None and args.output_type in SEPARATORS:  # as in JSON; csv would write True and False
                labelled = ({**row, "undecided": str(row["undecided"]).lower()} for row in labelled)
            try:
                write_rows(show_progress(labelled, args.output_file), args.output_file, args.output_type, as_line)
            except BrokenPipeError:  # whoever reads the output, such as head, has had enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(BROKEN_PIPE)
            except KeyboardInterrupt:
                if journal and journal.num_rows:
                    print(f"Interrupted. The same command goes on behind row {journal.num_rows:,}.", file=sys.stderr)
                raise


if __name__ == "__main__":
    main()
