"""TF-IDF with logistic regression: what counting words alone achieves, trained on the same rows within seconds."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sampling import stratified_sample
from ..label_words.attribution import SPACELESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset
    from sklearn.feature_extraction.text import TfidfVectorizer

MAX_ROWS = 20_000  # of train; more take minutes and add little
MAX_WEIGHTS = 2_000_000  # of the regression
WORD = rf"(?=[{SPACELESS}])\X|[^\W{SPACELESS}]+"  # scikit-learn's own pattern would make a word of a Chinese sentence
FOLDS = 5


def tfidf_accuracy(train: "Dataset", test: "Dataset") -> float | None:
    """Return the test accuracy of TF-IDF with logistic regression, trained on the train split.

    Args:
        train: Rows with the columns `text` and `label`; `MAX_ROWS` of them are used if there are more.
        test: Rows with the same columns.

    Returns:
        The accuracy; None if no train text contains a word.
    """
    texts, labels = sampled(train)[:2]
    features = counted_words(texts, (1, 2), MAX_WEIGHTS // (labels.max() + 1))
    if features is None:
        return None
    with almost_converged():
        model = regression().fit(features.transform(texts), labels)
    return float(np.mean(model.predict(features.transform(test["text"][:])) == np.asarray(test["label"][:])))


def cross_validated(train: "Dataset") -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Predict each train row by TF-IDF with logistic regression, trained on the other folds.

    Labels of fewer rows than there are folds are left out: their rows would be predicted by models that hardly know
    them.

    Args:
        train: Rows with the columns `text` and `label`; `MAX_ROWS` of them are used if there are more.

    Returns:
        Probabilities, (rows, num_labels) with a column for each label that is not left out, in ascending order; class
        ids as numbers of these columns, (rows,); and row numbers, (rows,). All are empty if there are too few rows or
        words.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    texts, labels, rows = sampled(train)
    common = np.flatnonzero(np.bincount(labels)[labels] >= FOLDS)
    texts, labels, rows = [texts[row] for row in common], labels[common], rows[common]
    found, columns = np.unique(labels, return_inverse=True)
    features = counted_words(texts, (1, 2), MAX_WEIGHTS // max(1, len(found))) if len(found) > 1 else None
    if features is None:
        return np.empty((0, 0)), np.empty(0, int), np.empty(0, int)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    # Words are counted once for all folds: which words there are, and how rare, says nothing about the labels.
    counts = features.transform(texts)
    with almost_converged():
        probabilities = cross_val_predict(regression(), counts, columns, cv=folds, method="predict_proba")
    return probabilities, columns, rows


def counted_words(
    texts: "Sequence[str]", ngram_range: tuple[int, int], max_features: int | None = None
) -> "TfidfVectorizer | None":
    """Return a vectorizer that knows the words of these texts; None if they have none."""
    import regex
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = regex.compile(WORD).findall
    if not any(map(words, texts)):
        return None
    options: dict[str, Any] = {"ngram_range": ngram_range, "max_features": max_features, "dtype": np.float32}
    return TfidfVectorizer(tokenizer=words, token_pattern=None, sublinear_tf=True, **options).fit(texts)


def sampled(split: "Dataset") -> "tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Return the texts, class ids and row numbers of a split, or of `MAX_ROWS` of its rows, drawn from all classes."""
    labels = np.asarray(split["label"][:])
    rows = stratified_sample(labels, min(MAX_ROWS, len(labels)), seed=0)
    return split.select(rows)["text"][:], labels[rows], rows


def regression() -> Any:
    """Return the classifier; its C was chosen on the validation split of rotten_tomatoes."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=200)


@contextmanager
def almost_converged() -> Iterator[None]:
    """Do not warn of a fit that ends before it has converged; for a baseline, it is near enough."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
