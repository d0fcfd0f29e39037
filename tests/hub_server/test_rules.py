"""What the Hub allows and refuses, seen through huggingface_hub."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, hf_hub_download
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub_server import HubServer
from tests.hub_server.accounts import Role

Login = Callable[[str | bool], HfApi]
REPO = "alice/model"


def add(api: HfApi, path: str, text: str, repo: str = REPO, revision: str = "main", pull_request: bool = False) -> str:
    """Commit a file and return the commit's id."""
    operation = CommitOperationAdd(path, text.encode())
    return api.create_commit(repo, [operation], commit_message="add", revision=revision, create_pr=pull_request).oid


def read(api: HfApi, folder: Path, path: str, revision: str = "main") -> str:
    """Download a file, past all caches."""
    return Path(
        api.hf_hub_download(REPO, path, revision=revision, cache_dir=folder / "cache", force_download=True)
    ).read_text()


def refused(status: int) -> Callable[[HfHubHTTPError], bool]:
    """Return a check for the status of an error."""
    return lambda error: error.response.status_code == status


def test_commit_on_a_stale_parent_is_refused(api: HfApi) -> None:
    parent = api.model_info(REPO).sha

    def push(number: int) -> int:
        operation = CommitOperationAdd(f"{number}.txt", b"x")
        try:
            api.create_commit(REPO, [operation], commit_message="push", parent_commit=parent)
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(push, range(8))) == [200] + 7 * [412]
    assert len(api.list_repo_commits(REPO)) == 2


def test_restarted_server_goes_on(server: HubServer, api: HfApi, login: Login, tmp_path: Path) -> None:
    oid = add(api, "a.txt", "one")
    port = int(server.endpoint.rpartition(":")[2])
    server.close()
    with HubServer(tmp_path / "hub", port):
        assert api.model_info(REPO).sha == oid
        assert read(api, tmp_path, "a.txt") == "one"
        assert login("hf_bob").whoami()["orgs"][0]["roleInOrg"] == "read"


def test_delete_copy_and_history(api: HfApi, tmp_path: Path) -> None:
    first = add(api, "sub/a.txt", "one")
    add(api, "big.bin", "\0large")
    api.create_commit(REPO, [CommitOperationCopy("big.bin", "copy.bin")], commit_message="copy")
    assert read(api, tmp_path, "copy.bin") == "\0large"
    api.delete_folder("sub", REPO)
    assert read(api, tmp_path, "sub/a.txt", first) == "one"
    with pytest.raises(RemoteEntryNotFoundError):
        read(api, tmp_path, "sub/a.txt")
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_file("sub/a.txt", REPO)
    entries = {entry.path: entry for entry in api.list_repo_tree(REPO, expand=True)}
    assert entries["copy.bin"].last_commit.title == "copy"  # type: ignore[union-attr]
    add(api, "odd", "\0large as well, by its content")
    assert "odd filter=lfs" in read(api, tmp_path, ".gitattributes")
    add(api, ".gitignore", "*.log\n")
    add(api, "run.log", "not wanted")
    assert not api.file_exists(REPO, "run.log")


def test_long_folders_come_in_pages(server: HubServer, api: HfApi) -> None:
    files = [CommitOperationAdd(f"{number:03d}.txt", b"x") for number in range(120)]
    api.create_commit(REPO, files, commit_message="many")
    assert len(list(api.list_repo_tree(REPO, expand=True))) == 121
    assert len(server.requests_to("/tree/")) == 3


def test_branches_and_tags(api: HfApi, tmp_path: Path) -> None:
    add(api, "a.txt", "one")
    api.create_branch(REPO, branch="dev/x")
    api.create_branch(REPO, branch="dev/x", exist_ok=True)
    api.create_tag(REPO, tag="v1.0")
    add(api, "a.txt", "two", revision="dev/x")
    assert [read(api, tmp_path, "a.txt", name) for name in ("main", "dev/x", "v1.0")] == ["one", "two", "one"]
    refs = api.list_repo_refs(REPO)
    assert ({ref.name for ref in refs.branches}, {ref.name for ref in refs.tags}) == ({"main", "dev/x"}, {"v1.0"})
    api.delete_tag(REPO, tag="v1.0")
    api.delete_branch(REPO, branch="dev/x")
    for revision in ("v1.0", "dev/x"):
        with pytest.raises(RevisionNotFoundError):
            api.model_info(REPO, revision=revision)
    with pytest.raises(HfHubHTTPError, check=refused(403)):
        api.delete_branch(REPO, branch="main")


def test_pull_requests(api: HfApi, login: Login, tmp_path: Path) -> None:
    add(api, "a.txt", "one")
    with pytest.raises(HfHubHTTPError, match="create_pr=1"):
        add(login("hf_bob"), "a.txt", "bob's")
    add(login("hf_bob"), "b.txt", "bob's", pull_request=True)
    add(api, "a.txt", "two")
    assert read(api, tmp_path, "b.txt", "refs/pr/1") == "bob's"
    api.comment_discussion(REPO, 1, "Thanks")
    api.merge_pull_request(REPO, 1)
    assert (read(api, tmp_path, "a.txt"), read(api, tmp_path, "b.txt")) == ("two", "bob's")
    details = api.get_discussion_details(REPO, 1)
    assert (details.status, details.merge_commit_oid) == ("merged", api.model_info(REPO).sha)
    assert [event.type for event in details.events] == ["commit", "comment", "status-change"]

    draft = login("hf_bob").create_pull_request(REPO, title="A draft")
    with pytest.raises(BadRequestError):
        api.merge_pull_request(REPO, draft.num)
    add(login("hf_bob"), "a.txt", "three", revision=str(draft.git_reference))
    add(api, "a.txt", "four")
    api.change_discussion_status(REPO, draft.num, "open")
    assert api.get_discussion_details(REPO, draft.num).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError, check=refused(409)):
        api.merge_pull_request(REPO, draft.num)
    assert [found.num for found in api.get_repo_discussions(REPO, discussion_status="open")] == [2]


FINE = {"alice": ["repo.content.read", "repo.write"]}


@pytest.mark.parametrize(
    ("role", "scopes", "allowed"),
    [
        ("write", {}, True),
        ("read", {}, False),
        ("fineGrained", {}, False),
        ("fineGrained", {"alice": ["repo.content.read"]}, False),
        ("fineGrained", {"alice/other": FINE["alice"]}, False),
        ("fineGrained", {REPO: FINE["alice"]}, True),
        ("fineGrained", FINE, True),
    ],
)
def test_roles(
    server: HubServer, api: HfApi, login: Login, role: Role, scopes: dict[str, list[str]], allowed: bool
) -> None:
    server.add_user("alice", "hf_second", role, scopes=scopes)
    assert login("hf_second").whoami()["auth"]["accessToken"]["role"] == role
    if allowed:
        assert add(login("hf_second"), "a.txt", "x") == api.model_info(REPO).sha
    else:
        with pytest.raises(HfHubHTTPError, check=refused(403)):
            add(login("hf_second"), "a.txt", "x")
        with pytest.raises(HfHubHTTPError, check=refused(403)):
            login("hf_second").auth_check(REPO, write=True)


def test_spaces_other_than_static_ones_must_be_paid_for(login: Login) -> None:
    api = login("hf_alice")
    with pytest.raises(HfHubHTTPError, check=refused(402)):
        api.create_repo("alice/app", repo_type="space", space_sdk="gradio")
    api.create_repo("alice/page", repo_type="space", space_sdk="static")
    assert set(api.list_repo_files("alice/page", repo_type="space")) > {"README.md", "index.html"}
    assert api.space_info("alice/page").sdk == "static"
    readme = {"path_or_fileobj": b"---\ntitle: x\n---\n", "path_in_repo": "README.md"}
    with pytest.raises(ValueError, match="sdk"):
        api.upload_file(**readme, repo_id="alice/page", repo_type="space")


def test_namespaces(server: HubServer, login: Login) -> None:
    login("hf_alice").create_repo("lab/shared")
    add(login("hf_alice"), "a.txt", "x", "lab/shared")
    for token, repo, status in [("hf_bob", "lab/b", 403), ("hf_bob", "alice/b", 403), ("hf_wrong", "alice/b", 401)]:
        with pytest.raises(HfHubHTTPError, check=refused(status)):
            login(token).create_repo(repo)
    with pytest.raises(HfHubHTTPError, check=refused(409)):
        login("hf_alice").create_repo("lab/shared")


def test_private_and_gated(api: HfApi, login: Login, tmp_path: Path) -> None:
    add(api, "a.txt", "x")
    api.update_repo_settings(REPO, private=True)
    for token in ("hf_bob", False):
        with pytest.raises(RepositoryNotFoundError):
            login(token).auth_check(REPO)
    api.update_repo_settings(REPO, private=False, gated="manual")
    for token in ("hf_bob", False):
        assert login(token).model_info(REPO).gated == "manual"
        with pytest.raises(GatedRepoError):
            hf_hub_download(REPO, "a.txt", endpoint=api.endpoint, token=token, cache_dir=tmp_path)
    api.grant_access(REPO, "bob")
    assert read(login("hf_bob"), tmp_path, "a.txt") == "x"
    api.delete_repo(REPO)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)


def test_files_can_be_read_in_ranges(server: HubServer, api: HfApi) -> None:
    oid = add(api, "a.txt", "0123456789")
    request = urllib.request.Request(f"{server.endpoint}/{REPO}/resolve/main/a.txt", headers={"Range": "bytes=2-4"})
    with urllib.request.urlopen(request) as reply:
        assert (reply.status, reply.read(), reply.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
        assert reply.headers["X-Repo-Commit"] == oid
