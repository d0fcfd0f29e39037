"""What was published is looked at from a fresh process, and what differs is said."""

import csv
import re
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from hf_sentiment_ft.publishing import verify
from hf_sentiment_ft.publishing.repository import push
from hf_sentiment_ft.runtime.run_files import published_files

from ..hub_server import Fault, HubServer
from ..local_hub import (  # noqa: F401
    REPO,
    TOKEN,
    api_fixture,
    check,
    finished_fixture,
    hub_fixture,
    quick_look_fixture,
    record,
    run_publish,
)


def rewrite_predictions(folder: Path, word: str) -> None:
    """Let the evaluated model have said another word for the first text."""
    path = folder / "test_predictions.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows[0]["generated_text"] = word
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_fresh_process_with_an_empty_cache(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    """The token reaches it, but not by its arguments; nothing of this process's cache is used."""
    seen = []
    run = verify.subprocess.run

    def watch(command, **options):
        seen.append((command, options["env"], options["input"]))
        return run(command, **options)

    monkeypatch.setattr(verify.subprocess, "run", watch)
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO, "--hub_private_repo") == 0
    (command, environment, asked), *_ = seen
    assert TOKEN not in " ".join(command) + asked
    assert environment["HF_TOKEN"] == TOKEN
    assert not Path(environment["HF_HOME"]).exists(), "cleaned away"
    sha = record(finished)["revision"]
    downloads = hub.requests_to(f"/resolve/{sha}/", "GET")
    names = {row.path.rpartition("/")[2] for row in downloads}
    large = {path.name for path in published_files(finished) if path.suffix in (".safetensors", ".png")}
    assert names | large == {path.name for path in published_files(finished)} | {".gitattributes"}
    assert hub.requests_to("/_storage/lfs/", "GET"), "the weights are downloaded too"


@pytest.mark.usefixtures("quick_look")
def test_another_answer_is_an_error(hub: HubServer, finished: Path, monkeypatch, capsys):
    rewrite_predictions(finished, " otherwise")
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 1
    error = capsys.readouterr().err
    assert "what is on the Hub differs from this run:" in error
    assert "the evaluated one generated ' otherwise'" in error
    assert "python -m hf_sentiment_ft.publish output" in error
    kept = record(finished)
    assert kept["status"] == "different"
    assert len(kept["different"]) == 1


@pytest.mark.usefixtures("quick_look")
@pytest.mark.parametrize("wrong", ["temperature", "prompt", "refusal", "nothing"])
def test_another_decision_is_an_error(hub: HubServer, finished: Path, wrong: str):
    """What `pipeline("decision")` says is compared with `predict`, not only with what was pushed."""
    from transformers.decision import DecisionConfig

    decision = DecisionConfig.from_pretrained(finished)
    if wrong == "temperature":
        decision.temperature = {"choice": 0.1}
    elif wrong == "prompt":
        decision.chat_template = decision.chat_template.replace("Sentiment", "Opinion")
    elif wrong == "refusal":
        decision.chat_template = '{{ raise_exception("Not today.") }}'
    decision.save_pretrained(finished)
    destination = check()
    pushed = push(finished, destination)
    different = verify.verify(finished, published_files(finished), destination, pushed.revision)
    if wrong == "nothing":
        assert different == []
        return
    assert len(different) > 5
    gives = "the probabilities Not today." if wrong == "refusal" else r"the probabilities \[0\.\d+, 0\.\d+\]"
    for line in different:
        assert re.fullmatch(rf"for .+, pipeline\(\"decision\"\) gives {gives}, but predict gives \[.+\]", line)


@pytest.mark.usefixtures("quick_look")
def test_bytes_that_rotted_on_the_hub_are_an_error(hub: HubServer, api: HfApi, finished: Path, monkeypatch, capsys):
    """The Hub's own list of hashes is as pushed; only who downloads the file can know."""
    destination = check()
    pushed = push(finished, destination)
    stored = max(
        (path for path in Path("hub", "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(stored.read_bytes())
    content[-4000:] = bytes(4000)
    stored.chmod(0o644)
    stored.write_bytes(content)
    different = verify.verify(finished, published_files(finished), destination, pushed.revision)
    assert "model.safetensors has different content on the Hub" in different


@pytest.mark.usefixtures("quick_look")
def test_files_that_are_missing_or_changed_are_named(hub: HubServer, api: HfApi, finished: Path):
    destination = check()
    push(finished, destination)
    api.delete_file("test_results.json", REPO)
    sha = api.upload_file(path_or_fileobj=b"{}", path_in_repo="eval_results.json", repo_id=REPO).oid
    assert verify.verify(finished, published_files(finished), destination, sha) == [
        "test_results.json is missing on the Hub",
        "eval_results.json has different content on the Hub",
    ]


@pytest.mark.usefixtures("quick_look")
def test_a_model_that_does_not_load(hub: HubServer, api: HfApi, finished: Path):
    destination = check()
    (finished / "config.json").write_text('{"model_type": "no-such-model"}')
    pushed = push(finished, destination)
    (only,) = verify.verify(finished, published_files(finished), destination, pushed.revision)
    assert only.startswith("the published model does not load: ValueError: ")


@pytest.mark.usefixtures("quick_look")
def test_a_verification_that_fails_is_made_up_for(hub: HubServer, api: HfApi, finished: Path, monkeypatch, capsys):
    hub.inject(Fault("HEAD", "/resolve/.*/config.json", status=403, times=None))
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 1
    assert "the published model does not load" in capsys.readouterr().err
    hub.clear_faults()
    hub.clear_requests()
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert not hub.requests_to("/commit/"), "only the verification is done again"


def test_the_sample(run_dir: Path, tmp_path: Path):
    sample = verify.sample_answers(run_dir, size=4)
    assert len(sample) == 4
    assert set(sample.values()) <= {" negative", " positive"}
    with (run_dir / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        assert list(sample) == [row["text"] for row in csv.DictReader(file)][:100:25], "spread over the split"
    assert verify.sample_answers(tmp_path) == {}, "a run without predictions"


@pytest.mark.parametrize(
    "ends",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import torch; torch.empty(1 << 50)",
        "bytearray(1 << 60)",
        "raise ImportError('libtorch_cpu.so: failed to map segment from shared object')",
    ],
    ids=["killed", "torch", "python", "libraries"],
)
def test_too_little_memory_is_no_difference(hub: HubServer, finished: Path, monkeypatch, capsys, ends):
    """What is on the Hub is as it was sent; only the look at it failed, and can be made again."""
    run = verify.subprocess.run
    monkeypatch.setattr(
        verify.subprocess, "run", lambda command, **options: run([sys.executable, "-c", ends], **options)
    )
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 1
    error = capsys.readouterr().err
    assert "was not verified: this machine has too little memory" in error
    assert "differs" not in error
    assert record(finished)["status"] == "pushed"
    if ends.startswith("raise"):  # once is enough: a real look takes seconds
        monkeypatch.setattr(verify.subprocess, "run", run)
        assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
        assert record(finished)["status"] == "verified"
