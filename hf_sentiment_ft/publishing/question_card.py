"""What a card says of a model of several questions: one for each label of a text, or for each label column."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..label_words.decision import column_folder

if TYPE_CHECKING:
    from ..label_words.task import LabelWordTask

BASELINES = {"zero_shot": "zero_shot_test_", "tfidf": "tfidf_test_", "majority": "majority_test_"}


def question_values(
    folder: Path, task: "LabelWordTask", results: dict[str, Any], test: dict[str, Any], validation: dict[str, Any]
) -> dict[str, Any]:
    """Return the values of the card that depend on the questions; empty for a single question.

    Args:
        folder: Output folder, with the decision configs of label columns.
        task: Questions, label words and rows.
        results: All metrics, with the keys of `all_results.json`.
        test: Metrics of the test split, without prefix; empty if there is none.
        validation: The same for the validation split.
    """
    questions = task.questions
    if questions is None:
        return {}
    shared = {"question": f"{questions.between}{{label}}", "test": test, "validation": validation}
    if questions.multi_label:
        found = {
            name: {key.removeprefix(prefix): value for key, value in results.items() if key.startswith(prefix)}
            for name, prefix in BASELINES.items()
        }
        figures = (test or validation)["per_label"]
        sets = shared | {
            "labels": questions.names,
            "separator": questions.separator,
            "thresholds": {label: of_label["threshold"] for label, of_label in figures.items()},
            "baselines": {name: baseline for name, baseline in found.items() if baseline},
            "target_precision": task.args.target_precision,
        }
        return {"label_sets": sets}
    labels, words = task.verbalizer.labels, task.verbalizer.words
    columns = [
        {
            "name": name,
            "text": text,
            "folder": column_folder(questions, number),
            "decides": (folder / column_folder(questions, number) / "decision.json").is_file(),
            "labels": [labels[label] for label in ids],
            "words": [words[label] for label in ids],
            "figures": (test or validation)["columns"][name],
            "zero_shot": results.get("zero_shot_test_columns", {}).get(name, {}).get("accuracy"),
            "tfidf": results.get("tfidf_test_columns", {}).get(name),
            "majority": results.get("majority_test_columns", {}).get(name),
        }
        for number, (name, text, ids) in enumerate(
            zip(questions.names, questions.texts, questions.label_ids, strict=True)
        )
    ]
    return {"label_columns": shared | {"columns": columns}}
