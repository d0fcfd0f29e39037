"""Predict labels and their probabilities with a trained model.

python -m hf_sentiment_ft.predict --model ./output "a moving, funny film"
python -m hf_sentiment_ft.predict --model user/name --input_file reviews.csv --output_file labelled.csv
cat reviews.txt | python -m hf_sentiment_ft.predict --model ./output
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .config.templates import FIELD, fill, split_at_text
from .errors import UsageError, errors_exit

if TYPE_CHECKING:
    from .label_words.model import LabelWordModel

Row = dict[str, Any]
ROWS_AT_ONCE = 1024  # read, labelled and written together, so that memory does not grow with the file


def parse_predict_arguments(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    Raises:
        UsageError: If a value is invalid.
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
    parser.add_argument("--input_file", type=Path, help=".csv, .jsonl, or .txt with one text per line")
    parser.add_argument("--output_file", type=Path, help=".csv or .jsonl (default: standard output)")
    parser.add_argument(
        "--text_column_name",
        help="column with the text, or several, such as title,body (default: text, or the columns in the prompt)",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="texts per forward pass (default: 32)")
    parser.add_argument("--device", help="such as cpu or cuda (default: cuda if available, otherwise cpu)")
    args = parser.parse_args(argv)
    if args.texts and args.input_file:
        raise UsageError("texts and --input_file are both given; keep one.")
    if args.input_file and not args.input_file.is_file():
        raise UsageError(f"--input_file is {args.input_file}, which is not a file.")
    if args.output_file and args.output_file.suffix not in (".csv", ".jsonl"):
        raise UsageError(f"--output_file is {args.output_file}; expected a .csv or .jsonl file.")
    if args.batch_size < 1:
        raise UsageError(f"--batch_size is {args.batch_size}; expected at least 1.")
    return args


def read_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows to label, with all columns of the input.

    Raises:
        UsageError: If a row has no text, or a line is not JSON; the message gives its number.
    """
    if args.texts:
        yield from ({"text": text} for text in args.texts)
        return
    kind = args.input_file.suffix if args.input_file else ".txt"
    with args.input_file.open(newline="", encoding="utf-8") if args.input_file else nullcontext(sys.stdin) as file:
        readers: dict[str, Callable[[IO[str]], Iterable[Row]]] = {".csv": csv.DictReader, ".jsonl": _read_json_lines}
        rows = readers.get(kind, _read_lines)(file)
        for number, row in enumerate(rows, start=1):
            if not isinstance(text_of(row, args.text_column_name), str):
                raise UsageError(
                    f"row {number} has no text in {args.text_column_name!r}; its columns are: "
                    f"{', '.join(map(str, row))}. Set the text column with --text_column_name."
                )
            yield row


def text_of(row: Row, column: str) -> Any:
    """Return the text of a row, with several columns joined by a line break or put into a template, as in training.

    Args:
        row: A row of the input.
        column: A column, several separated by commas, or a template with column names. A row that lacks a column of the
            template is expected to have its text in the column `text`.

    Returns:
        The text; anything but a string means that the row has none.
    """
    if names := FIELD.findall(column):
        return fill(column, row) if set(names) <= set(row) else row.get("text")
    names = [name.strip() for name in column.split(",")]
    if column in row or not all(isinstance(row.get(name, 0), str | None) for name in names):
        return row.get(column)
    return "\n".join(row[name] for name in names if row[name])


def _read_json_lines(file: IO[str]) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UsageError(f"line {number} is {line.strip()[:60]}; expected a JSON object.")
        yield row


def _read_lines(file: IO[str]) -> Iterator[Row]:
    return ({"text": line.rstrip("\n")} for line in file if line.strip())


def label_rows(loaded: "LabelWordModel", rows: Iterable[Row], text_column: str, batch_size: int) -> Iterator[Row]:
    """Yield each row with `prediction`, `label_word` and `probability_LABEL` added.

    Args:
        loaded: The model.
        rows: The rows, as from `read_rows`.
        text_column: The column argument of `text_of`.
        batch_size: Texts per forward pass.
    """
    from .label_words.model import predict_probabilities

    labels, words = loaded.verbalizer.labels, loaded.verbalizer.words
    rows = iter(rows)
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        probabilities = predict_probabilities(loaded, [text_of(row, text_column) for row in chunk], batch_size)
        for row, figures in zip(chunk, probabilities.tolist(), strict=True):
            best = figures.index(max(figures))
            named = {f"probability_{label}": round(figure, 6) for label, figure in zip(labels, figures, strict=True)}
            yield {**row, "prediction": labels[best], "label_word": words[best], **named}


def write_rows(rows: Iterator[Row], file: IO[str], kind: str, labels: list[str], text_column: str) -> None:
    """Write labelled rows as CSV, JSON lines or readable text.

    Args:
        rows: The rows, as from `label_rows`.
        file: Where to write.
        kind: `.csv`, `.jsonl`, or any other suffix for readable text.
        labels: Label names in the order of their ids.
        text_column: The column argument of `text_of`.
    """
    writer = None
    for row in rows:
        if kind == ".jsonl":
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        elif kind == ".csv":
            if writer is None:
                writer = csv.DictWriter(file, list(row), restval="", extrasaction="ignore")
                writer.writeheader()
            writer.writerow(row)
        else:
            figures = ", ".join(f"{label} {row[f'probability_{label}']:.4f}" for label in labels)
            file.write(f"{row['prediction']}\t{row['label_word']!r}\t{figures}\t{text_of(row, text_column)}\n")
        if file is sys.stdout:
            file.flush()


def main() -> None:
    """Load the model and label the texts given on the command line."""
    with errors_exit():
        args = parse_predict_arguments(sys.argv[1:])

        import torch

        from .label_words.model import load_label_word_model
        from .model.inputs import check_attention

        loaded = load_label_word_model(args.model, args.model_revision)
        device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        loaded.model.to(device)
        check_attention(loaded.model, loaded.tokenizer, cure="--device cpu")
        args.text_column_name = args.text_column_name or split_at_text(loaded.model.config.prompt_template)[1]
        if args.text_column_name == "{text}":
            args.text_column_name = "text"
        rows = label_rows(loaded, read_rows(args), args.text_column_name, args.batch_size)
        kind = (args.output_file or args.input_file or Path("-.txt")).suffix
        with (
            args.output_file.open("w", newline="", encoding="utf-8")
            if args.output_file
            else nullcontext(sys.stdout) as file
        ):
            write_rows(rows, file, kind, loaded.verbalizer.labels, args.text_column_name)


if __name__ == "__main__":
    main()
