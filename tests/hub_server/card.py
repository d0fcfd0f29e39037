"""The metadata block of a `README.md`: reading it and finding its mistakes."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from .licenses import LICENSES

_BLOCK = re.compile(r"^\s*---[\r\n]+(.*?)[\r\n]+---(?:\r?\n|$)", re.DOTALL)
_EMPTY_BLOCK = re.compile(r"^\s*---\r?\n---(?:\r?\n|$)")
_REPO_ID = re.compile(r"(\b[\w\-.]{1,96}\b/)?\b[\w\-.]{1,96}\b", re.ASCII)
_TEXTS = ("library_name", "pipeline_tag", "license_name", "license_link", "base_model_relation", "new_version")
_TEXT_LISTS = ("language", "tags", "metrics", "datasets", "base_model")
_RESULT_KEYS = {"task": ("type",), "dataset": ("type", "name")}
_RELATIONS = ("finetune", "adapter", "merge", "quantized")


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, as the Hub's own parser does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = next((key for key in keys if keys.count(key) > 1 and key != "<<"), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"duplicated mapping key: {repeated}", node.start_mark)
        return super().construct_mapping(node, deep)


def metadata(text: str) -> Any:
    """Return the metadata of a card, None when it has none.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    block = _BLOCK.match(text)
    if block is None or _EMPTY_BLOCK.match(text):
        return None
    return yaml.load(block.group(1), _Loader)


def check(text: str, is_space: bool = False) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings that the Hub would give for a card."""
    try:
        data = metadata(text)
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ["YAML metadata must be a mapping"], []
    return [*_errors(data), *(_space_errors(data) if is_space else ())], []


def as_list(value: Any) -> list[Any]:
    """Return a value that may be given alone or as a list as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _errors(data: dict[str, Any]) -> Iterator[str]:
    for key in _TEXTS:
        if not isinstance(data.get(key, ""), str):
            yield f'"{key}" must be a string'
    for key in _TEXT_LISTS:
        for number, value in enumerate(as_list(data.get(key))):
            if not isinstance(value, str):
                yield f'"{key}[{number}]" must be a string'
    for value in as_list(data.get("license")):
        if value not in LICENSES:
            yield f'"license" must be one of [{", ".join(sorted(LICENSES))}], not {value!r}'
    if data.get("base_model_relation", "finetune") not in _RELATIONS:
        yield f'"base_model_relation" must be one of [{", ".join(_RELATIONS)}]'
    for key, place in (("base_model", "models"), ("datasets", "datasets")):
        for value in as_list(data.get(key)):
            if isinstance(value, str) and not is_repo_id(value):
                yield f'"{key}" with value "{value}" is not valid. Use an id from https://hf.co/{place}.'
    if "configs" in data and not isinstance(data["configs"], list):
        yield '"configs" must be an array'
    if "model-index" in data:
        yield from _model_index_errors(data["model-index"])


def _space_errors(data: dict[str, Any]) -> Iterator[str]:
    if data.get("sdk") not in ("gradio", "streamlit", "docker", "static"):
        yield '"sdk" must be one of [gradio, streamlit, docker, static]'
    for key in ("colorFrom", "colorTo"):
        if data.get(key, "blue") not in ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"):
            yield f'"{key}" must be one of [red, yellow, green, blue, indigo, purple, pink, gray]'
    for value in as_list(data.get("models")):
        if not isinstance(value, str) or not is_repo_id(value):
            yield f'"models" with value "{value}" is not valid. Use an id from https://hf.co/models.'
    if len(str(data.get("short_description", ""))) > 60:
        yield '"short_description" must have at most 60 characters'


def is_repo_id(value: str) -> bool:
    """Tell whether a text could be the id of a repository, as opposed to a path on somebody's disk."""
    return bool(_REPO_ID.fullmatch(value)) and "--" not in value and ".." not in value


def _model_index_errors(index: Any) -> Iterator[str]:
    if not isinstance(index, list):
        yield '"model-index" must be an array'
        return
    for number, model in enumerate(index):
        place = f"model-index[{number}]"
        if not isinstance(model, dict):
            yield f'"{place}" must be an object'
            continue
        if not isinstance(model.get("name"), str):
            yield f'"{place}.name" is required'
        if not isinstance(model.get("results"), list):
            yield f'"{place}.results" must be an array'
            continue
        for position, result in enumerate(model["results"]):
            yield from _result_errors(f"{place}.results[{position}]", result)


def _result_errors(place: str, result: Any) -> Iterator[str]:
    if not isinstance(result, dict):
        yield f'"{place}" must be an object'
        return
    for part, keys in _RESULT_KEYS.items():
        value = result.get(part)
        for key in keys:
            if not isinstance(value, dict) or not isinstance(value.get(key), str):
                yield f'"{place}.{part}.{key}" is required'
    source = result.get("source")
    if isinstance(source, dict) and "name" in source and "url" not in source:
        yield f'"{place}.source.url" is required'
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        yield f'"{place}.metrics" is required'
        return
    for number, metric in enumerate(metrics):
        if not isinstance(metric, dict) or not isinstance(metric.get("type"), str):
            yield f'"{place}.metrics[{number}].type" is required'
        if not isinstance(metric, dict) or metric.get("value") is None:
            yield f'"{place}.metrics[{number}].value" is required'
