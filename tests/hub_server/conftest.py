"""What the server's own tests start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from tests.hub_server import HubServer

REPO = "alice/model"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server with two users."""
    with HubServer(tmp_path / "hub") as server:
        server.add_user("alice", "hf_alice", orgs=["lab"])
        server.add_user("bob", "hf_bob", orgs={"lab": "read"})
        # The few requests that don't ask the HfApi object for its endpoint must not leave the machine either.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.endpoint + template)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def login(server: HubServer) -> Callable[[str | bool], HfApi]:
    """Return a client with a given token, False for none."""
    return lambda token: HfApi(endpoint=server.endpoint, token=token)


@pytest.fixture
def api(login: Callable[[str | bool], HfApi]) -> HfApi:
    """Alice's client, with a repository of hers."""
    api = login("hf_alice")
    api.create_repo(REPO)
    return api
