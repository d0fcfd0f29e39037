"""Each fault does what it says, and leaves the state whole."""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_server import Fault, HubServer
from tests.hub_server.faults import FaultKind

REPO = "alice/model"
COMMIT = f"/api/models/{REPO}/commit/main"
BODY = b'{"key": "header", "value": {"summary": "one more"}}\n'


def send(server: HubServer, method: str, path: str, body: bytes = b"", timeout: float = 5) -> HTTPResponse:
    """Send a request as Alice, on a connection of its own."""
    connection = HTTPConnection(server.endpoint.removeprefix("http://"), timeout=timeout)
    connection.request(method, path, body, {"Authorization": "Bearer hf_alice"})
    return connection.getresponse()


def commits(api: HfApi) -> int:
    return len(api.list_repo_commits(REPO))


def test_status_with_headers_as_often_as_asked(server: HubServer, api: HfApi) -> None:
    fault = server.inject(Fault("POST", "/commit/", times=2, skip=1, status=429, headers={"Retry-After": "1"}))
    statuses = [send(server, "POST", COMMIT, BODY).status for _ in range(4)]
    assert (statuses, fault.matched, commits(api)) == ([200, 429, 429, 200], 2, 3)
    server.inject(Fault(path="whoami", times=None, status=413, body=b"too much"))
    assert [send(server, "GET", "/api/whoami-v2").read() for _ in range(3)] == [b"too much"] * 3
    server.clear_faults()
    assert send(server, "GET", "/api/whoami-v2").status == 200


def test_client_retries_what_the_server_spoils(server: HubServer, api: HfApi) -> None:
    fault = server.inject(Fault("POST", "/preupload/", times=1, status=503, headers={"Retry-After": "0"}))
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=REPO)
    assert fault.matched == 1
    assert [row.status for row in server.requests_to("/preupload/")] == [503, 200]


@pytest.mark.parametrize(("kind", "carried_out"), [("drop_request", False), ("drop_reply", True)])
def test_dropped_connection(server: HubServer, api: HfApi, kind: FaultKind, carried_out: bool) -> None:
    server.inject(Fault("POST", "/commit/", kind=kind, after=10))
    with pytest.raises(ConnectionResetError):
        send(server, "POST", COMMIT, BODY).read()
    assert commits(api) == 1 + carried_out
    row = server.requests_to("/commit/")[0]
    assert (row.fault, row.received if kind == "drop_request" else row.sent) == (kind, 10)


def test_truncated_file(server: HubServer, api: HfApi) -> None:
    api.upload_file(path_or_fileobj=b"0123456789", path_in_repo="a.txt", repo_id=REPO)
    server.inject(Fault("GET", r"/resolve/main/a\.txt", kind="truncate", after=4))
    with pytest.raises(IncompleteRead) as error:
        send(server, "GET", f"/{REPO}/resolve/main/a.txt").read()
    assert error.value.partial == b"0123"
    assert send(server, "GET", f"/{REPO}/resolve/main/a.txt").read() == b"0123456789"


def test_invalid_json(server: HubServer, api: HfApi) -> None:
    server.inject(Fault("POST", "/validate-yaml", kind="invalid_json"))
    with pytest.raises(json.JSONDecodeError):
        api.upload_file(path_or_fileobj=b"# Card", path_in_repo="README.md", repo_id=REPO)
    assert commits(api) == 1


@pytest.mark.parametrize("status", [None, 500])
def test_full_disk(server: HubServer, api: HfApi, tmp_path: Path, status: int | None) -> None:
    server.inject(Fault("POST", "/commit/", kind="disk_full", status=status, after=5))
    with pytest.raises(HfHubHTTPError) as error:
        api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=REPO)
    assert error.value.response.status_code == (status or 507)
    assert commits(api) == 1
    assert not list((tmp_path / "hub").rglob(".tmp-*")), "no half-written file stays behind"


def test_stalled_request_ends_with_the_server(server: HubServer, api: HfApi) -> None:
    server.inject(Fault("POST", "/commit/", kind="stall", times=2))
    with pytest.raises(TimeoutError):
        send(server, "POST", COMMIT, BODY, timeout=0.2)
    threading.Timer(0.3, server.close).start()
    begin = time.monotonic()
    with pytest.raises(ConnectionError):
        send(server, "POST", COMMIT, BODY)
    assert 0.2 < time.monotonic() - begin < 3


def test_refused_connections(server: HubServer, api: HfApi) -> None:
    kept = HTTPConnection(server.endpoint.removeprefix("http://"))
    kept.request("GET", "/api/models")
    kept.getresponse().read()
    with server.refusing():
        with pytest.raises(ConnectionRefusedError):
            send(server, "GET", "/api/models")
        kept.request("GET", "/api/models")
        with pytest.raises(ConnectionError):
            kept.getresponse()
    assert commits(api) == 1
