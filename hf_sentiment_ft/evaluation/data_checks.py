"""What is wrong with the rows rather than with the model: rows in two splits, and labels that are probably errors."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .tfidf import MAX_ROWS, counted_words, cross_validated, sampled

if TYPE_CHECKING:
    from datasets import Dataset

    from ..data.splits import LabelledSplits
    from .predictions import Predictions

SIMILAR = 0.9  # cosine of two texts that count as near-duplicates
ROWS_AT_ONCE = 256
LISTED_LABELS = 20  # suspected label errors of a split
LISTED_PAIRS = 5
LONGEST = 400  # characters of a listed text


def check_rows(data: "LabelledSplits", predictions: "dict[str, Predictions]") -> dict[str, Any]:
    """Look for near-duplicates of train rows in the other splits, and for label errors in all of them.

    Args:
        data: Labelled rows.
        predictions: Predictions of the trained model, by split.

    Returns:
        `near_duplicates` by split: how many of its `rows` are `compared`, the numbers of those that are `equal` to a
        train row or only `similar`, and some `pairs`; `label_errors` by split: how many rows are `checked`, the
        `accuracy` on them, how many are `found`, and the most suspicious `rows`; and `left_out`, sentences on what was
        not looked for. All of it can be saved as JSON.
    """
    splits, notes = data.splits, []
    evaluated = {split: splits[split] for split in ("validation", "test") if split in predictions}
    errors: dict[str, Any] = {}
    for split, rows in evaluated.items():
        ids = predictions[split].class_ids
        errors[split] = _label_errors(rows, predictions[split].probabilities, ids, np.arange(len(ids)), data.labels)
    if data.stream is not None:
        notes.append(
            "Train rows were streamed and not kept, so there is no TF-IDF baseline, and they were not searched for "
            "duplicates and label errors."
        )
        return {"near_duplicates": {}, "label_errors": errors, "left_out": notes}
    probabilities, columns, rows = cross_validated(splits["train"])
    if len(rows):
        ids = np.asarray(splits["train"]["label"][:])[rows]
        names = [data.labels[number] for number in np.unique(ids)]
        errors["train"] = _label_errors(splits["train"], probabilities, columns, rows, names)
    else:
        notes.append("The train split has too few rows or words to look for label errors.")
    if len(splits["train"]) > MAX_ROWS:
        notes.append(
            f"The TF-IDF baseline is trained on {MAX_ROWS:,} of the {len(splits['train']):,} train rows, drawn at "
            "random, and only these were searched for label errors and for texts that are similar to others."
        )
    duplicates = {split: _duplicates(rows, splits["train"]) for split, rows in evaluated.items()}
    return {"near_duplicates": duplicates, "label_errors": errors, "left_out": notes}


def suspected_label_errors(
    probabilities: "np.ndarray[Any, Any]", class_ids: "np.ndarray[Any, Any]"
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Find rows that a model, which has not learned them, confidently gives another label: confident learning.

    A label counts as confident if its probability is at least its mean over the rows that have it. Northcutt et al.
    2021 (https://arxiv.org/abs/1911.00068); the rows are those of cleanlab's filter `confident_learning`.

    Args:
        probabilities: Probabilities of the labels, (rows, num_labels).
        class_ids: Class ids as they are in the data, (rows,).

    Returns:
        Row numbers, the most suspicious first, by how much more probable the other label is; and the other labels.
    """
    own = probabilities[np.arange(len(class_ids)), class_ids]
    counts = np.bincount(class_ids, minlength=probabilities.shape[1])
    means = np.bincount(class_ids, own, minlength=probabilities.shape[1]) / np.maximum(counts, 1)
    confident = np.where((probabilities >= means) & (counts > 0), probabilities, -1.0)
    likely, best = confident.argmax(axis=1), probabilities.argmax(axis=1)
    found = np.flatnonzero((confident.max(axis=1) >= 0) & (likely != class_ids) & (best != class_ids))
    found = found[np.argsort((own - probabilities.max(axis=1))[found], kind="stable")]
    return found, likely[found]


def _label_errors(
    split: "Dataset",
    probabilities: "np.ndarray[Any, Any]",
    class_ids: "np.ndarray[Any, Any]",
    rows: "np.ndarray[Any, Any]",
    labels: list[str],
) -> dict[str, Any]:
    found, likely = suspected_label_errors(probabilities, class_ids)
    listed = [
        {
            "row": int(rows[one]),
            "text": shortened(split[int(rows[one])]["text"]),
            "label": labels[class_ids[one]],
            "likely": labels[other],
            "probability": float(probabilities[one, other]),
        }
        for one, other in zip(found[:LISTED_LABELS], likely, strict=False)
    ]
    accuracy = float(np.mean(probabilities.argmax(axis=1) == class_ids))
    return {"checked": len(class_ids), "accuracy": accuracy, "found": len(found), "rows": listed}


def _duplicates(split: "Dataset", train: "Dataset") -> dict[str, Any]:
    """Find the rows of a split whose text is in train, or similar to one there."""
    texts, _, rows = sampled(split)
    others, _, train_rows = sampled(train)
    first = {text: row for row, text in reversed(list(enumerate(train["text"][:])))}
    equal = {row: first[text] for row, text in enumerate(split["text"][:]) if text in first}
    similar = {
        int(rows[one]): (int(train_rows[other]), cosine)
        for one, (other, cosine) in near_duplicates(texts, others).items()
        if int(rows[one]) not in equal
    }
    pairs = [(row, other, 1.0) for row, other in equal.items()][:LISTED_PAIRS]
    pairs += [(row, *found) for row, found in similar.items()][:LISTED_PAIRS]
    return {
        "rows": len(split),
        "compared": len(texts),
        "equal": list(equal),
        "similar": list(similar),
        "pairs": [
            {
                "row": row,
                "train_row": other,
                "cosine": cosine,
                "text": shortened(split[row]["text"]),
                "train_text": shortened(train[other]["text"]),
            }
            for row, other, cosine in pairs
        ],
    }


def near_duplicates(texts: list[str], others: list[str]) -> dict[int, tuple[int, float]]:
    """Find texts that have almost the same words as one of some other texts.

    Returns:
        For the number of each such text, the number of the most similar other text, and the cosine of their TF-IDF
        vectors.
    """
    features = counted_words([*texts, *others], (1, 1))
    if features is None:
        return {}
    vectors, columns = features.transform(texts), features.transform(others).T.tocsr()
    found: dict[int, tuple[int, float]] = {}
    for start in range(0, len(texts), ROWS_AT_ONCE):
        cosines = vectors[start : start + ROWS_AT_ONCE] @ columns  # sparse, (rows, others)
        best = np.asarray(cosines.argmax(axis=1)).ravel()
        most = cosines.max(axis=1).toarray().ravel()
        for row in np.flatnonzero(most >= SIMILAR).tolist():
            found[start + row] = int(best[row]), min(1.0, float(most[row]))
    return found


def shortened(text: str) -> str:
    """Return the beginning of a text that is too long for a table."""
    return text[:LONGEST] + "…" * (len(text) > LONGEST)
