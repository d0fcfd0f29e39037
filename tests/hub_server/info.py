"""What the Hub tells about a repository, much of it drawn from its card."""

from __future__ import annotations

import json
from typing import Any

import yaml

from . import card, commits
from .blobs import Blobs
from .gitobjects import Entry, lfs_pointer
from .repos import Commit, Repo

_TASKS = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
}
_EVAL_FOLDER = ".eval_results/"


def describe(repo: Repo, commit: Commit, blobs: Blobs, with_blobs: bool) -> dict[str, Any]:
    """Return everything that `model_info` and `dataset_info` may ask for, at one revision."""
    data = _card_data(commit, blobs)
    row: dict[str, Any] = {
        "_id": repo.id,
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "cardData": data,
        "siblings": [_sibling(path, entry, with_blobs) for path, entry in sorted(commit.files.items())],
        "usedStorage": sum(entry.size for entry in commit.files.values()),
    }
    if repo.kind == "model":
        row |= _model_fields(repo, commit, blobs, data)
    if repo.kind == "space":
        row["sdk"] = data.get("sdk")
    row["tags"] = _tags(row, data)
    return row


def _card_data(commit: Commit, blobs: Blobs) -> dict[str, Any]:
    try:
        data = card.metadata(commits.text_of(commit.files, "README.md", blobs))
    except yaml.YAMLError:
        return {}  # only a card that was never checked, in an old commit, can be broken
    # Through JSON text, since YAML knows dates and JSON doesn't.
    return dict(json.loads(json.dumps(data, default=str))) if isinstance(data, dict) else {}


def _sibling(path: str, entry: Entry, with_blobs: bool) -> dict[str, Any]:
    if not with_blobs:
        return {"rfilename": path}
    row: dict[str, Any] = {"rfilename": path, "size": entry.size, "blobId": entry.oid}
    if entry.sha256:
        pointer = len(lfs_pointer(entry.sha256, entry.size))
        row["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return row


def _model_fields(repo: Repo, commit: Commit, blobs: Blobs, data: dict[str, Any]) -> dict[str, Any]:
    try:
        config = json.loads(commits.text_of(commit.files, "config.json", blobs) or "{}")
    except ValueError:
        config = {}
    row: dict[str, Any] = {"modelId": repo.id}
    if config:
        row["config"] = {key: config[key] for key in ("architectures", "model_type") if key in config}
    library = data.get("library_name") or ("transformers" if "model_type" in config else None)
    if "adapter_config.json" in commit.files:
        library = data.get("library_name") or "peft"
    if library:
        row["library_name"] = library
    architecture = next(iter(config.get("architectures") or []), "")
    guess = next((task for ending, task in _TASKS.items() if architecture.endswith(ending)), None)
    if task := data.get("pipeline_tag") or guess:
        row["pipeline_tag"] = task
    if "model-index" in data:
        row["model-index"] = data["model-index"]
    results = [row for path in commit.files if path.startswith(_EVAL_FOLDER) for row in _results(path, commit, blobs)]
    if results:
        row["evalResults"] = results
    return row


def _results(path: str, commit: Commit, blobs: Blobs) -> list[dict[str, Any]]:
    """Read one file of evaluation results; a wrong one is reported in place of its results."""
    try:
        rows = yaml.safe_load(commits.text_of(commit.files, path, blobs))
    except yaml.YAMLError as error:
        return [{"filename": path, "error": str(error)}]
    if not isinstance(rows, list):
        return [{"filename": path, "error": "Expected a list of results"}]
    for row in rows:
        dataset = row.get("dataset") if isinstance(row, dict) else None
        if not isinstance(dataset, dict) or not {"id", "task_id"} <= dataset.keys() or "value" not in row:
            return [{"filename": path, "error": "A result needs dataset.id, dataset.task_id and value"}]
    return [{"filename": path, "data": json.loads(json.dumps(row, default=str))} for row in rows]


def _tags(row: dict[str, Any], data: dict[str, Any]) -> list[str]:
    relation = data.get("base_model_relation") or ("adapter" if row.get("library_name") == "peft" else "finetune")
    bases = card.as_list(data.get("base_model"))
    tags = [row.get("library_name"), (row.get("config") or {}).get("model_type"), row.get("pipeline_tag")]
    tags += card.as_list(data.get("tags")) + card.as_list(data.get("language"))
    tags += [f"dataset:{name}" for name in card.as_list(data.get("datasets"))]
    tags += [f"base_model:{name}" for name in bases] + [f"base_model:{relation}:{name}" for name in bases]
    tags += [f"license:{name}" for name in card.as_list(data.get("license"))] + ["region:us"]
    return list(dict.fromkeys(str(tag) for tag in tags if tag))
