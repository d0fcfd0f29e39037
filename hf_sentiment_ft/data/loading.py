"""Load tables unchanged from files, a folder or the Hub, and select the splits of a run."""

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.arguments import DataArguments
from ..errors import UsageError, first_line
from ..hub import hub_errors, with_retries
from ..paths import resolve_package_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
# The builder of `datasets` for each type of file, and its options.
FILE_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".parquet": ("parquet", {}),
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
# Only empty CSV cells are missing values; "None" and "n/a" are text.
CSV_OPTIONS = {"keep_default_na": False, "na_values": [""]}


def load_raw(args: DataArguments) -> "DatasetDict":
    """Load files, a folder (saved by `save_to_disk` or holding data files), or a Hub dataset.

    With `--streaming`, the splits are of the class `IterableDataset`, and nothing is read yet.

    Raises:
        UsageError: If the data cannot be loaded.
    """
    import datasets

    if args.train_file:
        given = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        files = {split: find_files(split, pattern) for split, pattern in given.items() if pattern}
        # One split at a time: their columns may differ.
        found = {
            split: _load_files(f"--{split}_file is {given[split]}", *files[split], args.streaming) for split in files
        }
        return datasets.DatasetDict(found)
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
    if hasattr(builder.config, "keep_default_na"):
        options |= CSV_OPTIONS
    options |= {"name": args.dataset_config_name, "streaming": args.streaming}
    return load_or_refuse(given_as, datasets.load_dataset, source, **options)


def _own_cache(folder: Path) -> dict[str, Any]:
    """Return the option for a cache of these very files.

    If the README of a folder names its splits, `datasets` does not notice when the files change.
    """
    from datasets import config
    from datasets.fingerprint import Hasher

    stats = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    state = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()]
    return {"cache_dir": str(Path(config.HF_DATASETS_CACHE, f"local-{Hasher.hash(state)}"))}


def find_files(split: str, pattern: str) -> tuple[list[Path], str]:
    """Find the files that a flag names.

    Args:
        split: The split, for the message.
        pattern: A path or a glob pattern.

    Returns:
        The files, and their common suffix without compression, such as `.csv`.

    Raises:
        UsageError: If there are no files, one is empty, or they are of different or unsupported types.
    """
    exact = Path(pattern)
    found = [exact] if exact.is_file() else [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
    paths = [path for path in found if path.is_file()]
    if not paths:
        raise UsageError(f"--{split}_file is {pattern}, which is not a file, and no file matches it as a pattern.")
    suffixes = {_suffix(split, path) for path in paths}
    if len(suffixes) > 1:
        raise UsageError(
            f"--{split}_file is {pattern}, which matches files of several types ({', '.join(sorted(suffixes))}); "
            "expected one type."
        )
    for path in paths:
        if not path.stat().st_size:
            raise UsageError(f"--{split}_file is {pattern}, but {path} is empty.")
    return paths, suffixes.pop()


def _suffix(split: str, path: Path) -> str:
    """Return the suffix that tells how to read a file, such as `.csv` for `reviews.CSV.gz`."""
    import fsspec  # type: ignore[import-untyped]

    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in FILE_KINDS:
        raise UsageError(
            f"--{split}_file is {path}; expected a file of one of the types {', '.join(FILE_KINDS)}, "
            f"optionally compressed, such as .csv.gz ({', '.join(COMPRESSIONS)})."
        )
    if compression and compression not in fsspec.available_compressions():
        raise UsageError(f"--{split}_file is {path}; to read {compression}, install zstandard: pip install zstandard.")
    return suffixes[-1]


def _load_files(given_as: str, paths: list[Path], suffix: str, streaming: bool) -> "Dataset":
    import datasets

    kind, options = FILE_KINDS[suffix]
    if kind == "csv":
        options = options | CSV_OPTIONS
    names = [glob.escape(str(path)) for path in paths]  # a file named reviews[1].csv is not a pattern
    options = options | {"data_files": names, "split": "train", "streaming": streaming}
    return load_or_refuse(given_as, datasets.load_dataset, kind, **options)


def load_or_refuse(given_as: str, load: Any, *args: Any, **options: Any) -> Any:
    """Call a function of `datasets` with retries.

    Args:
        given_as: The flag and its value, such as `--dataset_name is user/name`; the message begins with it.
        load: The function.
        *args: Its arguments.
        **options: Its keyword arguments.

    Raises:
        UsageError: If the data cannot be loaded.
    """
    from datasets.exceptions import DatasetGenerationError

    try:
        return with_retries(lambda: load(*args, **options))
    except (*hub_errors(), DatasetGenerationError) as error:
        raise UsageError(f"{given_as}, which cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Summarize an error of `datasets` in one line, by the part that helps."""
    from datasets.table import CastError

    cause = error.__cause__ or error
    if isinstance(cause, CastError):
        return (
            f"its files must have the same columns of the same types, but {cause.details()}. Pass them separately with "
            "--train_file, --validation_file and --test_file, whose columns may differ."
        )
    if "corresponds to no data" in str(cause):
        return "it has no rows."
    if str(cause).startswith("Config name is missing"):
        return f"{str(cause).splitlines()[1]}. Set it with --dataset_config_name."
    return first_line(cause)


def name_splits(raw: "DatasetDict", args: DataArguments) -> "dict[str, Dataset]":
    """Select the splits that the flags name, otherwise those with the usual names, skipping empty ones.

    Args:
        raw: All splits of the dataset.
        args: `--train_split`, `--validation_split`, `--test_split`, such as `unsupervised` or `train[:80%]+extra`.

    Raises:
        UsageError: If there is no train split, or a flag names rows that do not exist or that another flag names.
    """
    given = {"train": args.train_split, "validation": args.validation_split, "test": args.test_split}
    rows = {split: _row_ranges(raw, split, spec) for split, spec in given.items() if spec}
    taken = {name for ranges in rows.values() for name, _, _ in ranges}
    named = {}
    for split, names in SPLIT_NAMES.items():
        if split in rows:
            _refuse_shared_rows(split, rows)
            named[split] = _select(raw, rows[split])
            continue
        found = [name for name in names if name in raw and len(raw[name]) and name not in taken]
        if found:
            named[split] = raw[found[0]]
    if "train" not in named:
        there = ", ".join(map(str, raw))
        raise UsageError(
            f"the dataset has the splits {there}; expected one named train, with rows. Set it with --train_split."
        )
    return named


def _row_ranges(raw: "DatasetDict", split: str, spec: str) -> list[tuple[str, int, int]]:
    """Parse the value of a split's flag, in the notation of `datasets`.

    Returns:
        Split name, first row and end of each part.
    """
    from datasets import ReadInstruction

    try:
        parts = ReadInstruction.from_spec(spec).to_absolute({name: len(dataset) for name, dataset in raw.items()})
    except ValueError as error:
        there = ", ".join(map(str, raw))
        raise UsageError(
            f"--{split}_split is {spec!r}; expected one or more of {there}, or slices such as train[:80%]."
        ) from error
    ranges = [(part.splitname, part.from_, part.to) for part in parts if part.from_ < part.to]
    if not ranges:
        raise UsageError(f"--{split}_split is {spec!r}, which has no rows.")
    return ranges


def _refuse_shared_rows(split: str, rows: dict[str, list[tuple[str, int, int]]]) -> None:
    """Refuse splits with rows in common; a model must not be evaluated on rows that it was trained on."""
    for other in rows:
        for name, start, end in rows[split]:
            for other_name, other_start, other_end in rows[other]:
                if other != split and name == other_name and max(start, other_start) < min(end, other_end):
                    raise UsageError(
                        f"--{split}_split and --{other}_split have rows of {name!r} in common; choose ranges that do "
                        "not overlap."
                    )


def _select(raw: "DatasetDict", ranges: list[tuple[str, int, int]]) -> "Dataset":
    from datasets import concatenate_datasets

    return concatenate_datasets([raw[name].select(range(start, end)) for name, start, end in ranges])
