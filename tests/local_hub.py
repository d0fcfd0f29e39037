"""What the tests of publishing start from: a Hub that this process and its children use, and a finished run."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
import transformers.utils.hub
from huggingface_hub import HfApi, constants
from huggingface_hub.utils._http import default_client_factory

from hf_sentiment_ft import publish
from hf_sentiment_ft.config.arguments import HubArguments
from hf_sentiment_ft.publishing import verify
from hf_sentiment_ft.publishing.preflight import HubOptions, preflight
from hf_sentiment_ft.publishing.repository import Destination

from .hub_server import HubServer

TOKEN = "hf_aliceSecretToken"
REPO = "alice/reviews"


@pytest.fixture(name="hub")
def hub_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub with two users; Alice is logged in. Large files go by LFS, so that they are in the log of requests."""
    with HubServer(tmp_path / "hub") as server:
        server.add_user("alice", TOKEN, orgs={"lab": "write", "library": "read"})
        server.add_user("bob", "hf_bob")
        use_hub(server.endpoint, tmp_path, monkeypatch)
        yield server
    huggingface_hub.set_client_factory(default_client_factory)


def use_hub(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str = TOKEN) -> None:
    """Let the client in this process, which has read its settings long ago, and later ones talk to this Hub."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    settings: dict[str, Any] = {"ENDPOINT": endpoint, "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + template}
    settings |= {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "HF_HUB_CACHE": str(tmp_path / "cache")}
    settings |= {"HF_TOKEN_PATH": str(tmp_path / "no-token"), "HF_HUB_DISABLE_PROGRESS_BARS": True}
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    of_datasets = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": False,
        "HF_DATASETS_CACHE": tmp_path / "home" / "datasets",
    }
    for name, value in of_datasets.items():
        monkeypatch.setattr(datasets.config, name, value)
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # its client remembers the Hub of an earlier test
    environment = {"HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "home")}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(name="api")
def api_fixture(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=TOKEN)


@pytest.fixture(name="finished")
def finished_fixture(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run as the folder `output` of the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_dir, tmp_path / "output", ignore=shutil.ignore_patterns("checkpoint-*"))
    return Path("output")


@pytest.fixture(name="quick_look")
def quick_look_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    verify_here(monkeypatch, tmp_path)


def verify_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Verify in this process, with an empty cache each time: the same code and requests without 6 s of imports."""
    numbers = itertools.count()

    def download_and_answer(asked: dict[str, Any], token: str) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / f"empty-{next(numbers)}"))
            return verify.download_and_answer(**asked)

    monkeypatch.setattr(verify, "_look_from_a_fresh_process", download_and_answer)


def check(repo_id: str | None = REPO, timeout: int = 2, **options: Any) -> Destination:
    """Run the preflight as flags such as `--hub_tag v1` would."""
    of_hub = {name: options.pop(name) for name in list(options) if name.startswith(("hub_", "push_", "space_"))}
    given = {"token": None, "private": None, "revision": None} | options
    return preflight(HubOptions(repo_id, hub_args=HubArguments(hub_timeout=timeout, **of_hub), **given), "its-name")


def run_publish(monkeypatch: pytest.MonkeyPatch, *flags: object) -> int:
    """Run the publish command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["publish", *map(str, flags)])
    return exit_code(publish.main)


def exit_code(command: Callable[[], None]) -> int:
    try:
        command()
    except SystemExit as exited:
        return int(exited.code or 0)
    return 0


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "publication.json").read_text())


def files_of(api: HfApi, revision: str = "main", repo: str = REPO) -> set[str]:
    return set(api.list_repo_files(repo, revision=revision)) - {".gitattributes"}


def commits(api: HfApi, revision: str = "main", repo: str = REPO) -> list[str]:
    """Titles of the commits, the newest first."""
    return [commit.title for commit in api.list_repo_commits(repo, revision=revision)]
