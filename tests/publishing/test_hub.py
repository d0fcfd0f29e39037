"""The whole way over a Hub: dataset from it, model to it, and back by a bare pipeline with an empty cache."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from ..conftest import REVIEWS, launch
from ..hub_server import HubServer

ASK = """
import sys
from transformers import pipeline
classify = pipeline("text-generation", model="alice/tiny-reviews")
print(classify("a moving, funny film", return_full_text=False)[0]["generated_text"])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        server.add_user("alice", "hf_alice")
        yield server


@pytest.fixture(scope="module")
def environment(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = str(tmp_path_factory.mktemp("home"))
    return {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": "hf_alice", "HF_HOME": home, "HF_HUB_OFFLINE": "0"}


@pytest.fixture(scope="module")
def published(server: HubServer, environment: dict[str, str], tiny_gpt2: Path, tmp_path_factory) -> Path:
    """A run whose model and dataset come from the Hub and whose result goes to it; its folder."""
    api = HfApi(endpoint=server.endpoint, token="hf_alice")
    for repo_id, repo_type, folder in (("alice/tiny", "model", tiny_gpt2), ("alice/reviews", "dataset", REVIEWS)):
        api.create_repo(repo_id, repo_type=repo_type)
        api.upload_folder(repo_id=repo_id, repo_type=repo_type, folder_path=folder)
    readme = b"---\nlicense: mit\n---\n"
    api.upload_file(path_or_fileobj=readme, path_in_repo="README.md", repo_id="alice/tiny")
    cwd = tmp_path_factory.mktemp("published")
    flags = ["--model_name_or_path", "alice/tiny", "--dataset_name", "alice/reviews", "--learning_rate", 1e-3]
    finished = launch(*flags, "--num_train_epochs", 1, "--push_to_hub", "--export_notebook", cwd=cwd, **environment)
    assert finished.returncode == 0, finished.stderr
    assert "verified: revision" in finished.stdout
    return cwd / "output"


def test_model_loads_from_the_hub_with_an_empty_cache(published: Path, environment: dict[str, str], tmp_path: Path):
    fresh = {**os.environ, **environment, "HF_HOME": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", ASK], env=fresh, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.rstrip("\n") in (" negative", " positive")


def test_hub_holds_the_run_and_nothing_else(published: Path, server: HubServer):
    api = HfApi(endpoint=server.endpoint, token="hf_alice")
    assert set(api.list_repo_files("alice/tiny-reviews")) == {
        ".gitattributes", "README.md", "all_results.json", "config.json", "eval_results.json", "generation_config.json",
        "plots/calibration.png", "plots/confusion_matrix.png", "plots/coverage.png", "plots/training.png",
        "decision.json", "decision_template.jinja", "notebook.ipynb",
        "model.safetensors", "test_predictions.csv", "test_results.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    titles = [commit.title for commit in api.list_repo_commits("alice/tiny-reviews")]
    assert titles == ["Publish model, card and results", "initial commit"]


def test_the_notebook_loads_the_model_by_its_name_on_the_hub(published: Path, server: HubServer):
    assert (
        'pipeline(\\"text-generation\\", model=\\"alice/tiny-reviews\\")' in (published / "notebook.ipynb").read_text()
    )


def test_card_names_what_came_from_the_hub(published: Path, server: HubServer):
    data = ModelCard.load(published / "README.md").data
    assert data.base_model == "alice/tiny"
    assert data.base_model_relation == "finetune"
    assert data.datasets == ["alice/reviews"]
    assert data.license == "mit"
    api = HfApi(endpoint=server.endpoint, token="hf_alice")
    assert data.eval_results[0].dataset_revision == api.dataset_info("alice/reviews").sha
    assert (
        data.eval_results[0].metric_value == json.loads((published / "test_results.json").read_text())["test_accuracy"]
    )
