"""Find the files that a flag names, and read the rows of text files and Parquet: one reader for all commands."""

import csv
import glob
import io
import json
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import UsageError, explain
from .texts import as_text

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
# The builder of `datasets` for each type of file.
TABLES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
SEPARATORS = {".csv": ",", ".tsv": "\t"}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
ROWS_OF_TABLE = 1000  # rows of a text file that become one Arrow table
# What reading a damaged file raises.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def find_files(flag: str, pattern: str, types: Sequence[str] = tuple(TABLES)) -> tuple[list[Path], str]:
    """Find the files that a flag names.

    Args:
        flag: The flag, for the message, such as `--train_file`.
        pattern: A path or a glob pattern.
        types: The suffixes that are supported.

    Returns:
        The files, and their common suffix in lower case and without compression, such as `.csv`.

    Raises:
        UsageError: If there are no files, one is empty or may not be read, or they are of different or unsupported
            types.
    """
    exact = Path(pattern)
    found = [exact] if exact.is_file() else [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
    paths = [path for path in found if path.is_file()]
    if not paths:
        raise UsageError(f"{flag} is {pattern}, which is not a file, and no file matches it as a pattern.")
    suffixes = {file_type(flag, path, types) for path in paths}
    if len(suffixes) > 1:
        raise UsageError(
            f"{flag} is {pattern}, which matches files of several types ({', '.join(sorted(suffixes))}); "
            "expected one type."
        )
    for path in paths:
        if not path.stat().st_size:
            raise UsageError(f"{flag} is {pattern}, but {path} is empty.")
        if not os.access(path, os.R_OK):
            raise UsageError(f"{flag} is {pattern}, but you have no permission to read {path}.")
    return paths, suffixes.pop()


def file_type(flag: str, path: Path, types: Sequence[str]) -> str:
    """Return the suffix that tells how to read or write a file, such as `.csv` for `reviews.CSV.gz`.

    Raises:
        UsageError: If the type or the compression is not supported.
    """
    import fsspec  # type: ignore[import-untyped]

    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in types:
        raise UsageError(
            f"{flag} is {path}; expected a file of one of the types {', '.join(types)}, "
            f"optionally compressed, such as .csv.gz ({', '.join(COMPRESSIONS)})."
        )
    if compression and compression not in fsspec.available_compressions():
        raise UsageError(f"{flag} is {path}; to read {compression}, install zstandard: pip install zstandard.")
    return suffixes[-1]


def read_rows(path: str, suffix: str) -> Iterator[Row]:
    """Yield the rows of a file one by one, without holding more of it than a row; see `read_lines`.

    Args:
        path: A path, or an address that fsspec opens.
        suffix: The type of the file, as from `file_type`.

    Raises:
        UsageError: If the file or one of its lines is damaged; the message names both.
    """
    import fsspec

    name = path.rpartition("::")[2]  # the address of a compressed file names the file last
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            yield from (
                _read_parquet(file) if suffix == ".parquet" else read_lines(io.BufferedReader(file), suffix, name)
            )
    except UNREADABLE as error:
        if "://" in name and isinstance(error, OSError):  # a fault of the network, which may be over soon
            raise
        raise UsageError(f"{name} cannot be read ({explain(error)}).") from error


def read_lines(file: Iterable[bytes], suffix: str, name: str) -> Iterator[Row]:
    """Yield the rows of a text file.

    Every value of a CSV or TSV file is a string as written. Those of JSON have their own types. In any other file, each
    line that is not blank is a row with the column `text`.

    Args:
        file: Its lines.
        suffix: Its type.
        name: Its name, for messages.

    Raises:
        UsageError: If a line is not UTF-8 or is malformed; the message gives its number.
    """
    lines = _decode(file, name)
    if suffix in SEPARATORS:
        return _read_delimited(lines, name, SEPARATORS[suffix])
    if TABLES.get(suffix) == "json":
        return _read_json(lines, name)
    return ({"text": line.rstrip("\r\n")} for line in chain.from_iterable(map(_split, lines)) if line.strip())


def _decode(file: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if number == 1 and b"\0" in line[:2]:  # without its mark, UTF-16 is UTF-8 with a zero at every letter
            raise UsageError(f"{name}: line 1 is not UTF-8, but probably UTF-16. Save the file as UTF-8.")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{name}: line {number} is not UTF-8 ({explain(error)}). Save the file as UTF-8."
            ) from error


def _read_delimited(lines: Iterator[str], name: str, separator: str) -> Iterator[Row]:
    """Read a table whose columns are separated by `separator` or, if the header lacks that, by another usual one."""
    csv.field_size_limit(2**31 - 1)
    before, header = next(((number, line) for number, line in enumerate(lines) if line.strip()), (0, ""))
    if excel := re.fullmatch(r"sep=(.)\s*", header):  # Excel writes this line, and hides it
        before, separator, header = before + 1, excel[1], next(lines, "")
    elif separator not in (bare := re.sub(r'"[^"]*"', "", header)):
        separator = max((separator, *",;\t|"), key=bare.count)
    reader = csv.reader(chain.from_iterable(map(_split, chain([header], lines))), delimiter=separator, strict=True)
    names: list[str] = []
    end = before  # the line in which the last row has ended
    try:
        for row in reader:
            if not names:
                names = _distinct([one.strip() for one in row])
            elif any(row[len(names) :]):
                raise UsageError(
                    f"{name}: line {before + reader.line_num}: the rows have more fields than the header has names; "
                    f"put quotes around texts with commas. Here, {len(row)} fields are separated by {separator!r}; the "
                    f"header has {len(names)}."
                )
            elif row:
                yield dict(zip_longest(names, row[: len(names)]))
            end = before + reader.line_num
    except csv.Error as error:
        raise UsageError(
            f"{name}: the row that begins in line {end + 1}: {error}. Write a quotation mark inside quotes twice."
        ) from error


def _split(line: str) -> Iterable[str]:
    """Split a line at carriage returns, which are line ends, too, for the reader of CSV."""
    return io.StringIO(line, newline="") if "\r" in line else (line,)


def _distinct(names: list[str]) -> list[str]:
    """Return column names of which none appears twice; the second `text` is called `text.1`, as in pandas."""
    distinct: dict[str, None] = {}
    for name in names:
        number, new = 0, name
        while new in distinct:
            number += 1
            new = f"{name}.{number}"
        distinct[new] = None
    return list(distinct)


def _read_json(lines: Iterator[str], name: str) -> Iterator[Row]:
    """Read JSON lines, or one list of objects."""
    begun = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        whole, begun = not begun and line.lstrip().startswith("["), True
        where = name if whole else f"{name}: line {number}"
        text = "".join([line, *lines] if whole else [line.strip()])
        try:
            parsed = json.loads(text, object_pairs_hook=_object)
            if r"\ud" in text.lower():  # an escape may be half of a pair, which is no text
                json.dumps(parsed, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{where} contains half of a surrogate pair, {error.object[error.start]!r}; remove it."
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{where} is not JSON: {error}. Expected an object on each line, or one list of objects."
            ) from error
        for row in parsed if whole else [parsed]:
            if not isinstance(row, dict):
                raise UsageError(f"{where} is {str(row)[:60]}; expected a JSON object.")
            yield row


def _object(pairs: list[tuple[str, Any]]) -> Row:
    if len(row := dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} appears twice")
    return row


def _read_parquet(file: IO[bytes]) -> Iterator[Row]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(batch_size=1000):
        yield from batch.to_pylist()


def read_tables(
    files_iterables: Any, suffix: str, names: Sequence[str] = (), texts: Sequence[str] = (), **_: Any
) -> Iterator[tuple[int, "pa.Table"]]:
    """Read files as Arrow tables, each with its number, as a builder of `datasets` does.

    Args:
        files_iterables: The files, in lists.
        suffix: Their type.
        names: The columns to read; by default all of a file.
        texts: Those of them whose numbers are read as text.
        **_: Other options that a builder passes; ignored.

    Raises:
        UsageError: If a file is damaged, lacks a column, or has values of several types in one.
    """
    number, schema = 0, None
    for path in chain.from_iterable(files_iterables):
        rows = read_rows(str(path), suffix)
        while part := list(islice(rows, ROWS_OF_TABLE)):
            missing = [name for name in names if name not in part[0]] if suffix in SEPARATORS else []
            if missing:
                raise UsageError(f"{path} has no column {missing[0]!r}; its columns are: {', '.join(part[0])}.")
            table = _table(str(path), part, names or list(part[0]), texts, schema)
            schema = table.schema if names else None
            yield number, table
            number += 1


def _table(
    path: str, rows: list[Row], names: Sequence[str], texts: Sequence[str], schema: "pa.Schema | None"
) -> "pa.Table":
    """Make a table of rows, with the types of the first table of the files."""
    import pyarrow as pa

    columns = {}
    for name in names:
        values = [as_text(row.get(name)) if name in texts else row.get(name) for row in rows]
        try:
            column = pa.array(values, schema and schema.field(name).type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            raise UsageError(
                f"{path}: the column {name!r} contains values of several types, such as numbers and strings; write all "
                f"of them as strings ({explain(error)})."
            ) from error
        columns[name] = column.cast(pa.string()) if pa.types.is_null(column.type) else column
    return pa.table(columns)
