"""The files of a run: what they are called, which of them are published, and which files are somebody else's.

A run records in `hf_sentiment_ft.json`, in its output folder, which files it has written, and their sizes. A file that
is not recorded belongs to the user: it is never removed, replaced or published. Nor is one removed or replaced that is
recorded, but has become a link or has another size.
"""

import json
import os
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

RECORD = "hf_sentiment_ft.json"
CONTENTS = "checkpoint.json"  # in each checkpoint: its files, their sizes, and the run it belongs to
UNLISTED = (CONTENTS, "trainer_state.json", "training_args.bin")  # files of a checkpoint that CONTENTS does not list
UNFINISHED = "unfinished"  # subfolder of the output folder for what is being written; renamed once complete

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "decision.json",
    "decision_template.jinja",
    "decision/*/decision.json",
    "decision/*/decision_template.jinja",
    "adapter_config.json",
    "label_words/config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
EVALUATION_FILES = (
    "all_results.json",
    "eval_results.json",
    "test_results.json",
    "test_predictions.csv",
    "eval_predictions.csv",
)
CLASSIFIER_FILES = (
    "text-classification/config.json",
    "text-classification/model.safetensors",
    "text-classification/model-*-of-*.safetensors",
    "text-classification/model.safetensors.index.json",
    "text-classification/tokenizer.json",
    "text-classification/tokenizer_config.json",
    "text-classification/chat_template.jinja",
)
ONNX_FILES = tuple(
    f"{folder}/{name}"
    for folder in ("onnx", "onnx-int8")
    for name in (
        "model.onnx",
        "model.onnx.data",
        "export.json",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    )
)
# Only files on this list are published.
PUBLISHED_FILES = (
    "README.md",
    *MODEL_FILES,
    *EVALUATION_FILES,
    "plots/training.png",
    "plots/confusion_matrix.png",
    "plots/calibration.png",
    "plots/coverage.png",
    ".eval_results/*.yaml",
    "notebook.ipynb",
    *CLASSIFIER_FILES,
    *ONNX_FILES,
)
# Of a Space, see publishing.space; a Gradio Space has this package's own code beside its app.py.
SPACE_FILES = (
    "README.md",
    "index.html",
    "style.css",
    "space.js",
    "space.json",
    "report.html",
    "model/model.onnx",
    "model/model.onnx.data",
    "model/tokenizer.json",
    "app.py",
    "requirements.txt",
    "hf_sentiment_ft/*",
    "hf_sentiment_ft/*/*",
    "hf_sentiment_ft/*/*/*",
)
REPORT_FILES = ("report.html", "report.json")
PRIVATE_FILES = (
    *REPORT_FILES,
    "training_args.bin",
    "train_results.json",
    "trainer_state.json",
    "card.json",
    "publication.json",
    "seeds.json",
)
RUN_FILES = (*PUBLISHED_FILES, *PRIVATE_FILES, "checkpoint-*", UNFINISHED)
COMPARISON = "comparison.json"  # of several models, in the folder around those of the models
SEARCH_FILES = ("study.db", "study.db-journal", "best.yaml")  # of a search, in the subfolder search

# Runs of version 0.1.0 have no record. These files contain text that only this package writes.
SIGNS = (
    ("card.json", '"label_rows"', RUN_FILES),
    ("all_results.json", "_generation_accuracy", (*EVALUATION_FILES, "train_results.json")),
    ("config.json", '"label_words"', (*MODEL_FILES, "training_args.bin", UNFINISHED)),
    ("label_words/config.json", '"label_words"', (*MODEL_FILES, "training_args.bin", UNFINISHED)),
    (COMPARISON, '"only_first_right"', (COMPARISON,)),
)

# Publishing a run writes these anew, so they have no lasting size, but words that only we write.
REWRITTEN = {
    "README.md": "hf_sentiment_ft",
    "notebook.ipynb": "This model reads a text and answers with a label word.",
    "publication.json": '"repo_id"',
}


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a path, relative to the output folder and with `/`, matches one of the patterns."""
    return any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


def published_files(folder: Path) -> list[Path]:
    """Return the files of a run that are published: those of `PUBLISHED_FILES` that the run has written.

    A run of version 0.1.0, or a checkpoint, has no record of what it has written; all files of these names count.
    """
    present, record = present_files(folder, PUBLISHED_FILES), _read_record(folder)
    if record is not None:
        written = (*record["files"], *record["writing"])
        present = {name: path for name, path in present.items() if is_named(name, written)}
    return sorted(present.values())


def own_files(folder: Path) -> list[Path]:
    """Return what runs have written to a folder: files, checkpoints, and the subfolder of a save that was cut off."""
    recorded = _read_record(folder)
    record = recorded or {"files": {}, "writing": _files_of_0_1_0(folder)}

    def is_own(name: str, path: Path) -> bool:
        if is_named(name, ["checkpoint-*"]):
            return is_own_checkpoint(path)
        if path.is_symlink() or path.is_dir() is not (name == UNFINISHED):
            return False
        if name in REWRITTEN and (recorded is None or not is_named(name, record["writing"])):
            of_a_run = bool({name, "card.json"} & set(record["files"])) or is_named(name, record["writing"])
            return of_a_run and _contains(path, REWRITTEN[name])
        return is_named(name, record["writing"]) or record["files"].get(name) == path.stat().st_size

    return [
        path
        for name, path in present_files(folder, (*RUN_FILES, COMPARISON, *SEARCH_FILES)).items()
        if is_own(name, path)
    ]


def foreign_files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Return what a run would replace although no run has written it, or not as it is now.

    Args:
        folder: Output folder.
        patterns: Names of the files that the run writes, such as `RUN_FILES`.
    """
    in_the_way = set(present_files(folder, patterns).values()) - set(own_files(folder))
    subfolders = [folder / pattern.partition("/")[0] for pattern in patterns if "/" in pattern]
    in_the_way |= {path for path in subfolders if os.path.lexists(path) and not path.is_dir()}
    if os.path.lexists(folder / RECORD) and _read_record(folder) is None:
        in_the_way.add(folder / RECORD)
    return sorted(in_the_way)


def is_own_checkpoint(folder: Path) -> bool:
    """Return whether a run has written a checkpoint and everything in it, even if files are missing or truncated."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    try:
        listed = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))["files"] if present else {}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return present <= {*listed, *UNLISTED}


def begin_files(folder: Path, patterns: Iterable[str]) -> None:
    """Mark these file names as belonging to the run, in addition to those that are recorded already.

    Until `record_files` is called, they are the run's whatever their size, since a kill may come at any moment.
    """
    recorded = (_read_record(folder) or {"files": _sizes(folder, own_files(folder))})["files"]
    _write_record(folder, recorded, list(patterns))


def record_files(folder: Path) -> None:
    """Record the files that have been written since `begin_files`, and their sizes in bytes."""
    record = _read_record(folder)
    if record is not None:
        written = _sizes(folder, present_files(folder, record["writing"]).values())
        _write_record(folder, record["files"] | written, [])


def copy_run(source: Path, target: Path) -> None:
    """Copy the files of a finished run to another output folder, without its checkpoints.

    Until `record_files` is called, they are the run's whatever their size.
    """
    begin_files(target, RUN_FILES)
    for path in own_files(source):
        if path.is_file():
            copied = target / path.relative_to(source)
            copied.parent.mkdir(exist_ok=True)
            shutil.copy2(path, copied)


def present_files(folder: Path, patterns: Iterable[str]) -> dict[str, Path]:
    """Return what has one of these names, even links that lead nowhere, by its name relative to the folder."""
    found: list[Path] = []
    for pattern in patterns:
        found += folder.glob(pattern) if "*" in pattern else [folder / pattern]
    return {
        path.relative_to(folder).as_posix(): path
        for path in found
        if os.path.lexists(path) and (not path.name.startswith("checkpoint-") or path.name[11:].isdecimal())
    }


def _sizes(folder: Path, paths: Iterable[Path]) -> dict[str, int]:
    """Return the sizes of files in bytes, by their names; links and folders are left out."""
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _files_of_0_1_0(folder: Path) -> list[str]:
    """Return the names of files that a run of version 0.1.0 has written to a folder, if there was one."""
    vouched: list[str] = []
    for name, words, patterns in SIGNS:
        if _contains(folder / name, words):
            vouched += patterns
    return vouched


def _contains(path: Path, words: str) -> bool:
    return path.is_file() and words in path.read_text(encoding="utf-8", errors="replace")


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder's runs; None if there is none, or it is not ours."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {"files": dict(record["files"]), "writing": list(record["writing"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_record(folder: Path, files: dict[str, int], writing: list[str]) -> None:
    text = json.dumps({"files": files, "writing": writing}, indent=2)
    unfinished = folder / f".{RECORD}"
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(folder / RECORD)
