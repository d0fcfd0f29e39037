"""Which cards and evaluation results the Hub takes."""

from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

REPO = "alice/model"
INDEX = """---
model-index:
- name: m
  results:
  - task: {{type: t}}
    dataset: {{{}}}
    metrics: [{{{}}}]
---
"""


def add(api: HfApi, path: str, text: str) -> str:
    """Commit a file and return the commit's id."""
    return api.create_commit(REPO, [CommitOperationAdd(path, text.encode())], commit_message="add").oid


@pytest.mark.parametrize(
    "card",
    [
        "---\nlicense: [\n---\n",
        "---\n- a list\n---\n",
        "---\nlicense: mit\nlicense: mit\n---\n",
        "---\nlicense: my-own\n---\n",
        "---\nlanguage: no\n---\n",
        "---\nbase_model: /tmp/run/checkpoint-1\n---\n",
        "---\nbase_model: ./out\n---\n",
        "---\ndatasets: [data/train/a.csv]\n---\n",
        INDEX.format("type: d", "type: a, value: 1"),
        INDEX.format("type: d, name: d", "type: a"),
    ],
)
def test_bad_cards(api: HfApi, card: str) -> None:
    with pytest.raises(ValueError, match="Invalid metadata in README.md"):
        add(api, "README.md", card)
    assert not api.file_exists(REPO, "README.md")


@pytest.mark.parametrize("card", ["---\nlicense: mit\n---\n", INDEX.format("type: d, name: d", "type: a, value: 1")])
def test_good_cards(api: HfApi, card: str) -> None:
    assert add(api, "README.md", card) == api.model_info(REPO).sha


def test_card_without_metadata(api: HfApi) -> None:
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        add(api, "README.md", "# Card")
    assert api.file_exists(REPO, "README.md")


def test_evaluation_results(api: HfApi) -> None:
    add(api, ".eval_results/good.yaml", "- dataset: {id: org/data, task_id: t}\n  value: 0.5\n")
    add(api, ".eval_results/bad.yaml", "- value: 1\n")
    results = api.model_info(REPO, expand=["evalResults"]).eval_results
    assert [(result.dataset_id, result.value) for result in results or []] == [("org/data", 0.5)]
