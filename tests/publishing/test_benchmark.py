"""When results go to `.eval_results/` as well; the whole way is in tests/test_training_push.py."""

from pathlib import Path

import pytest
import yaml
from datasets import Dataset, SplitDict, SplitInfo
from huggingface_hub import HfApi

from hf_sentiment_ft.data.splits import LabelledSplits
from hf_sentiment_ft.publishing.provenance import Provenance, _benchmark_task, save_benchmark_result

from ..hub_server import HubServer
from ..local_hub import api_fixture, hub_fixture  # noqa: F401

DATA = "alice/films"


def written(folder: Path, task: str | None = "films", rows: int = 3, split_off: dict[str, str] | None = None) -> list:
    test = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    test.info.splits = SplitDict({"test": SplitInfo("test", num_examples=3)})
    data = LabelledSplits({"test": test.select(range(rows))}, ["bad", "good"], split_off=split_off or {})
    revision = "0" * 40
    local = dict.fromkeys(("base_model_id", "license", "license_name", "license_link", "license_text"))
    films = {"dataset_title": "films", "dataset_name": "Films", "dataset_text": DATA, "dataset_config": None}
    provenance = Provenance(
        **local,
        **films,
        base_model_text="a model",
        dataset_id=DATA,
        dataset_revision=revision,
        languages=["en"],
        other_files={},
        benchmark_task=task,
    )
    save_benchmark_result(provenance, data, {"test_accuracy": 0.5}, folder)
    return [yaml.safe_load(path.read_text()) for path in folder.glob(".eval_results/*.yaml")]


def test_a_benchmarks_own_whole_test_split(tmp_path: Path):
    dataset = {"id": DATA, "task_id": "films", "revision": "0" * 40}
    assert written(tmp_path) == [[{"dataset": dataset, "value": 0.5, "notes": "accuracy over the label words"}]]


@pytest.mark.parametrize("other", [{"task": None}, {"rows": 2}, {"split_off": {"test": "taken from train"}}])
def test_nothing_else(tmp_path: Path, other: dict):
    assert written(tmp_path, **other) == []


@pytest.mark.parametrize(
    ("eval_yaml", "task"),
    [
        ("tasks: [{id: films}]", "films"),
        ("tasks: [{id: films, split: test}]", "films"),
        ("tasks: [{id: films, split: validation}]", None),
        ("tasks: [{id: films, config: long}]", None),
        ("tasks: [{id: films}, {id: series}]", None),
        ("tasks: []", None),
        ("name: Films", None),
        ("- films", None),
        ("tasks: [", None),
        (None, None),
    ],
)
def test_the_task(hub: HubServer, api: HfApi, eval_yaml: str | None, task: str | None):
    api.create_repo(DATA, repo_type="dataset")
    if eval_yaml:
        content = eval_yaml.encode()
        api.upload_file(repo_id=DATA, path_or_fileobj=content, path_in_repo="eval.yaml", repo_type="dataset")
    assert _benchmark_task(DATA, None, None) == task
