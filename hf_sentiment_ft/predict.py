"""Predict labels and their probabilities with a trained model.

python -m hf_sentiment_ft.predict --model ./output "a moving, funny film"
python -m hf_sentiment_ft.predict --model user/name --input_file reviews.csv --output_file labelled.csv
cat reviews.txt | python -m hf_sentiment_ft.predict --model ./output
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from .config.templates import column_names, split_at_text
from .errors import UsageError, errors_exit

if TYPE_CHECKING:
    from .data.columns import Columns
    from .data.files import Row
    from .label_words.model import LabelWordModel

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 1024  # read, labelled and written together, so that memory does not grow with the file
BROKEN_PIPE = 141  # exit code of a program that the signal SIGPIPE ends


def parse_predict_arguments(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    Returns:
        The flags; `input_file` is a list of files, and `input_type` and `output_type` are suffixes such as `.csv`.

    Raises:
        UsageError: If a value is invalid, or a file cannot be read or written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m hf_sentiment_ft.predict",
        description="Print the label, the label word and the probability of each label for every text.",
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
    args = parser.parse_args(argv)

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


def label_rows(
    loaded: "LabelWordModel",
    rows: "Iterable[Row]",
    columns: "Columns",
    batch_size: int,
    where: str = "the input",
    precision: str = "fp32",
    min_probability: float | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> "Iterator[Row]":
    """Yield each row with `prediction`, `label_word` and `probability_LABEL` added.

    With `min_probability`, there is also `undecided`; prediction and label word of undecided rows are None. A column of
    the input that has one of these names is kept as `input_NAME`.

    Args:
        loaded: The model.
        rows: The rows.
        columns: The columns that form the text.
        batch_size: Texts per forward pass.
        where: What the rows are of, for messages.
        precision: `fp32` or `bf16`; see `predict_probabilities`.
        min_probability: Smallest probability of a prediction; None to decide all rows.
        rows_at_once: Rows that are labelled before the first of them is yielded.

    Raises:
        UsageError: If a row has no text.
    """
    from .data.texts import texts_of
    from .label_words.model import predict_probabilities

    labels, words = loaded.verbalizer.labels, loaded.verbalizer.words
    added = {"prediction", "label_word", *(f"probability_{label}" for label in labels)}
    added |= set() if min_probability is None else {"undecided"}
    rows, number = iter(rows), 0
    while chunk := list(islice(rows, rows_at_once)):
        texts = texts_of(chunk, where, replace(columns, first_row=number))
        probabilities = predict_probabilities(loaded, texts, batch_size, precision)
        if number == 0 and (taken := sorted(added & set(chunk[0]))):
            logger.warning(
                "The input already has the columns %s; they are kept as input_%s.",
                ", ".join(taken),
                ", input_".join(taken),
            )
        for row, figures in zip(chunk, probabilities.tolist(), strict=True):
            best = figures.index(max(figures))
            named = {f"probability_{label}": round(figure, 6) for label, figure in zip(labels, figures, strict=True)}
            answer: Row = {"prediction": labels[best], "label_word": words[best]}
            if min_probability is not None:
                undecided = figures[best] < min_probability
                answer = (dict.fromkeys(answer) if undecided else answer) | {"undecided": undecided}
            yield {**_keep(row, added), **answer, **named}
        number += len(chunk)


def _keep(row: "Row", added: set[str]) -> "Row":
    """Return a row whose columns have other names than those that are added."""
    kept: Row = {}
    for name, value in row.items():
        while name in added or name in kept:
            name = f"input_{name}"
        kept[name] = value
    return kept


def main() -> None:
    """Load the model and label the texts given on the command line."""
    with errors_exit():
        args = parse_predict_arguments(sys.argv[1:])
        rows, where = read_input(args)

        from tqdm import tqdm  # type: ignore[import-untyped]
        from transformers.utils import logging

        from .data.columns import named_columns
        from .data.files import SEPARATORS
        from .data.texts import form_text
        from .data.writing import as_one_line, write_rows
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
        labelled = label_rows(loaded, chain([first], rows), columns, args.batch_size, where, args.precision, least)
        if least is not None and args.output_type in SEPARATORS:  # as in JSON; csv would write True and False
            labelled = ({**row, "undecided": str(row["undecided"]).lower()} for row in labelled)

        def as_line(row: "Row") -> str:
            figures = ", ".join(f"{label} {row[f'probability_{label}']:.4f}" for label in loaded.verbalizer.labels)
            text = form_text(row, columns)
            answer = "undecided\t" if row["prediction"] is None else f"{row['prediction']}\t{row['label_word']!r}"
            return f"{answer}\t{figures}\t{as_one_line(text)}"

        hidden = not sys.stderr.isatty() or (args.output_file is None and sys.stdout.isatty())
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        try:
            write_rows(tqdm(labelled, unit=" rows", disable=hidden), args.output_file, args.output_type, as_line)
        except BrokenPipeError:  # whoever reads the output, such as head, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(BROKEN_PIPE)


if __name__ == "__main__":
    main()
