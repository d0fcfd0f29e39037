"""Datasets on the Hub: configurations, revisions, and those that not everybody may read."""

import json
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi

from ..conftest import ROOT
from ..hub_server import HubServer
from ..local_hub import api_fixture, hub_fixture  # noqa: F401

NAME = "alice/tickets"
LOAD = """
import json, sys
from hf_sentiment_ft.config.arguments import DataArguments
from hf_sentiment_ft.data import load_splits
from hf_sentiment_ft.errors import UsageError

for given in json.loads(sys.argv[1]):
    try:
        data = load_splits(DataArguments(dataset_name="alice/tickets", **given), 0)
        print(json.dumps([data.labels, sorted(data.splits["train"]["text"][:])[:2], data.notes]))
    except UsageError as error:
        print(json.dumps(str(error)))
"""


def load(tmp_path: Path, token: str, *given: dict[str, str]) -> list:
    """What a process with this token and an empty cache gets, since `datasets` reads its settings once."""
    import os

    environment = os.environ | {"HF_TOKEN": token, "HF_HOME": str(tmp_path / f"home-{token}"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOAD, json.dumps(given)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(name: str) -> bytes:
    rows = "".join(f"{name} {i},{('None', 'n/a')[i % 2]}\n" for i in range(40))
    return f"text,label\n{rows}".encode()


CARD = """---
configs:
- config_name: english
  data_files: english.csv
- config_name: german
  data_files: german.csv
---
"""


def test_configurations_revisions_and_private_data(hub: HubServer, api: HfApi, tmp_path: Path):
    api.create_repo(NAME, repo_type="dataset", private=True)

    def upload(path: str, content: bytes) -> str:
        return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=NAME, repo_type="dataset").oid

    upload("README.md", CARD.encode())
    upload("english.csv", table("old"))
    old = upload("german.csv", table("alt"))
    upload("german.csv", table("neu"))
    missing, wrong, german, before, nowhere = load(
        tmp_path,
        "hf_aliceSecretToken",
        {},
        {"dataset_config_name": "french"},
        {"dataset_config_name": "german"},
        {"dataset_config_name": "german", "dataset_revision": old},
        {"dataset_revision": "v9"},
    )
    assert "the available configs: ['english', 'german']. Set it with --dataset_config_name" in missing
    assert "'french' not found. Available: ['english', 'german']" in wrong
    assert german[:2] == [["None", "n/a"], ["neu 0", "neu 1"]], "words that look like missing values are words"
    assert before[1] == ["alt 0", "alt 1"]
    assert "v9" in nowhere
    (hidden,) = load(tmp_path, "hf_bob", {"dataset_config_name": "german"})
    assert hidden.startswith("--dataset_name is alice/tickets, which cannot be loaded: DatasetNotFoundError: ")
    api.update_repo_settings(NAME, repo_type="dataset", private=False, gated="manual")
    (gated,) = load(tmp_path, "hf_bob", {"dataset_config_name": "german"})
    assert "is a gated dataset on the Hub" in gated
