"""What a run's report shows beyond its metrics, in `report.json`: checks of the rows, and the words that mattered."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..label_words.attribution import word_importance
from ..label_words.calibration import Calibration
from ..label_words.model import LabelWordModel, load_label_word_model, place
from ..model.loading import context_length
from ..training.compilation import uncompiled
from .data_checks import check_rows
from .evaluated import Evaluated, problem_type, read_evaluated

if TYPE_CHECKING:
    from datasets import Dataset

    from ..label_words.task import LabelWordTask
    from ..training.trainer import LabelWordTrainer
    from .predictions import Predictions

FINDINGS = "report.json"
MARKED_ROWS = 3  # of each list of texts; on a CPU, a text takes a second
LONGEST_MARKED = 2_000  # characters of a text whose words are tried


def examine_run(
    trainer: "LabelWordTrainer",
    task: "LabelWordTask",
    tokenized: "dict[str, Dataset]",
    predictions: "dict[str, Predictions]",
) -> dict[str, Any]:
    """Examine the rows of a run that has just ended, and the words of the texts that its report shows.

    The words are left out if processes share the weights: only the first one is here. `add_words` can do it later.

    Args:
        trainer: Trainer that has trained the model and saved its predictions.
        task: Prompt, label words and rows.
        tokenized: Tokenized splits by name.
        predictions: Predictions of the trained model, by split.

    Returns:
        The return value of `check_rows`; `truncated` and `longer_than_train`, with the `limit` in tokens and the
        numbers of the evaluated `rows` that are longer; and `words`, the return value of `important_words`. Empty where
        there are several questions.
    """
    if task.questions:
        return {}
    evaluated = read_evaluated(Path(str(trainer.args.output_dir)))
    rows = tokenized[evaluated.split]
    beyond = np.asarray(rows["length"][:]) + task.verbalizer.max_tokens > task.max_train_length
    findings = check_rows(task.data, predictions) | {
        "truncated": {"limit": context_length(task.config), "rows": _numbers(rows["truncated"][:])},
        "longer_than_train": {"limit": task.max_train_length, "rows": _numbers(beyond)},
    }
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False).eval()
        calibration = Calibration.saved_in(getattr(model, "get_base_model", lambda: model)().config)
        with uncompiled():
            loaded = LabelWordModel(model, task.tokenizer, task.verbalizer, calibration)
            findings["words"] = important_words(loaded, evaluated)
    return findings


def read_findings(folder: Path) -> dict[str, Any]:
    """Return what was found out about a run when it ended; empty if nothing was saved."""
    path = folder / FINDINGS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def add_words(folder: Path) -> dict[str, Any]:
    """Return the findings of a run, with the words that mattered, if they are missing and its model is there.

    They are left out where a text has several labels.

    Args:
        folder: Output folder of the run.

    Raises:
        UsageError: If the folder contains no finished run, or its model cannot be loaded.
    """
    findings = read_findings(folder)
    if problem_type(folder):
        return findings
    if "words" not in findings and ((folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()):
        evaluated, loaded = read_evaluated(folder), load_label_word_model(str(folder))
        place(loaded, None)
        findings["words"] = important_words(loaded, evaluated)
    return findings


def save_findings(findings: dict[str, Any], folder: Path) -> None:
    """Save what was found out about a run in its folder."""
    (folder / FINDINGS).write_text(json.dumps(findings, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def important_words(loaded: LabelWordModel, evaluated: Evaluated) -> dict[str, list[list[float]]]:
    """Measure the importance of the words in the first texts of each list that the report shows.

    Args:
        loaded: The trained model.
        evaluated: The evaluated rows.

    Returns:
        By text, start, end and importance of each word; texts of more than `LONGEST_MARKED` characters are left out.
    """
    rows = evaluated.confident_mistakes[:MARKED_ROWS] + evaluated.least_certain[:MARKED_ROWS]
    shown = dict.fromkeys(evaluated.rows["text"][rows])
    return {
        text: [[word.start, word.end, round(word.importance, 4)] for word in word_importance(loaded, text)]
        for text in shown
        if len(text) <= LONGEST_MARKED
    }


def _numbers(chosen: Any) -> list[int]:
    return np.flatnonzero(np.asarray(chosen)).tolist()
