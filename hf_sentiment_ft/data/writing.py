"""Write rows as a table or as readable text: to standard output, or to a file that is there only when it is whole."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from ..errors import UsageError, explain
from ..runtime.output_dir import try_writing
from .files import COMPRESSIONS, ROWS_OF_TABLE, SEPARATORS, Row, file_type

WRITTEN = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".txt")


def check_output(flag: str, path: Path, inputs: list[Path]) -> str:
    """Return the type of a file to write.

    Args:
        flag: The flag that names it, for the message.
        path: The file.
        inputs: Files that are read meanwhile.

    Raises:
        UsageError: If its type is not supported, it is one of the inputs, or it cannot be created.
    """
    suffix = file_type(flag, path, WRITTEN)
    if suffix == ".parquet" and path.suffix.lower() in COMPRESSIONS:
        raise UsageError(f"{flag} is {path}, but Parquet compresses itself; use {path.with_suffix('')}.")
    if any(path.exists() and path.samefile(other) for other in inputs):
        raise UsageError(f"{flag} is {path}, which is the input; choose another file.")
    if path.is_dir():
        raise UsageError(f"{flag} is {path}, which is a folder; expected a file.")
    if not path.parent.is_dir():
        raise UsageError(f"{flag} is {path}, but there is no folder {path.parent}; create it first.")
    try:
        try_writing(path.parent)
    except OSError as error:
        raise UsageError(f"{flag} is {path}, but no file can be written there: {error.strerror}.") from error
    return suffix


def write_rows(rows: Iterator[Row], path: Path | None, suffix: str, as_line: Callable[[Row], str]) -> None:
    """Write rows as they come.

    Args:
        rows: The rows.
        path: A file, which replaces an earlier one only after the last row; None for standard output.
        suffix: The type, as from `check_output`; Parquet needs a file.
        as_line: How a row looks in a `.txt` file.

    Raises:
        UsageError: If the table cannot hold a row; the message says what can.
    """
    if suffix == ".parquet":
        assert path is not None
        with _replaced(path) as new:
            _write_parquet(rows, new, path)
        return
    if path is None:
        _write_text(rows, sys.stdout, suffix, as_line)
        return
    import fsspec  # type: ignore[import-untyped]

    compression = COMPRESSIONS.get(path.suffix.lower())
    with (
        _replaced(path) as new,
        fsspec.open(str(new), "wt", compression=compression, encoding="utf-8", newline="") as file,
    ):
        _write_text(rows, file, suffix, as_line)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Yield a new file beside a file, and put it in its place at the end; if anything fails, the file is unchanged."""
    path = path.resolve()  # the file that a link points to
    new = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _write_text(rows: Iterator[Row], file: IO[str], suffix: str, as_line: Callable[[Row], str]) -> None:
    writer = None
    for number, row in enumerate(rows):
        if suffix in SEPARATORS:
            if writer is None:
                writer = csv.DictWriter(file, list(row), restval="", delimiter=SEPARATORS[suffix])
                writer.writeheader()
            if other := [name for name in row if name not in writer.fieldnames]:
                raise UsageError(
                    f"row {number} (counted from 0) has the column {other[0]!r}, which the first row lacks, so that a "
                    f"{suffix} file cannot store it. Write a .jsonl file with --output_file."
                )
            writer.writerow(row)
        elif suffix == ".txt":
            file.write(as_line(row) + "\n")
        else:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        if file is sys.stdout:
            file.flush()


def _write_parquet(rows: Iterator[Row], new: Path, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = list(islice(rows, ROWS_OF_TABLE))
    inferred = pa.Table.from_pylist(first).schema
    schema = pa.schema([field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in inferred])
    parts = chain([first], iter(lambda: list(islice(rows, ROWS_OF_TABLE)), []))
    with pq.ParquetWriter(new, schema) as writer:
        for part in parts:
            try:
                writer.write_table(pa.Table.from_pylist(part, schema))
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                raise UsageError(
                    f"{path} cannot hold the rows, since a column has values of several types ({explain(error)}). "
                    "Write a .jsonl file with --output_file."
                ) from error


def as_one_line(value: Any) -> str:
    """Return a text without its line breaks, for a line of its own."""
    return " ".join(str(value).splitlines())
