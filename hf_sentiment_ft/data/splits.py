"""Load labelled texts, split and sample them, and record what was done."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.arguments import DataArguments
from ..errors import UsageError
from .columns import find_columns, with_lists
from .label_columns import with_kind
from .loading import load_raw
from .naming import name_splits
from .questions import unanswered
from .rows import UNLABELLED_TEST, LabelledSplits, Split, read_asked, read_labelled, reported_split
from .sampling import sample_per_class, stratified_sample
from .streaming import open_stream

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = ["UNLABELLED_TEST", "LabelledSplits", "load_evaluation_splits", "load_splits", "reported_split"]

logger = logging.getLogger(__name__)


def load_splits(args: DataArguments, seed: int, label_words: str | None = None) -> LabelledSplits:
    """Load, check and sample the data of a run.

    Args:
        args: The data flags: where the data is, and its columns.
        seed: Random seed for the rows that are split off train or sampled, unless the flags give another.
        label_words: Value of `--label_words`, which may name labels that the first rows of a stream do not have.

    Raises:
        UsageError: If the data cannot be loaded or does not contain texts with labels; the message names the rows.
    """
    seed = seed if args.sampling_seed is None else args.sampling_seed
    source, copy = args.dataset_name, args.save_dataset_dir
    if source and copy and Path(source).resolve() == Path(copy).resolve():
        raise UsageError(f"--save_dataset_dir is {copy}, the folder that the dataset is read from; use another folder.")
    stream = open_stream(args) if args.streaming else None
    named = stream.first_rows if stream else name_splits(_load_table(args), args)
    columns = with_kind(with_lists(find_columns(named["train"].column_names, args), named["train"]), named["train"])
    if columns.asks:
        data, splits = read_asked(named, columns, streamed=args.streaming)
    else:
        data, splits = read_labelled(named, columns, stream, label_words)
    _refuse_labels_without_rows(data, splits, "no row of the train split has")
    if columns.template:
        data.notes.append(f"Each text is formed from columns: `{columns.template!r}`.")
    given = {"train": args.train_split, "validation": args.validation_split, "test": args.test_split}
    data.sources = {split: spec for split, spec in given.items() if spec}
    data.notes += [f"{split} is the dataset's {spec}." for split, spec in data.sources.items() if spec != split]

    percentages = {"validation": args.validation_split_percentage, "test": args.test_split_percentage}
    for split, percentage in percentages.items():
        if split not in splits and percentage and not (split == "test" and UNLABELLED_TEST in splits):
            _split_off(data, splits, split, percentage, seed, of=len(named["train"]))
    if args.drop_duplicates:
        _drop_duplicates(data, splits)
    _sample(data, splits, args, seed)
    _report_duplicates(data, splits)
    if args.class_weights == "balanced":
        train = splits["train"]
        _balance(data, train.labels if train.answers is None else train.answers.flatten())
    data.splits = {split: rows.dataset for split, rows in splits.items()}
    for note in data.notes:
        logger.info(note)
    return data


def _load_table(args: DataArguments) -> "DatasetDict":
    raw = load_raw(args)
    if args.save_dataset_dir:
        raw.save_to_disk(args.save_dataset_dir)
    return raw


def _refuse_labels_without_rows(data: LabelledSplits, splits: dict[str, Split], reason: str) -> None:
    train = splits["train"]
    if train.answers is not None:
        missing = unanswered(train.answers, data.questions, data.labels, data.multi_label)
    else:
        counted = np.bincount(train.labels, minlength=len(data.labels))
        present = counted if train.shares is None else train.shares.sum(axis=0)
        missing = [data.labels[label] for label in np.flatnonzero(present == 0)]
    if missing and data.stream is None:  # the first rows of a stream may lack some labels
        raise UsageError(f"{reason} the label {', '.join(missing)}; the model cannot learn it.")


def _split_off(data: LabelledSplits, splits: dict[str, Split], split: str, percentage: int, seed: int, of: int) -> None:
    """Take a split from train, which had `of` rows before any split was taken."""
    train = splits["train"]
    size = max(len(data.labels), round(len(train) * percentage / 100))
    chosen = stratified_sample(train.labels, size, seed, rare_first=False)
    rest = np.setdiff1d(np.arange(len(train)), chosen)
    if len(rest) < len(data.labels):
        before = f"{of - len(train)} of them became validation, and " if of > len(train) else ""
        raise UsageError(
            f"the train split has {of} rows, too few to take a {split} split from it: {before}{len(chosen)} would "
            f"become {split} (at least one for each of the {len(data.labels)} labels), which leaves {len(rest)} to "
            f"train on. Add rows, pass --{split}_file" + (", or use --test_split_percentage 0." if before else ".")
        )
    splits[split], splits["train"] = train.select(chosen), train.select(rest)
    note = f"The data has no {split} split: {size} of {len(train)} train rows were taken, seed {seed}."
    data.notes.append(note)
    data.split_off[split] = note


def _sample(data: LabelledSplits, splits: dict[str, Split], args: DataArguments, seed: int) -> None:
    limits = {"train": args.max_train_samples, "validation": args.max_eval_samples}
    limits |= {"test": args.max_test_samples, UNLABELLED_TEST: args.max_test_samples}
    for split, limit in limits.items():
        _limit(data, splits, split, limit, seed)
    _refuse_labels_without_rows(data, splits, f"--max_train_samples is {args.max_train_samples}: no row is left for")
    if args.num_shots_per_class:
        train, shots = splits["train"], args.num_shots_per_class
        splits["train"] = train.select(sample_per_class(train.labels, shots, seed))
        fewer = np.sum(np.bincount(train.labels) < shots)
        note = f"Few-shot: {len(splits['train'])} of {len(train)} train rows, {shots} of each class, seed {seed}"
        data.notes.append(f"{note}; {fewer} classes have fewer." if fewer else f"{note}.")


def _limit(data: LabelledSplits, splits: dict[str, Split], split: str, limit: int | None, seed: int) -> None:
    if limit is not None and split in splits and limit < len(splits[split]):
        data.notes.append(f"{limit} of {len(splits[split])} {split} rows, sampled from all classes, seed {seed}.")
        splits[split] = splits[split].select(stratified_sample(splits[split].labels, limit, seed))


def _drop_duplicates(data: LabelledSplits, splits: dict[str, Split]) -> None:
    train = splits["train"]
    others = np.concatenate([rows.texts for split, rows in splits.items() if split != "train"])
    shared = np.isin(train.texts, others)
    if shared.any():
        splits["train"] = train.select(np.flatnonzero(~shared))
        data.notes.append(
            f"{shared.sum()} of {len(train)} train rows were dropped, since their text is also in another split."
        )
        _refuse_labels_without_rows(data, splits, "--drop_duplicates leaves no row with")


def _report_duplicates(data: LabelledSplits, splits: dict[str, Split]) -> None:
    cure = "; use --drop_duplicates to remove such texts from train." if data.stream is None else "."
    for split, rows in splits.items():
        if split != "train" and (count := np.isin(rows.texts, splits["train"].texts).sum()):
            data.notes.append(
                f"{count} of {len(rows)} {split} rows have a text that is also in train, which makes their metrics "
                f"too good{cure}"
            )


def _balance(data: LabelledSplits, labels: "np.ndarray[Any, Any]") -> None:
    """Weight the classes inversely to their frequency in train."""
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.arange(len(data.labels))
    if missing := [data.labels[label] for label in np.setdiff1d(classes, labels)]:  # only if the labels are soft
        raise UsageError(
            f"--class_weights is balanced, but {', '.join(missing)} has the largest share of no train row. Remove it."
        )
    data.class_weights = compute_class_weight("balanced", classes=classes, y=labels).tolist()
    weights = ", ".join(f"{label} {weight:.3g}" for label, weight in zip(data.labels, data.class_weights, strict=True))
    if len(classes) > 20:
        weights = f"{min(data.class_weights):.3g} to {max(data.class_weights):.3g}"
    data.notes.append(f"The loss is weighted by class, rare classes more (balanced): {weights}.")


def load_evaluation_splits(args: DataArguments, seed: int) -> LabelledSplits:
    """Load the same splits as a training run; if train and test are the same file, all of its rows are tested.

    Args:
        args: The data flags.
        seed: Random seed for the rows that are split off or sampled.

    Raises:
        UsageError: If the data cannot be loaded or does not contain texts with labels.
    """
    if args.streaming or args.train_file is None or args.train_file != args.test_file:
        return load_splits(args, seed)
    table = load_raw(args)["test"]
    columns = with_kind(with_lists(find_columns(table.column_names, args), table), table)
    if columns.asks:
        data, splits = read_asked({"test": table}, columns, only_evaluated=True)
    else:
        data, splits = read_labelled({"test": table}, columns, only_evaluated=True)
    data.splits["train"] = splits["test"].dataset
    _limit(data, splits, "test", args.max_test_samples, seed)
    data.splits["test"] = splits["test"].dataset
    return data
