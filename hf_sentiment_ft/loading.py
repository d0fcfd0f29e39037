"""Load a table as it is: from files, from a folder, or from the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import DataArguments
from .errors import UsageError, first_line
from .paths import resolve_package_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
FILE_KINDS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
# Of a CSV's cells only the empty one is missing; words such as "None" and "n/a" are words.
CSV_OPTIONS = {"keep_default_na": False, "na_values": [""]}


def load_raw(args: DataArguments) -> "DatasetDict":
    """Load files, a folder (saved by `save_to_disk` or holding data files), or a Hub data set.

    Raises:
        UsageError: If it cannot be loaded.
    """
    import datasets

    if args.train_file:
        files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        for split, path in files.items():
            _check_file(split, path)
        # One by one: columns that only some files have are no fault.
        return datasets.DatasetDict({split: _load_file(split, path) for split, path in files.items() if path})
    source = resolve_package_path(str(args.dataset_name))
    folder = Path(source)
    given_as = f"--dataset_name is {args.dataset_name}"
    if (folder / "dataset_dict.json").is_file():
        return _load(given_as, datasets.DatasetDict.load_from_disk, source)
    if (folder / "state.json").is_file():  # one table, saved by Dataset.save_to_disk
        return datasets.DatasetDict({"train": _load(given_as, datasets.Dataset.load_from_disk, source)})
    options = _own_cache(folder) if folder.is_dir() else {"revision": args.dataset_revision}
    return _load(given_as, datasets.load_dataset, source, args.dataset_config_name, **options)


def _own_cache(folder: Path) -> dict[str, str]:
    """A cache for these very files: where a folder's README names its splits, `datasets` does not see them change."""
    from datasets import config
    from datasets.fingerprint import Hasher

    stats = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    state = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()]
    return {"cache_dir": str(Path(config.HF_DATASETS_CACHE, f"local-{Hasher.hash(state)}"))}


def _check_file(split: str, path: str | None) -> None:
    if path and not Path(path).is_file():
        raise UsageError(f"--{split}_file is {path}, which is not a file.")
    if path and Path(path).suffix not in FILE_KINDS:
        raise UsageError(f"--{split}_file is {path}; expected a file of one of the kinds {', '.join(FILE_KINDS)}.")


def _load_file(split: str, path: str) -> "Dataset":
    import datasets

    kind = FILE_KINDS[Path(path).suffix]
    options = CSV_OPTIONS if kind == "csv" else {}
    given_as = f"--{split}_file is {path}"
    return _load(given_as, datasets.load_dataset, kind, data_files=str(path), split="train", **options)


def _load(given_as: str, load: Any, *args: Any, **options: Any) -> Any:
    from datasets.exceptions import DatasetGenerationError

    try:
        return load(*args, **options)
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise UsageError(f"{given_as}, which cannot be loaded: {first_line(error.__cause__ or error)}") from error


def name_splits(raw: "DatasetDict") -> "dict[str, Dataset]":
    """Pick the splits by their usual names; empty ones do not count.

    Raises:
        UsageError: If there is none to train on.
    """
    named = {}
    for split, names in SPLIT_NAMES.items():
        found = [name for name in names if name in raw and len(raw[name])]
        if found:
            named[split] = raw[found[0]]
    if "train" not in named:
        raise UsageError(
            f"the data set has the splits {', '.join(map(str, raw))}; expected one named train, with rows."
        )
    return named
