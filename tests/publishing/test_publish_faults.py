"""Each fault injected into a real push over HTTP: what came of it, and whether `publish` then finishes the run.

The table in docs/publishing.md is made here: run this file with UPDATE_DOCS=1 after a change.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from hf_sentiment_ft.errors import errors_exit
from hf_sentiment_ft.publishing.publication import print_summary, publish_run
from hf_sentiment_ft.publishing.repository import Destination

from ..hub_server import Fault, HubServer
from ..local_hub import (  # noqa: F401
    REPO,
    TOKEN,
    api_fixture,
    check,
    commits,
    exit_code,
    files_of,
    finished_fixture,
    hub_fixture,
    quick_look_fixture,
    record,
    run_publish,
    use_hub,
)
from .test_publish import PUSHED

pytestmark = pytest.mark.usefixtures("quick_look")

DOCS = Path(__file__).parents[2] / "docs" / "publishing.md"
BEGIN, END = "<!-- table of faults: made by tests/publishing/test_publish_faults.py -->", "<!-- end of the table -->"
ROWS: dict[str, str] = {}
GOES_ON = "retries and succeeds"


@dataclass(frozen=True)
class Case:
    """A fault, and the exit code and the reason that the command must end with."""

    name: str
    where: str
    fault: Fault | None
    code: int = 0
    reason: str = ""
    xet: bool = False


COMMIT, PUT, BATCH, PREUPLOAD = "/commit/main", "/_storage/lfs/", "/info/lfs/objects/batch", "/preupload/"


def transient(status: int, where: str, path: str, method: str = "POST", **headers: str) -> Case:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    name = ", ".join([str(status), *(f"{key}: {value}" for key, value in named.items()), "once"])
    return Case(name, where, Fault(method, path, status=status, headers=named))


def lasting(status: int, where: str, path: str, method: str = "POST", reason: str = "", **more) -> Case:
    return Case(
        f"{status}, every time", where, Fault(method, path, None, status=status), 1, reason or f"HTTP {status}", **more
    )


BUSY = b'{"error": "Cannot create repo: another conflicting operation is in progress"}'
BUSY_FOR_EVER = Fault("POST", "/repos/create", None, status=409, body=BUSY)
WEB_PAGES = Fault("POST", "/validate-yaml", kind="invalid_json", times=None)
CASES = [
    lasting(401, "asking how to upload the files", PREUPLOAD),
    lasting(401, "requesting an upload token for Xet", "/xet-write-token/", "GET", "Unauthorized", xet=True),
    lasting(403, "committing", COMMIT),
    lasting(403, "uploading the weights", PUT, "PUT"),
    lasting(404, "requesting the upload address of the weights", BATCH),
    lasting(409, "committing", COMMIT),
    Case("409, busy, once", "creating the repository", Fault("POST", "/repos/create", status=409, body=BUSY)),
    Case(
        "409, busy, every time", "creating the repository", BUSY_FOR_EVER, 1, "the Hub is busy with another operation"
    ),
    lasting(412, "committing", COMMIT, reason="somebody else has committed"),
    lasting(413, "uploading the weights", PUT, "PUT"),
    transient(429, "committing", COMMIT, Retry_After="1"),
    transient(429, "asking how to upload the files", PREUPLOAD, Retry_After="1"),
    transient(500, "creating the repository", "/repos/create"),
    transient(500, "committing", COMMIT),
    transient(502, "committing", COMMIT),
    transient(503, "requesting the upload address of the weights", BATCH),
    transient(503, "uploading the weights", PUT, "PUT"),
    transient(503, "setting the tag", "/tag/"),
    transient(503, "downloading for the verification", "/resolve/", "GET"),
    transient(504, "validating the card", "/validate-yaml"),
    transient(504, "committing", COMMIT),
    lasting(503, "committing", COMMIT),
    lasting(403, "downloading for the verification", "/resolve/", "HEAD", "the published model does not load"),
    Case("connection refused, every time", "every request", None, 1, "ConnectError"),
    Case(
        "connection reset during a file", "uploading the weights", Fault("PUT", PUT, kind="drop_request", after=300_000)
    ),
    Case("connection reset during the commit", "committing", Fault("POST", COMMIT, kind="drop_request", after=20_000)),
    Case(
        "connection reset after the commit, before the response", "committing", Fault("POST", COMMIT, kind="drop_reply")
    ),
    Case("no response, once", "committing", Fault("POST", COMMIT, kind="stall")),
    Case("no response, once", "uploading the weights", Fault("PUT", PUT, kind="stall")),
    Case(
        "no response, once",
        "reading the state of the repository",
        Fault("GET", f"/api/models/{REPO}($|/revision)", kind="stall"),
    ),
    Case("no response, every time", "committing", Fault("POST", COMMIT, kind="stall", times=None), 1, "ReadTimeout"),
    Case("truncated response, once", "listing the files", Fault("GET", "/tree/", kind="truncate", after=20)),
    Case("truncated response, once", "committing", Fault("POST", COMMIT, kind="truncate", after=20)),
    Case("truncated file, once", "downloading for the verification", Fault("GET", PUT, kind="truncate", after=9999)),
    Case("a response that is not JSON, once", "committing", Fault("POST", COMMIT, kind="invalid_json")),
    Case(
        "a response that is not JSON, once", "validating the card", Fault("POST", "/validate-yaml", kind="invalid_json")
    ),
    Case("a response that is not JSON, every time", "validating the card", WEB_PAGES, 1, "its response is not JSON"),
    Case(
        "the server's disk is full",
        "uploading the weights",
        Fault("PUT", PUT, kind="disk_full", after=9),
        1,
        "HTTP 507",
    ),
    Case(
        "the server's disk is full",
        "committing",
        Fault("POST", COMMIT, kind="disk_full", after=9),
        1,
        "HTTP 507",
    ),
]


def end_of_training(folder: Path, destination: Destination) -> int:
    """What the training command does last."""

    def publish() -> None:
        with errors_exit():
            print_summary(publish_run(folder, destination))

    return exit_code(publish)


def note(name: str, where: str, code: int, what: str) -> None:
    after = "completes the publication" if code else "finds everything in place"
    ROWS[f"{name} {where}"] = f"| {name} | {where} | {what} | {code} | {after} |"


def whole(api: HfApi) -> set[str]:
    """The files at main, which are none or all of a run's."""
    files = files_of(api) if api.repo_exists(REPO) else set()
    assert files in (set(), PUSHED), "never some of them"
    return files


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.where}".replace(" ", "_"))
def test_fault(case: Case, hub: HubServer, api: HfApi, finished: Path, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not case.xet)
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.name != "README.md"}
    destination = check(timeout=1 if case.code else 3, hub_tag="v1")
    if case.fault:
        hub.inject(case.fault)
    with nullcontext() if case.fault else hub.refusing():
        code = end_of_training(finished, destination)
    error = capsys.readouterr().err
    assert code == case.code, error
    assert case.fault is None or case.fault.matched > 0, "the fault was met"
    hub.clear_faults()
    assert {path: path.read_bytes() for path in before} == before, "the run is intact"
    files = whole(api)
    command = f"python -m hf_sentiment_ft.publish output --hub_model_id {REPO} --hub_tag v1"
    if code:
        assert case.reason in record(finished)["error"]
        assert f"{record(finished)['error']}\nThe run is complete in output. To publish it:\n  {command}" in error
        assert "Traceback" not in error
        assert record(finished)["status"] in ("failed", "pushed", "different")
    else:
        assert files == PUSHED
        assert record(finished)["status"] == "verified"
    hub.clear_requests()
    assert run_publish(monkeypatch, *command.split()[3:]) == 0, capsys.readouterr().err
    if code == 0:
        assert not hub.requests_to("/commit/|/preupload/"), "all is there"
    assert files_of(api) == PUSHED
    assert record(finished)["status"] == "verified"
    assert commits(api).count("Publish model, card and results") == 1, "one commit, however often it was tried"
    note(case.name, case.where, code, f"fails: {case.reason}" if code else GOES_ON)


def test_publishing_process_killed_during_an_upload(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    upload = hub.inject(Fault("PUT", PUT, kind="stall", times=None))
    command = [sys.executable, "-m", "hf_sentiment_ft.publish", "output", "--hub_model_id", REPO]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as killed:
        while not upload.matched and killed.poll() is None:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        said = killed.stderr.read()
    assert killed.returncode == -signal.SIGKILL
    hub.clear_faults()
    assert whole(api) == set()
    again = record(finished)["command"]
    assert again in said, "said before the upload"
    assert record(finished)["status"] == "begun"
    assert run_publish(monkeypatch, *again.split()[3:]) == 0
    assert whole(api) == PUSHED
    note("the command is killed (`kill -9`)", "uploading the weights", -9, "has already printed the command to retry")


@pytest.mark.parametrize("moment", ["objects/batch", "commit/main"])
def test_server_killed_and_restarted(moment: str, finished: Path, tmp_path: Path, monkeypatch):
    """Killed while the client waits for it to take the weights, or for its answer to the commit."""
    root = Path(__file__).parents[2]
    server = [sys.executable, "-m", "tests.hub_server", f"--root={tmp_path / 'hub'}"]
    server += ["--user=alice", f"--token={TOKEN}"]

    def start(port: int) -> subprocess.Popen:
        return subprocess.Popen([*server, f"--port={port}"], stdout=subprocess.PIPE, text=True, cwd=root)

    first = start(0)
    endpoint = first.stdout.readline().strip().partition("=")[2]
    use_hub(endpoint, tmp_path, monkeypatch)
    first.stdout.readline()
    command = [sys.executable, "-m", "hf_sentiment_ft.publish", "output", "--hub_model_id", REPO]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as publishing:
        for line in first.stdout:
            if moment in line:
                first.send_signal(signal.SIGSTOP)  # what the client sends now is neither taken nor refused
                break
        time.sleep(0.5)
        first.send_signal(signal.SIGKILL)
        first.wait()
        second = start(int(endpoint.rpartition(":")[2]))
        output = publishing.communicate()
    try:
        assert publishing.returncode == 0, output
        api = HfApi(endpoint=endpoint, token=TOKEN)
        assert whole(api) == PUSHED
        assert record(finished)["status"] == "verified"
        assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
        assert len(commits(api)) == 2, "the first one and ours"
    finally:
        second.kill()
        second.wait()
    where = {"objects/batch": "uploading the weights", "commit/main": "after the commit"}[moment]
    note("the Hub is killed (`kill -9`) and restarted", where, 0, GOES_ON)


def test_the_table_in_the_docs():
    if len(ROWS) < len(CASES) + 3:
        pytest.skip("only some of the faults were run")
    head = "| fault | during | the command | exit code | running `publish` afterwards |\n|---|---|---|---|---|\n"
    table = head + "\n".join(ROWS.values()) + "\n"
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN + "\n\n")
    old, _, after = rest.partition("\n" + END)
    if os.environ.get("UPDATE_DOCS") == "1":
        DOCS.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")
    else:
        assert old == table, "run this file with UPDATE_DOCS=1"
