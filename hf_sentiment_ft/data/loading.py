"""Load tables from files, a folder or the Hub, with the values and types that they have there."""

import errno
import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.arguments import DataArguments
from ..errors import UsageError, explain
from ..hub import hub_errors, ignore_readme, with_retries
from ..paths import resolve_package_path
from .columns import find_columns, require_column
from .files import SEPARATORS, TABLES, find_files, read_rows, read_tables

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder, DatasetDict

ROWS_WITH_NAMES = 10_000  # rows of JSON in which the names of the columns are looked for


def load_raw(args: DataArguments) -> "DatasetDict":
    """Load files, a folder (saved by `save_to_disk` or holding data files), or a Hub dataset.

    With `--streaming`, the splits are of the class `IterableDataset`, and nothing is read yet.

    Raises:
        UsageError: If the data cannot be loaded.
    """
    import datasets

    if args.train_file:
        # One split at a time: their columns may differ.
        return datasets.DatasetDict({files.split: _load_files(files, args) for files in check_files(args)})
    source = resolve_package_path(str(args.dataset_name))
    folder = Path(source)
    given_as = f"--dataset_name is {args.dataset_name}"
    if args.streaming and ((folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()):
        raise UsageError(f"{given_as}, saved by save_to_disk. It is memory-mapped anyway; remove --streaming.")
    if (folder / "dataset_dict.json").is_file():
        return load_or_refuse(given_as, datasets.DatasetDict.load_from_disk, source)
    if (folder / "state.json").is_file():  # one table, saved by Dataset.save_to_disk
        return datasets.DatasetDict({"train": load_or_refuse(given_as, datasets.Dataset.load_from_disk, source)})
    options = _own_cache(folder) if folder.is_dir() else {"revision": args.dataset_revision}
    if options.get("revision", "main") != "main":
        given_as += f" at --dataset_revision {args.dataset_revision}"
    builder = load_or_refuse(given_as, datasets.load_dataset_builder, source, args.dataset_config_name, **options)
    if hasattr(builder.config, "keep_default_na"):  # only empty cells are missing values; "None" and "n/a" are text
        options |= {"keep_default_na": False, "na_values": [""]}
    options |= {"name": args.dataset_config_name}
    if _is_plain_csv(builder):
        suffix = next(suffix for suffix, separator in SEPARATORS.items() if separator == builder.config.sep)
        # The option keeps this apart from caches in which types were guessed.
        load = partial(datasets.load_dataset_builder, source, **options, verbose=True)
        return load_or_refuse(given_as, lambda: _prepare(load(), partial(read_tables, suffix=suffix), args.streaming))
    return load_or_refuse(given_as, datasets.load_dataset, source, **options, streaming=args.streaming)


def _is_plain_csv(builder: "DatasetBuilder") -> bool:
    """Return whether the data are CSV files, and their author does not say how to read them, except the separator."""
    from datasets import BuilderConfig

    config = builder.config
    if not hasattr(config, "keep_default_na") or builder.info.features or config.sep not in SEPARATORS.values():
        return False
    general = {one.name for one in fields(BuilderConfig)} | {"sep"}
    return all(getattr(config, one.name) == one.default for one in fields(config) if one.name not in general)


def _own_cache(folder: Path) -> dict[str, Any]:
    """Return the option for a cache of these very files.

    If the README of a folder names its splits, `datasets` does not notice when the files change.
    """
    from datasets import config
    from datasets.fingerprint import Hasher

    stats = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    state = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()]
    return {"cache_dir": str(Path(config.HF_DATASETS_CACHE, f"local-{Hasher.hash(state)}"))}


@dataclass(frozen=True)
class Files:
    """The files of a split, and what is read of them.

    Attributes:
        split: Name of the split.
        given_as: The flag and its value, for messages.
        paths: The files.
        suffix: Their type.
        names: The columns to read. Of those that are not used, nothing matters, such as their types.
        texts: The columns that become one text together, whose numbers are read as text.
    """

    split: str
    given_as: str
    paths: list[Path]
    suffix: str
    names: list[str]
    texts: list[str]


def check_files(args: DataArguments) -> list[Files]:
    """Find the files of each split that a flag names, and refuse what their beginning shows to be unusable.

    Raises:
        UsageError: If a file is missing or unreadable, has no rows, or lacks a column.
    """
    given = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
    found = []
    for split, pattern in given.items():
        if not pattern:
            continue
        given_as = f"--{split}_file is {pattern}"
        paths, suffix = find_files(f"--{split}_file", pattern)
        names = load_or_refuse(given_as, lambda paths=paths, suffix=suffix: _column_names(paths, suffix))
        if split == "train":
            columns = find_columns(names, args)
        for name in columns.text:
            require_column(names, split, name, "text_column_name")
        labels = columns.labels or [columns.label]
        for name in labels if split != "test" else []:  # test may be without labels
            require_column(names, split, name, "label_column_name")
        used = names if args.save_dataset_dir else [name for name in names if name in (*columns.text, *labels)]
        found.append(Files(split, given_as, paths, suffix, used, columns.text if columns.joins else []))
    return found


def _column_names(paths: list[Path], suffix: str) -> list[str]:
    rows = chain.from_iterable(read_rows(str(path), suffix) for path in paths)
    many = ROWS_WITH_NAMES if TABLES[suffix] == "json" else 1
    names = dict.fromkeys(name for row in islice(rows, many) for name in row)
    if not names:
        raise UsageError("it has no rows.")
    return list(names)


def _load_files(files: Files, args: DataArguments) -> "Dataset":
    from datasets import config, load_dataset, load_dataset_builder
    from datasets.fingerprint import Hasher

    options: dict[str, Any] = {"data_files": [glob.escape(str(path)) for path in files.paths]}
    # Apart from caches with other columns, or in which types were guessed.
    options["cache_dir"] = str(Path(config.HF_DATASETS_CACHE, f"columns-{Hasher.hash([files.names, files.texts])}"))
    kind, tables = TABLES[files.suffix], partial(read_tables, suffix=files.suffix, names=files.names, texts=files.texts)
    if kind == "parquet":
        options |= {"columns": files.names, "split": "train", "streaming": args.streaming}
        return load_or_refuse(files.given_as, load_dataset, kind, **options)
    return load_or_refuse(
        files.given_as, lambda: _prepare(load_dataset_builder(kind, **options), tables, args.streaming, "train")
    )


def _prepare(builder: "DatasetBuilder", tables: Any, streaming: bool, split: str | None = None) -> Any:
    """Load a dataset whose files become tables by our own reader instead of that of `datasets`."""
    builder._generate_tables = tables
    if streaming:
        return builder.as_streaming_dataset(split)
    builder.download_and_prepare()
    return builder.as_dataset(split)


def load_or_refuse(given_as: str, load: Any, *args: Any, **options: Any) -> Any:
    """Call a function of `datasets` with retries, and without the README of a dataset if it cannot be parsed.

    Args:
        given_as: The flag and its value, such as `--dataset_name is user/name`; the message begins with it.
        load: The function.
        *args: Its arguments.
        **options: Its keyword arguments.

    Raises:
        UsageError: If the data cannot be loaded.
    """
    from datasets import config
    from datasets.exceptions import DatasetGenerationError

    try:
        with _readmes_may_be_broken():
            return with_retries(lambda: load(*args, **options))
    except (*hub_errors(), DatasetGenerationError, UsageError) as error:
        if _is_of_cache(error.__cause__ or error):
            raise UsageError(
                f"the cache of datasets, {config.HF_DATASETS_CACHE}, cannot be written to ({_reason(error)}). Set "
                "HF_HOME to a writable folder with free disk space."
            ) from error
        raise UsageError(f"{given_as}, which cannot be loaded: {_reason(error)}") from error


@contextmanager
def _readmes_may_be_broken() -> Iterator[None]:
    """Let `datasets` read its README.md files by a class that does not fail; it has no option for that."""
    import yaml
    from datasets import load
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCard

    class Card(DatasetCard):
        @classmethod
        def load(cls, repo_id_or_path: Any, *args: Any, **options: Any) -> Any:
            try:
                card = super().load(repo_id_or_path, *args, **options)
                DatasetInfosDict.from_dataset_card_data(card.data)
                return card
            except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
                ignore_readme(Path(repo_id_or_path), error)
                return cls("---\n{}\n---\n")

    load.DatasetCard = Card
    try:
        yield
    finally:
        load.DatasetCard = DatasetCard


def _is_of_cache(error: BaseException) -> bool:
    """Return whether writing to the cache of `datasets` has failed, and not reading a table."""
    from datasets import config

    if not isinstance(error, OSError):
        return False
    cache, path = Path(config.HF_DATASETS_CACHE), Path(str(error.filename or "/no/file"))
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or path.is_relative_to(cache) or cache.is_relative_to(path)


def _reason(error: Exception) -> str:
    """Summarize an error of `datasets` in one line, by the part that helps."""
    from datasets.table import CastError

    cause = error if isinstance(error, UsageError) else error.__cause__ or error
    if isinstance(cause, UsageError):
        return str(cause)
    if isinstance(cause, CastError):
        return (
            f"its files must have the same columns of the same types, but {cause.details()}. Pass them separately with "
            "--train_file, --validation_file and --test_file, whose columns may differ."
        )
    if "corresponds to no data" in str(cause):
        return "it has no rows."
    if str(cause).startswith("Config name is missing"):
        return f"{str(cause).splitlines()[1]}. Set it with --dataset_config_name."
    return explain(cause)
