"""`transformers serve` answers over HTTP with the probabilities of the evaluation."""

import csv
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from ..conftest import REVIEWS

LABELS = ("negative", "positive")
QUESTIONS = {"label": {"type": "choice", "criteria": dict.fromkeys(LABELS)}, "good": {"type": "noul"}}


@pytest.fixture(name="server", scope="module")
def server_fixture(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The command as a user types it, with the run's folder; returns its address and its log."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(run_dir)]
    with log.open("w") as output:
        process = subprocess.Popen([*command, "--port", str(port), "--device", "cpu"], stdout=output, stderr=output)
    try:
        address = f"http://localhost:{port}"
        while True:
            assert process.poll() is None, log.read_text()
            try:
                urlopen(f"{address}/health").close()
                break
            except (URLError, ConnectionError):
                time.sleep(0.1)
        yield address, log
    finally:
        process.kill()
        process.wait()


def post(server: tuple[str, Path], state: Any, questions: dict[str, Any], model: Path) -> dict[str, Any]:
    body = {"model": str(model), "state": state, "questions": questions}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{server[0]}/v1/systemone", json.dumps(body).encode(), headers)) as response:
        return json.load(response)


def test_every_row_of_the_test_set(server: tuple[str, Path], run_dir: Path):
    with (run_dir / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (REVIEWS / "test.csv").open(newline="", encoding="utf-8") as file:
        assert [row["text"] for row in rows] == [row["text"] for row in csv.DictReader(file)]
    for row in rows:
        answers = post(server, row["text"], QUESTIONS, run_dir)["answers"]
        expected = {label: float(row[f"probability_{label}"]) for label in LABELS}
        assert answers["label"]["probabilities"] == pytest.approx(expected, abs=1e-4)
        assert answers["label"]["choice"] == row["prediction"]
        assert answers["good"]["noul"] == pytest.approx(expected["positive"], abs=1e-4)


TOO_LONG = "a moving, funny film " * 200


@pytest.mark.parametrize(
    ("state", "question", "status", "message"),
    [
        (
            "x",
            {"type": "choice", "criteria": dict.fromkeys(reversed(LABELS))},
            500,
            "options, in this order: negative, ",
        ),
        ("x", {"type": "score", "criteria": ["bad", "good"]}, 500, "questions of the type choice or noul"),
        ({"text": "x"}, QUESTIONS["label"], 500, "Pass a string"),
        (TOO_LONG, QUESTIONS["label"], 500, "IndexError: index out of range"),
        ("x", {"type": "choice", "criteria": dict.fromkeys("abc")}, 400, "this model reads at most 2 options"),
        ("x", {"type": "choice"}, 422, "missing 1 required positional argument: 'criteria'"),
    ],
    ids=["order", "type", "state", "too-long", "options", "criteria"],
)
def test_other_requests_are_errors(
    server: tuple[str, Path], run_dir: Path, state: Any, question: dict[str, Any], status: int, message: str
):
    """The server answers 500 where the template refuses, and writes the message to its log: docs/deploy.md."""
    with pytest.raises(HTTPError) as raised:
        post(server, state, {"label": question}, run_dir)
    answer = raised.value.read().decode()
    assert raised.value.code == status
    assert (answer == "Internal Server Error") == (status == 500)
    if status != 500:
        assert message in answer
    while status == 500 and message not in server[1].read_text():  # the traceback comes after the answer
        time.sleep(0.1)
