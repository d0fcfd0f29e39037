"""A model that answers with the label word, as a classifier of scikit-learn.

from hf_sentiment_ft import LabelWordClassifier

classifier = LabelWordClassifier.from_pretrained("user/name")
classifier.predict(["a moving, funny film"])
classifier.predict_proba(["a moving, funny film"])
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .errors import UsageError
from .label_words.answers import answer_questions
from .label_words.model import LabelWordModel, load_label_word_model, place, predict_probabilities
from .label_words.questions import YES


class LabelWordClassifier(ClassifierMixin, BaseEstimator):
    """Classifier of texts that follows scikit-learn's conventions.

    `fit` runs the training command, and its output folder can be published (`python -m hf_sentiment_ft.publish`).
    What scikit-learn offers for classifiers works with it, such as `classification_report` and `cross_val_predict`.

    Texts with several labels are scikit-learn's, too: `y` is an array of 0 and 1, (rows, num_labels), as
    `MultiLabelBinarizer` makes it, and so is what `predict` returns. A model of several label columns gives a label for
    each, (rows, columns); `fit` does not train such models.

    Attributes:
        classes_: Labels, (num_labels,), in the order of the columns of `predict_proba`; for several label columns, a
            list with those of each.
    """

    def __init__(
        self,
        model_name_or_path: str = "gpt2",
        *,
        output_dir: str | None = None,
        training_flags: dict[str, Any] | None = None,
        batch_size: int = 32,
        device: str | None = None,
        precision: str = "fp32",
    ) -> None:
        """Store the settings; nothing is loaded yet.

        Args:
            model_name_or_path: Base model that `fit` trains.
            output_dir: Where `fit` writes the model, its card and its results; None for a new temporary
                folder each time.
            training_flags: Further flags of the training command, such as `{"num_train_epochs": 2}`.
            batch_size: Texts per forward pass.
            device: Such as `cpu` or `cuda`; None for the GPU if there is one.
            precision: `bf16` for faster, slightly different predictions; see `hf_sentiment_ft.predict`.
        """
        self.model_name_or_path = model_name_or_path
        self.output_dir = output_dir
        self.training_flags = training_flags
        self.batch_size = batch_size
        self.device = device
        self.precision = precision

    @classmethod
    def from_pretrained(cls, model: str, revision: str = "main", **settings: Any) -> "LabelWordClassifier":
        """Load a trained model.

        Args:
            model: Folder of a training run, or Hub id.
            revision: Branch, tag or commit on the Hub.
            **settings: Arguments of the class, such as `batch_size` and `device`.

        Raises:
            UsageError: If there is no model, or this package did not train it.
        """
        classifier = cls(model, **settings)
        classifier._use(load_label_word_model(model, revision))
        return classifier

    def fit(self, X: Iterable[str], y: Iterable[Any]) -> "LabelWordClassifier":
        """Train the base model on texts and their labels.

        A tenth of the rows is kept for validation, which chooses the checkpoint, and as many for the test, unless
        `training_flags` says otherwise.

        Args:
            X: Texts.
            y: Labels: strings or numbers; or 0 and 1 for each label, (rows, num_labels).

        Raises:
            UsageError: If rows or flags are invalid.
        """
        from .train import train

        texts, given = _texts(X), np.asarray(y)
        if len(texts) != len(given):
            raise UsageError(f"there are {len(texts)} texts and {len(given)} labels. Give one label for each text.")
        self.output_dir_ = self.output_dir or tempfile.mkdtemp(prefix="hf_sentiment_ft-")
        several = given.ndim == 2
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "train.jsonl"
            labels = [np.flatnonzero(row).tolist() for row in given] if several else map(str, given)
            rows = (json.dumps({"text": text, "label": label}) for text, label in zip(texts, labels, strict=True))
            table.write_text("\n".join(rows) + "\n", encoding="utf-8")
            ours = {"model_name_or_path": self.model_name_or_path, "output_dir": self.output_dir_}
            train(**{"train_file": table, **ours, **(self.training_flags or {})})
        self._use(load_label_word_model(self.output_dir_), np.arange(given.shape[1]) if several else np.unique(given))
        return self

    def _use(self, loaded: LabelWordModel, classes: "np.ndarray[Any, Any] | None" = None) -> None:
        """Predict with this model from now on."""
        place(loaded, self.device)
        labels, questions = loaded.verbalizer.labels, loaded.questions
        self._loaded, self._columns = loaded, list[int]()
        if questions and not questions.multi_label:
            self.classes_: Any = [np.array([labels[label] for label in ids]) for ids in questions.label_ids]
            return
        names = questions.names if questions else labels
        self.classes_ = np.array(names) if classes is None else classes
        self._columns = [names.index(str(label)) for label in self.classes_]

    def predict_proba(self, X: Iterable[str]) -> Any:
        """Return the probability of each label for each text, (rows, num_labels).

        Of several label columns, this is a list with such an array for each, as in scikit-learn.

        Raises:
            UsageError: If a text is empty or not a string.
        """
        check_is_fitted(self, "classes_")
        texts, loaded = _texts(X), self._loaded
        if loaded.questions is None:
            return predict_probabilities(loaded, texts, self.batch_size, self.precision)[:, self._columns]
        answers = answer_questions(loaded, texts, self.batch_size, self.precision)
        if loaded.questions.multi_label:
            return answers[:, self._columns, YES]
        return [answers[:, number, ids] for number, ids in enumerate(loaded.questions.label_ids)]

    def predict(self, X: Iterable[str]) -> "np.ndarray[Any, Any]":
        """Return the most probable label of each text, (rows,).

        Where a text can have several labels, return 0 or 1 for each, (rows, num_labels), by the model's own thresholds;
        where there are several label columns, a label for each, (rows, columns).

        Raises:
            UsageError: If a text is empty or not a string.
        """
        probabilities, questions = self.predict_proba(X), self._loaded.questions
        if questions is None:
            return self.classes_[probabilities.argmax(axis=1)]
        if questions.multi_label:
            thresholds = np.array(questions.thresholds or [0.5] * len(questions.names))
            return np.asarray(probabilities >= thresholds[self._columns], dtype=int)
        columns = zip(self.classes_, probabilities, strict=True)
        return np.stack([names[figures.argmax(axis=1)] for names, figures in columns], axis=1)


def _texts(given: Iterable[str]) -> list[str]:
    """Return the texts, which may come as a list, an array, or a column of a table.

    Raises:
        UsageError: If one of them is empty or not a string.
    """
    from .data.columns import Columns
    from .data.texts import texts_of

    if isinstance(given, str):
        raise UsageError(f"one text was given, {given[:60]!r}; expected a list of texts. Put it in brackets.")
    rows = [{"text": text} for text in given]
    return texts_of(rows, "the given texts", Columns(["text"], label=""))
