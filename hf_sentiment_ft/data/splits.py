"""Load labelled texts, split and sample them, and record what was done."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.arguments import DataArguments
from ..errors import UsageError
from .columns import Columns, find_columns, with_lists
from .labels import label_ids, label_names, read_labels
from .loading import load_raw
from .naming import name_splits
from .questions import Question, choose_separator, find_questions, read_answers, sampling_classes, unanswered
from .sampling import sample_per_class, stratified_sample
from .streaming import TrainStream, checked_rows, open_stream, stream_labels
from .texts import number_texts, read_texts, refuse_swapped

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict

logger = logging.getLogger(__name__)

UNLABELLED_TEST = "unlabelled_test"
_UNLABELLED = (
    "The test split has no labels: its {} rows are only predicted, and the reported metrics are those of validation."
)


def reported_split(splits: Iterable[str]) -> tuple[str, str]:
    """Return the split whose metrics count, test or else validation, and the prefix of their names."""
    return ("test", "test") if "test" in splits else ("validation", "eval")


@dataclass
class LabelledSplits:
    """The rows of a run, with the columns `text` and `label` (a class id), and how they were obtained.

    If there are questions, the rows have the column `answers` (the class id of the answer to each) instead of `label`.

    Attributes:
        splits: `train`, `validation` and, if there is one, `test`. A test split without labels, which can only be
            predicted, is named `unlabelled_test` and has no column `label`.
        labels: Label names in the order of their ids.
        notes: Sentences for the log and the card: what was split off or sampled, and how.
        split_off: The note of each split that was taken from train.
        sources: The dataset's own name for the rows of each split, such as `train[80%:]`, where a flag names them.
        class_weights: Loss weight of each class, in the order of the ids; 1 on average over train.
        stream: All train rows, if train is streamed; `train` then contains the first ones.
        questions: What is asked about every text, if a row has several labels or label columns; otherwise empty.
        multi_label: Whether the questions are the labels that a text may have; otherwise they are label columns.
        label_separator: What separates the labels of a text where they are written as one string.
    """

    splits: "dict[str, Dataset]"
    labels: list[str]
    notes: list[str] = field(default_factory=list)
    split_off: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    class_weights: list[float] | None = None
    stream: TrainStream | None = None
    questions: list[Question] = field(default_factory=list)
    multi_label: bool = False
    label_separator: str = ";"


@dataclass(frozen=True)
class _Split:
    """A split in the making; `datasets` reads a selection row by row, so labels and texts are kept beside it.

    Attributes:
        dataset: The rows.
        labels: Class ids, (rows,); 0 as a placeholder if the rows have no labels. Where there are questions, they are
            those of `sampling_classes`.
        texts: Text numbers, (rows,), equal for equal texts across all splits.
        answers: Answers to the questions, (rows, questions); None if there are none.
    """

    dataset: "Dataset"
    labels: "np.ndarray[Any, Any]"
    texts: "np.ndarray[Any, Any]"
    answers: "np.ndarray[Any, Any] | None" = None

    def __len__(self) -> int:
        return len(self.dataset)

    def select(self, rows: "np.ndarray[Any, Any]") -> "_Split":
        answers = None if self.answers is None else self.answers[rows]
        return _Split(self.dataset.select(rows), self.labels[rows], self.texts[rows], answers)


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
    columns = with_lists(find_columns(named["train"].column_names, args), named["train"])
    if columns.asks:
        data, splits = _read_questions(named, columns, streamed=args.streaming)
    else:
        data, splits = _read_labels(named, columns, stream, label_words)
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


def _read_labels(
    named: "dict[str, Dataset]", columns: Columns, stream: TrainStream | None, label_words: str | None
) -> tuple[LabelledSplits, dict[str, _Split]]:
    """Read rows that have one label each."""
    values = {split: read_labels(dataset, split, columns) for split, dataset in named.items()}
    labels = stream_labels(stream, columns, values, label_words) if stream else []
    texts = {split: read_texts(dataset, split, columns) for split, dataset in named.items()}
    refuse_swapped(texts["train"], values["train"], columns)
    data = LabelledSplits({}, labels or label_names(named["train"], "train", values["train"], columns), stream=stream)
    if stream:
        stream.checked = checked_rows(stream, columns, labels)
        data.notes, data.split_off = list(stream.notes), stream.split_off
    return data, _label(data, values, texts, columns)


def _read_questions(
    named: "dict[str, Dataset]", columns: Columns, streamed: bool = False, only_evaluated: bool = False
) -> tuple[LabelledSplits, dict[str, _Split]]:
    """Read rows that have several labels, or several label columns."""
    if streamed:
        raise UsageError(
            "--streaming reads rows of one label each, but these have several labels. Remove --streaming, or stream "
            "them with a single label column."
        )
    first = next(iter(named.values()))
    questions, labels = find_questions(first, columns, only_evaluated)
    data = LabelledSplits({}, labels, questions=questions, multi_label=not columns.separate)
    if not columns.separate:
        data.label_separator = columns.separator or choose_separator([question.name for question in questions])
    texts = {split: read_texts(dataset, split, columns) for split, dataset in named.items()}
    splits = {}
    for split, numbers in number_texts(texts).items():
        answers = read_answers(named[split], split, columns, questions, labels)
        if answers is None:
            splits[UNLABELLED_TEST] = _Split(texts[split], np.zeros_like(numbers), numbers)
            data.notes.append(_UNLABELLED.format(len(numbers)))
            continue
        labelled = texts[split].add_column("answers", answers.tolist())
        splits[split] = _Split(labelled, sampling_classes(answers, columns.separate), numbers, answers)
    return data, splits


def _load_table(args: DataArguments) -> "DatasetDict":
    raw = load_raw(args)
    if args.save_dataset_dir:
        raw.save_to_disk(args.save_dataset_dir)
    return raw


def _label(
    data: LabelledSplits, values: "dict[str, pa.ChunkedArray]", texts: "dict[str, Dataset]", columns: Columns
) -> dict[str, _Split]:
    """Add the labels to the texts; a test split without labels becomes `unlabelled_test`."""
    from datasets import ClassLabel

    splits = {}
    for split, numbers in number_texts(texts).items():
        if split == "test" and _is_unlabelled(values[split], data.labels):
            splits[UNLABELLED_TEST] = _Split(texts[split], np.zeros_like(numbers), numbers)
            data.notes.append(_UNLABELLED.format(len(numbers)))
            continue
        ids = label_ids(values[split], split, columns, data.labels)
        labelled = texts[split].add_column("label", ids, feature=ClassLabel(names=data.labels))
        splits[split] = _Split(labelled, ids, numbers)
    return splits


def _is_unlabelled(values: "pa.ChunkedArray", names: list[str]) -> bool:
    """Return whether no row has a label: the column is missing or empty, or contains only -1, as in GLUE."""
    import pyarrow.compute as pc

    return "-1" not in names and pc.all(pc.fill_null(pc.equal(values, "-1"), True)).as_py()


def _refuse_labels_without_rows(data: LabelledSplits, splits: dict[str, _Split], reason: str) -> None:
    train = splits["train"]
    if train.answers is not None:
        missing = unanswered(train.answers, data.questions, data.labels, data.multi_label)
    else:
        present = np.bincount(train.labels, minlength=len(data.labels))
        missing = [data.labels[label] for label in np.flatnonzero(present == 0)]
    if missing and data.stream is None:  # the first rows of a stream may lack some labels
        raise UsageError(f"{reason} the label {', '.join(missing)}; the model cannot learn it.")


def _split_off(
    data: LabelledSplits, splits: dict[str, _Split], split: str, percentage: int, seed: int, of: int
) -> None:
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


def _sample(data: LabelledSplits, splits: dict[str, _Split], args: DataArguments, seed: int) -> None:
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


def _limit(data: LabelledSplits, splits: dict[str, _Split], split: str, limit: int | None, seed: int) -> None:
    if limit is not None and split in splits and limit < len(splits[split]):
        data.notes.append(f"{limit} of {len(splits[split])} {split} rows, sampled from all classes, seed {seed}.")
        splits[split] = splits[split].select(stratified_sample(splits[split].labels, limit, seed))


def _drop_duplicates(data: LabelledSplits, splits: dict[str, _Split]) -> None:
    train = splits["train"]
    others = np.concatenate([rows.texts for split, rows in splits.items() if split != "train"])
    shared = np.isin(train.texts, others)
    if shared.any():
        splits["train"] = train.select(np.flatnonzero(~shared))
        data.notes.append(
            f"{shared.sum()} of {len(train)} train rows were dropped, since their text is also in another split."
        )
        _refuse_labels_without_rows(data, splits, "--drop_duplicates leaves no row with")


def _report_duplicates(data: LabelledSplits, splits: dict[str, _Split]) -> None:
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
    columns = with_lists(find_columns(table.column_names, args), table)
    if columns.asks:
        data, splits = _read_questions({"test": table}, columns, only_evaluated=True)
    else:
        values = read_labels(table, "test", columns)
        data = LabelledSplits({}, label_names(table, "test", values, columns, least=1))  # the model knows the others
        splits = _label(data, {"test": values}, {"test": read_texts(table, "test", columns)}, columns)
    data.splits["train"] = splits["test"].dataset
    _limit(data, splits, "test", args.max_test_samples, seed)
    data.splits["test"] = splits["test"].dataset
    return data
