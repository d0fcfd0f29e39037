"""What is found out about a push before training: asked of a Hub over HTTP."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import validate_repo_id

from hf_sentiment_ft.config.arguments import HubArguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.publishing.preflight import HubOptions, default_model_name, preflight
from hf_sentiment_ft.publishing.repository import _make_branch

from ..hub_server import Fault, HubServer
from ..local_hub import REPO, TOKEN, api_fixture, check, hub_fixture, run_publish  # noqa: F401

OUR_CARD = b"---\nlibrary_name: transformers\ntags:\n- hf_sentiment_ft\n---\n"


def put(api: HfApi, repo: str = REPO, **files: bytes) -> str:
    """Make a repository with files; return its commit."""
    api.create_repo(repo, exist_ok=True)
    for name, content in files.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=name.replace("_", "."), repo_id=repo)
    return str(api.model_info(repo).sha)


def refusal(**options) -> str:
    with pytest.raises(UsageError) as error:
        check(**options)
    assert "\n" not in str(error.value), "one line"
    return str(error.value)


def test_a_new_repository(hub: HubServer):
    destination = check("reviews", private=True, hub_tag="v1")
    assert (destination.repo_id, destination.parent, destination.replace) == (REPO, None, False)
    assert (destination.private, destination.tag, destination.revision) == (True, "v1", "main")
    assert TOKEN not in repr(destination)
    assert {row.method for row in hub.requests} == {"GET"}, "a check changes nothing"


def test_the_runs_own_name_under_ones_own(hub: HubServer):
    assert check(None).repo_id == "alice/its-name"
    assert check("lab/reviews").repo_id == "lab/reviews"


def test_no_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "`hf auth login`, set HF_TOKEN, or pass --hub_token" in refusal()
    assert hub.requests == []


def test_a_token_that_nobody_has(hub: HubServer):
    message = refusal(token="hf_nobodys")
    assert "the Hub rejected the token: HTTP 401" in message
    assert not message.endswith(".."), "the Hub's sentence has a full stop too"
    assert "hf_nobodys" not in message


@pytest.mark.parametrize("token", ["hf_alice Secret", "hf_alice\nSecret", "hf_älice"])
def test_a_token_with_letters_that_none_has_is_not_quoted(hub: HubServer, token: str):
    message = refusal(token=token)
    assert "copy it again" in message
    assert "lice" not in message.replace("a line break", "")


def test_a_read_token(hub: HubServer):
    hub.add_user("alice", "hf_read", role="read")
    assert f"cannot write to {REPO}" in refusal(token="hf_read")


@pytest.mark.parametrize(
    ("scopes", "enough"),
    [
        ({"alice": ["repo.content.read", "repo.write"]}, True),
        ({REPO: ["repo.write"]}, True),
        ({"*": ["repo.write"]}, True),
        ({"alice": ["repo.content.read"]}, False),
        ({"alice/other": ["repo.write"]}, False),
        ({"lab": ["repo.write"]}, False),
        ({}, False),
    ],
)
def test_a_fine_grained_token(hub: HubServer, scopes: dict[str, list[str]], enough: bool):
    hub.add_user("alice", "hf_fine", role="fineGrained", scopes=scopes)
    if enough:
        assert check(token="hf_fine").parent is None
    else:
        assert f"cannot write to {REPO}" in refusal(token="hf_fine")


def test_a_namespace_of_others(hub: HubServer):
    assert "can only publish under: alice, lab, library" in refusal(repo_id="bob/reviews")
    assert "alice has only read access to library" in refusal(repo_id="library/reviews")


def test_a_repository_that_the_hub_itself_refuses(hub: HubServer, api: HfApi):
    """Roles have more shades than `whoami` tells; where there is a repository the Hub is asked."""
    put(api)
    hub.inject(Fault("GET", "/auth-check/write", status=403))
    assert f"cannot write to {REPO}: HTTP 403" in refusal()


def test_a_revision_that_is_no_branch(hub: HubServer, api: HfApi):
    sha = put(api, README_md=OUR_CARD)
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="dev")
    for revision in (sha, "v1"):
        assert "which is a tag or commit of alice/reviews; expected a branch" in refusal(revision=revision)
    assert "refs/pr/7', which alice/reviews does not have" in refusal(revision="refs/pr/7")
    assert check(revision="dev").parent == check(revision="new").parent == sha


def test_a_repository_cannot_be_made_while_the_hub_is_busy(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    """The Hub's client itself would ask again for ever, without a pause."""
    body = b'{"error": "Cannot create repo: another conflicting operation is in progress"}'
    fault = hub.inject(Fault("POST", "/repos/create", None, status=409, body=body))
    destination = check(timeout=1)
    with pytest.raises(ConnectionError, match="busy with another operation of this user"):
        _make_branch(destination)
    assert fault.matched <= 3
    hub.clear_faults()
    hub.inject(Fault("POST", "/repos/create", 1, status=409, body=body))
    _make_branch(destination)
    assert destination.api.repo_exists(REPO)


@pytest.mark.parametrize("name", ["alice/a b", "alice/a--b", "alice/-a", "alice/a.git", "a/b/c", "alice/" + "x" * 97])
def test_an_illegal_name(hub: HubServer, name: str):
    message = refusal(repo_id=name)
    assert f"--hub_model_id is {name!r}, which is not a valid name" in message


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        ("gpt2", "cornell-movie-review-data/rotten_tomatoes", "gpt2-rotten-tomatoes"),
        ("gpt2", "отзывы.csv", "gpt2-label-words"),
        ("./tiny", "data/评论.csv.gz", "tiny-label-words"),
        ("модель", "отзывы 2024.csv", "model-2024"),
        ("gpt2", "Café_Kritiken.csv", "gpt2-Cafe-Kritiken"),
        ("gpt2", "a--b..c/-x-.csv", "gpt2-x"),
        ("gpt2", "train-*.csv", "gpt2-train"),
        (".", "..", "model-label-words"),
        ("org/m..n--o_", "x.csv", "m-n-o-x"),
        ("model-Q4_1.gguf", "x.csv", "model-x"),
        ("m" * 95, "x" * 95, "m" * 95),
        ("gpt2", "|`<img>.csv", "gpt2-img"),
    ],
)
def test_a_default_name_is_legal(model: str, data: str, expected: str):
    name = default_model_name(model, data)
    assert name == expected
    validate_repo_id(f"alice/{name}")


def test_a_name_that_nobody_has_given_is_not_blamed_on_a_flag(hub: HubServer):
    """As in a run of an earlier version."""
    options = HubOptions(None, None, None, None, HubArguments())
    with pytest.raises(UsageError, match="'alice/gpt2-', the run's own name, is not valid; set --hub_model_id"):
        preflight(options, "gpt2-")


@pytest.mark.parametrize("name", ["v 1", "a..b", "-v1", "v1.lock", "v~1", "a//b", "v1/", ""])
def test_an_illegal_branch_or_tag(hub: HubServer, name: str):
    assert f"--hub_tag is {name!r}, which is not a valid name" in refusal(hub_tag=name)
    assert f"--hub_revision is {name!r}" in refusal(revision=name)
    assert hub.requests == []


def test_an_empty_repository_is_taken(hub: HubServer, api: HfApi):
    sha = put(api)
    assert (check().parent, check().replace) == (sha, False)


def test_our_own_repository_is_updated(hub: HubServer, api: HfApi):
    sha = put(api, README_md=OUR_CARD, model_safetensors=b"1")
    assert (check().parent, check().replace) == (sha, False)


def test_our_own_repository_whose_card_the_hub_has_refused(hub: HubServer, api: HfApi):
    sha = put(api, config_json=b'{"label_words": [" bad", " good"]}', model_safetensors=b"1")
    assert (check().parent, check().replace) == (sha, False)


@pytest.mark.parametrize("config", [b'{"model_type": "gpt2"}', b"not JSON"])
def test_the_work_of_others_is_not_overwritten(hub: HubServer, api: HfApi, config: bytes):
    sha = put(api, config_json=config, README_md=b"# Mine")
    message = refusal()
    assert all(word in message for word in (REPO, "--hub_model_id", "--hub_create_pr", "--hub_overwrite"))
    overwriting = check(hub_overwrite=True)
    assert (overwriting.parent, overwriting.replace) == (sha, True)
    offering = check(hub_create_pr=True)
    assert (offering.create_pr, offering.replace) == (True, False)


def test_a_pull_request(hub: HubServer, api: HfApi):
    sha = put(HfApi(token="hf_bob"), "bob/reviews", README_md=b"# Bob's")
    assert check("bob/reviews", hub_create_pr=True).parent == sha
    assert "no repository alice/reviews to open a pull request in" in refusal(hub_create_pr=True)
    assert "a pull request goes to main" in refusal(hub_create_pr=True, revision="dev")
    assert "set the tag once the pull request is merged" in refusal(hub_create_pr=True, hub_tag="v1")
    assert "for every checkpoint" in refusal(hub_create_pr=True, strategy="every_save")
    hub.add_user("alice", "hf_talk", role="fineGrained", scopes={"bob/reviews": ["discussion.write"]})
    assert check("bob/reviews", hub_create_pr=True, token="hf_talk").create_pr
    hub.add_user("alice", "hf_read", role="read")
    assert "cannot write" in refusal(repo_id="bob/reviews", hub_create_pr=True, token="hf_read")


def test_a_branch_is_looked_at_by_itself(hub: HubServer, api: HfApi):
    main = put(api, README_md=OUR_CARD)
    assert check(revision="dev").parent == main, "a new branch begins at main"
    api.create_branch(REPO, branch="dev")
    dev = api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=REPO, revision="dev").oid
    assert check(revision="dev").parent == dev
    api.delete_file("README.md", REPO, revision="dev")
    assert "was not published by hf_sentiment_ft" in refusal(revision="dev")
    assert check().parent == main


def test_a_tag_that_is_on_another_commit(hub: HubServer, api: HfApi):
    put(api)
    api.create_tag(REPO, tag="v1")
    assert check(hub_tag="v1").tag == "v1", "where it would be set anyway"
    old = str(api.model_info(REPO).sha)
    put(api, README_md=OUR_CARD)
    assert f"--hub_tag is 'v1', which {REPO} already has on another commit, {old}" in refusal(hub_tag="v1")


def test_a_hub_that_answers_at_the_second_try(hub: HubServer):
    hub.inject(Fault("GET", "/api/whoami-v2", status=503))
    hub.inject(Fault("GET", "/revision/main", status=502))
    assert check().parent is None


def test_a_hub_that_is_down(hub: HubServer):
    with hub.refusing():
        assert "could not check on the Hub whether this run can be published: ConnectError" in refusal(timeout=1)


def test_offline_mode_is_said_at_once(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline mode" in refusal(timeout=60)


def test_publish_refuses_what_is_no_finished_run(hub: HubServer, tmp_path: Path, monkeypatch, capsys):
    assert run_publish(monkeypatch, tmp_path, "--hub_model_id", REPO) == 2
    assert "it has no config.json, card.json, all_results.json, *.safetensors" in capsys.readouterr().err
    for name in ("config.json", "card.json", "all_results.json", "model.safetensors"):
        (tmp_path / name).write_text("[")
    assert run_publish(monkeypatch, tmp_path, "--hub_model_id", REPO) == 2
    assert "card.json cannot be read" in capsys.readouterr().err
    assert hub.requests == []
