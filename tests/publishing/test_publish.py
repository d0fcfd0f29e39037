"""The publish command, and the push and verification that it shares with training, over HTTP."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from hf_sentiment_ft.errors import PublishError
from hf_sentiment_ft.publishing.card import MARKED_LINE
from hf_sentiment_ft.publishing.publication import publish_run, retry_command
from hf_sentiment_ft.publishing.repository import Destination
from hf_sentiment_ft.runtime.run_files import begin_files, record_files

from ..hub_server import Fault, HubServer
from ..local_hub import (  # noqa: F401
    REPO,
    TOKEN,
    api_fixture,
    check,
    commits,
    files_of,
    finished_fixture,
    hub_fixture,
    quick_look_fixture,
    record,
    run_publish,
)

PUSHED = {
    "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json", "all_results.json", "eval_results.json", "test_results.json", "test_predictions.csv",
    "plots/training.png", "plots/confusion_matrix.png", "plots/calibration.png", "plots/coverage.png",
    "decision.json", "decision_template.jinja",
}  # fmt: skip


def card(api: HfApi, revision: str = "main") -> str:
    return Path(api.hf_hub_download(REPO, "README.md", revision=revision)).read_text(encoding="utf-8")


@pytest.mark.parametrize("xet", [True, False])
def test_a_run_arrives_as_one_commit(hub: HubServer, api: HfApi, finished: Path, monkeypatch, capsys, xet: bool):
    """By the command as users run it, and verified by a fresh process."""
    environment = {**os.environ, "HF_HUB_DISABLE_XET": str(int(not xet))}
    (finished / ".gitignore").write_text("*.csv\n")
    for name in ("notes.txt", "model-00001-of-00002.safetensors", "mine.safetensors", "eval_predictions.csv"):
        (finished / name).write_text("mine")
    command = [sys.executable, "-m", "hf_sentiment_ft.publish", "output", "--hub_model_id", REPO, "--hub_tag", "v1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files_of(api) == PUSHED, "of the folder's files only those of the list, whatever .gitignore says"
    assert commits(api) == ["Publish model, card and results", "initial commit"]
    head = str(api.model_info(REPO).sha)
    assert f"verified: revision {head}" in done.stdout
    assert bool(hub.requests_to("/xet-write-token/")) is xet
    assert bool(hub.requests_to("/_storage/lfs/", "PUT")) is not xet
    assert [tag.target_commit for tag in api.list_repo_refs(REPO).tags] == [head]
    kept = record(finished)
    assert {name: kept[name] for name in ("repo_id", "branch", "status", "revision", "tag", "sample")} == {
        "repo_id": REPO, "branch": "main", "status": "verified", "revision": head, "tag": "v1", "sample": 16,
    }  # fmt: skip
    assert kept["files"] == {name: (finished / name).stat().st_size for name in PUSHED}
    assert "error" not in kept
    assert TOKEN not in done.stdout + done.stderr + (finished / "publication.json").read_text()


@pytest.mark.usefixtures("quick_look")
def test_a_second_push_of_the_same_run_sends_nothing(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    first = record(finished)
    hub.clear_requests()
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert record(finished) == first
    changing = [row for row in hub.requests if row.method not in ("GET", "HEAD")]
    assert [row.path for row in changing] == ["/api/validate-yaml"]
    assert len(commits(api)) == 2


@pytest.mark.usefixtures("quick_look")
def test_a_second_run_updates_results_and_keeps_a_persons_words(
    hub: HubServer, api: HfApi, finished: Path, monkeypatch
):
    begin_files(finished, ["model-00001-of-00002.safetensors"])
    (finished / "model-00001-of-00002.safetensors").write_bytes(b"of this run only")
    record_files(finished)
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    words = "## Who uses it\n\nMy aunt.\n"
    edited = card(api).replace("# reviews", "# Reviews, edited above the line") + "\n" + words
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=REPO)
    for name in ("aunt.png", "plots/aunt.png"):
        api.upload_file(path_or_fileobj=b"photo", path_in_repo=name, repo_id=REPO)

    (finished / "model-00001-of-00002.safetensors").unlink()
    values = json.loads((finished / "card.json").read_text())
    values["test"]["accuracy"] = values["metadata"]["eval_results"][0]["metric_value"] = 0.9876
    (finished / "card.json").write_text(json.dumps(values))
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert "**0.9876**" in card(api)
    assert ModelCard(card(api)).data.eval_results[0].metric_value == 0.9876
    assert "edited above" not in card(api)
    assert card(api).partition(MARKED_LINE)[2] == "\n\n" + words
    assert files_of(api) == PUSHED | {"aunt.png", "plots/aunt.png"}, "what others added is kept"
    assert len(commits(api)) == 6


@pytest.mark.usefixtures("quick_look")
def test_words_written_in_the_folder_are_published(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    with (finished / "README.md").open("a") as file:
        file.write("\nMy aunt uses it.\n")
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert card(api).endswith(f"{MARKED_LINE}\n\nMy aunt uses it.\n")


@pytest.mark.usefixtures("quick_look")
def test_a_private_repository_and_a_branch(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    flags = ["output", "--hub_model_id", REPO, "--hub_private_repo", "--hub_revision", "dev"]
    assert run_publish(monkeypatch, *flags) == 0
    assert api.model_info(REPO).private
    assert (files_of(api), files_of(api, "dev")) == (set(), PUSHED)
    assert record(finished)["branch"] == "dev"


@pytest.mark.usefixtures("quick_look")
def test_a_pull_request_is_opened_once(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    bob = HfApi(endpoint=hub.endpoint, token="hf_bob")
    bob.create_repo("bob/reviews")
    bob.upload_file(path_or_fileobj=b"# Bob's", path_in_repo="README.md", repo_id="bob/reviews")
    hub.inject(Fault("POST", "/commit/", kind="drop_reply"))  # carried out, but the client cannot know
    for _ in range(2):
        assert run_publish(monkeypatch, "output", "--hub_model_id", "bob/reviews", "--hub_create_pr") == 0
        assert record(finished)["pull_request"] == f"{hub.endpoint}/bob/reviews/discussions/1"
    assert files_of(api, repo="bob/reviews") == {"README.md"}
    assert files_of(api, "refs/pr/1", "bob/reviews") == PUSHED
    assert len(list(api.get_repo_discussions("bob/reviews"))) == 1


@pytest.mark.usefixtures("quick_look")
def test_hub_overwrite_leaves_nothing_of_the_others(hub: HubServer, api: HfApi, finished: Path, monkeypatch, capsys):
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="old/config.json", repo_id=REPO)
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 2
    assert "--hub_overwrite" in capsys.readouterr().err
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO, "--hub_overwrite") == 0
    assert files_of(api) == PUSHED


def test_a_commit_of_others_is_noticed(hub: HubServer, api: HfApi, finished: Path):
    api.create_repo(REPO)
    destination = check()
    theirs = api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO).oid
    with pytest.raises(PublishError, match="somebody else has committed to alice/reviews"):
        publish_run(finished, destination)
    assert api.model_info(REPO).sha == theirs
    assert record(finished)["status"] == "failed"


def test_a_repository_that_others_made_meanwhile(hub: HubServer, api: HfApi, finished: Path):
    destination = check()
    api.create_repo(REPO)
    theirs = api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO).oid
    with pytest.raises(PublishError, match="did not exist when this run began, but now contains x.txt"):
        publish_run(finished, destination)
    assert api.model_info(REPO).sha == theirs


@pytest.mark.usefixtures("quick_look")
def test_a_repository_that_is_gone(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    api.create_repo(REPO)
    destination = check()
    api.delete_repo(REPO)
    with pytest.raises(PublishError, match="no longer exists|not found"):
        publish_run(finished, destination)
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert files_of(api) == PUSHED


@pytest.mark.usefixtures("quick_look")
@pytest.mark.parametrize("times", [1, None])
def test_a_refused_card_does_not_cost_the_weights(
    hub: HubServer, api: HfApi, finished: Path, monkeypatch, capsys, times
):
    refusal = {"status": 400, "body": b'{"errors": [{"message": "no such licence"}]}'}
    hub.inject(Fault("POST", "/api/validate-yaml", times=times, **refusal))
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 1
    error = capsys.readouterr().err
    kept = "only its tags were kept" if times else "the card was left out"
    assert f"the Hub rejected its card's metadata; {kept}: no such licence\n" in error
    assert record(finished)["status"] == "verified"
    if times:
        assert files_of(api) == PUSHED
        published = ModelCard(card(api))
        assert published.data.tags[-1:] == ["generated_from_trainer"]
        assert not published.data.eval_results
        assert "## Results" in published.content
    else:
        assert files_of(api) == PUSHED - {"README.md"}
    hub.clear_faults()
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0, "the repository is known as ours"
    assert files_of(api) == PUSHED
    assert ModelCard(card(api)).data.eval_results


@pytest.mark.usefixtures("quick_look")
def test_a_tag_that_moved_meanwhile(hub: HubServer, api: HfApi, finished: Path):
    api.create_repo(REPO)
    destination = check(hub_tag="v1")
    api.create_tag(REPO, tag="v1")
    with pytest.raises(PublishError, match="already has a tag v1 on another commit"):
        publish_run(finished, destination)
    assert record(finished)["status"] == "pushed"


def test_the_words_of_a_person_are_not_lost_when_the_card_cannot_be_read(hub: HubServer, api: HfApi, finished: Path):
    """A download that fails is not a card that is not there."""
    api.create_repo(REPO)
    ours = f"---\ntags:\n- hf_sentiment_ft\n---\n{MARKED_LINE}\nMy aunt.\n"
    api.upload_file(path_or_fileobj=ours.encode(), path_in_repo="README.md", repo_id=REPO)
    destination = check(timeout=1)
    hub.inject(Fault("HEAD", "/resolve/.*README.md", times=None, status=404))
    with pytest.raises(PublishError):
        publish_run(finished, destination)
    hub.clear_faults()
    assert card(api) == ours


def test_the_command_to_try_again():
    destination = Destination("alice/x", TOKEN, private=True, revision="dev", tag="v1", replace=True)
    assert retry_command(Path("my output"), destination) == (
        "python -m hf_sentiment_ft.publish 'my output' --hub_model_id alice/x --hub_revision dev --hub_tag v1 "
        "--hub_private_repo --hub_overwrite"
    )
