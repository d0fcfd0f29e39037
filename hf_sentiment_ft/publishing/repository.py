"""Push one commit that makes a branch on the Hub contain exactly one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PublishError, status_code
from ..hub import hub_errors, with_retries
from ..runtime.run_files import PUBLISHED_FILES, SPACE_FILES, is_named, published_files
from .destination import NOT_FREE, Destination

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoFile, SpaceInfo

CARD_TAG = "hf_sentiment_ft"  # marks repositories that this package may update


Content = Path | bytes


@dataclass(frozen=True)
class Pushed:
    """The outcome of a push.

    Attributes:
        revision: Commit hash.
        url: URL of the commit.
        pull_request: URL of the pull request; None if it is not one.
    """

    revision: str
    url: str
    pull_request: str | None = None


@dataclass(frozen=True)
class Changes:
    """What a commit has to change.

    Attributes:
        new: Files to add or update, by their path in the repository.
        stale: Paths of files to delete, which belong to an earlier run.
    """

    new: dict[str, Content]
    stale: list[str]

    def __bool__(self) -> bool:
        return bool(self.new or self.stale)


def push(
    folder: Path,
    destination: Destination,
    *,
    message: str = "Publish model, card and results",
    without_card: bool = False,
    extra: Mapping[str, Content] | None = None,
) -> Pushed:
    """Publish the files of a run as `push_files` does.

    Args:
        folder: Folder of the run; the files that `published_files` returns are published.
        destination: Where to push to.
        message: Commit message.
        without_card: Whether to leave out `README.md`.
        extra: Additional files, by their path in the repository.

    Raises:
        PublishError: If someone else has committed in the meantime.
    """
    files: dict[str, Content] = {path.relative_to(folder).as_posix(): path for path in published_files(folder)}
    files |= extra or {}
    if without_card:
        files.pop("README.md", None)
    return push_files(files, destination, message)


def push_files(files: dict[str, Content], destination: Destination, message: str) -> Pushed:
    """Publish files as one commit on top of the remembered one.

    Files of an earlier run that this run does not have are deleted in the same commit, so the repository never mixes
    two runs. Files that are already up to date are not uploaded again.

    Args:
        files: Files by their path in the repository.
        destination: Where to push to.
        message: Commit message.

    Raises:
        PublishError: If someone else has committed in the meantime, or the Hub wants to be paid for the Space.
    """
    _make_branch(destination)
    return with_retries(lambda: _look_and_commit(files, destination, message), destination.timeout)


def _make_branch(destination: Destination) -> None:
    """Create the repository and the branch if they do not exist."""
    api, repo_id, branch, parent = destination.api, destination.repo_id, destination.revision, destination.parent
    new: Any = {"repo_type": destination.repo_type, "space_sdk": destination.space_sdk, "private": destination.private}
    if parent is None:
        try:
            with_retries(lambda: api.create_repo(repo_id, **new, exist_ok=True), destination.timeout)
        except hub_errors() as error:
            if status_code(error) != 402:
                raise
            raise PublishError(NOT_FREE.format(repo_id=repo_id)) from error
    if branch != "main" and not branch.startswith("refs/"):
        with_retries(
            lambda: api.create_branch(repo_id, branch=branch, revision=parent, exist_ok=True), destination.timeout
        )


def _look_and_commit(files: dict[str, Content], destination: Destination, message: str) -> Pushed:
    """Commit the differences from the branch's head.

    Comparing first makes retries safe: if an earlier commit succeeded but its response was lost, it is found and not
    repeated.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api, repo_id = destination.api, destination.repo_id
    done, head, changes = _look(files, destination)
    if done is None and destination.create_pr:
        done = _open_pull_request(files, destination, message)
    if done is not None:
        return done
    additions = [CommitOperationAdd(name, file) for name, file in changes.new.items()]
    deletions = [CommitOperationDelete(name) for name in changes.stale]
    try:
        info = api.create_commit(
            repo_id,
            [*additions, *deletions],
            commit_message=message,
            repo_type=destination.repo_type,
            revision=destination.revision,
            create_pr=destination.create_pr,
            parent_commit=head if destination.create_pr else destination.parent or head,
        )
    except hub_errors() as error:
        if status_code(error) != 412:
            raise
        # It may be our own commit, from an attempt that succeeded but whose response was lost.
        done, _, _ = _look(files, destination)
        if done is not None:
            return done
        raise PublishError(
            f"somebody else has committed to {repo_id} since this run checked it ({destination.parent or head}). "
            "Review that commit, then publish again on top of it, or open a pull request with --hub_create_pr."
        ) from error
    return Pushed(info.oid, str(info.commit_url), info.pr_url)


def _look(files: dict[str, Content], destination: Destination) -> tuple[Pushed | None, str, Changes]:
    """Compare the branch with the run.

    Returns:
        The outcome of the push if the branch already contains the run, otherwise None; the branch's head; and what
        differs.

    Raises:
        PublishError: If the branch has disappeared, or the repository was created and filled by someone else.
    """
    repo_id = destination.repo_id
    info = find_head(destination, destination.revision)
    if info is None:
        raise PublishError(f"{repo_id}, branch {destination.revision}, no longer exists. Publish again to create it.")
    head = str(info.sha)
    present = remote_files(destination, head)
    changes = _changes(files, present, destination)
    if not changes:
        return Pushed(head, f"{destination.page}/commit/{head}"), head, changes
    if destination.parent is None and set(present) - {".gitattributes"} and not is_untouched(destination, head):
        raise PublishError(
            f"{repo_id} did not exist when this run began, but now contains {min(set(present) - {'.gitattributes'})}. "
            f"Publish again if you may replace it, or use another {destination.flag}."
        )
    return None, head, changes


def _changes(files: dict[str, Content], present: "dict[str, RepoFile]", destination: Destination) -> Changes:
    names, replace = SPACE_FILES if destination.space_sdk else PUBLISHED_FILES, destination.replace
    # `create_commit` skips unchanged files, too, but only after it has sent all hashes and names, and it compares with
    # the branch alone: a run that is offered again would get a second pull request.
    new = {name: file for name, file in files.items() if name not in present or not same_content(file, present[name])}
    # If this run pushes no card, the existing one stays with what a person wrote in it, unless all is replaced.
    kept = {*files, ".gitattributes"} | (set() if replace else {"README.md"})
    # Everything in a checkpoint's folder belongs to the run, but the plots' folder may have files that are not ours.
    folders = {name.partition("/")[0] for name in files if "/" in name and not is_named(name, names)}
    stale = [
        name
        for name in sorted(set(present) - kept)
        if replace or name.partition("/")[0] in folders or is_named(name, names)
    ]
    return Changes(new, stale)


def _open_pull_request(files: dict[str, Content], destination: Destination, message: str) -> Pushed | None:
    """Return the open pull request with exactly this content from an earlier attempt, or None."""
    api, repo_id = destination.api, destination.repo_id
    for found in api.get_repo_discussions(repo_id, discussion_type="pull_request", discussion_status="open"):
        info = find_head(destination, f"refs/pr/{found.num}") if found.title == message else None
        if info is not None and not _changes(files, remote_files(destination, str(info.sha)), destination):
            return Pushed(str(info.sha), f"{api.endpoint}/{repo_id}/commit/{info.sha}", found.url)
    return None


def tags(destination: Destination) -> dict[str, str]:
    """Return the repository's tags and the commits that they point to."""
    api, repo_id = destination.api, destination.repo_id
    refs = with_retries(lambda: api.list_repo_refs(repo_id), destination.timeout)
    return {tag.name: tag.target_commit for tag in refs.tags}


def set_tag(destination: Destination, revision: str) -> None:
    """Set the destination's tag on a commit, unless it is already set.

    Args:
        destination: Repository and tag.
        revision: Commit hash.

    Raises:
        PublishError: If the tag already exists on a different commit.
    """
    api, repo_id, tag = destination.api, destination.repo_id, str(destination.tag)
    with_retries(lambda: api.create_tag(repo_id, tag=tag, revision=revision, exist_ok=True), destination.timeout)
    if (on := tags(destination)[tag]) != revision:
        raise PublishError(f"{repo_id} already has a tag {tag} on another commit, {on}. Use another --hub_tag.")


def remote_files(destination: Destination, revision: str) -> "dict[str, RepoFile]":
    """Return the files of a commit by their path."""
    from huggingface_hub.hf_api import RepoFile

    api, repo_id, repo_type = destination.api, destination.repo_id, destination.repo_type
    tree = with_retries(
        lambda: list(api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)),
        destination.timeout,
    )
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def same_content(file: Content, remote: "RepoFile") -> bool:
    """Compare a file with one on the Hub by hash: git's own for regular files, SHA-256 for large files (LFS)."""
    from huggingface_hub.utils.sha import git_hash, sha_fileobj

    if remote.lfs is None:
        return git_hash(file if isinstance(file, bytes) else file.read_bytes()) == remote.blob_id
    with BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
        return sha_fileobj(opened).hex() == remote.lfs.sha256


def find_head(destination: Destination, revision: str) -> "ModelInfo | SpaceInfo | None":
    """Return the head of a branch, or None if the repository or the branch does not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api, repo_id = destination.api, destination.repo_id
    look: Any = api.space_info if destination.space_sdk else api.model_info
    try:
        return with_retries(lambda: look(repo_id, revision=revision), destination.timeout)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None


def is_untouched(destination: Destination, head: str) -> bool:
    """Return whether a Space has only the page that the Hub itself puts into a new one."""
    api, repo_id = destination.api, destination.repo_id
    if not destination.space_sdk:
        return False
    commits = with_retries(
        lambda: api.list_repo_commits(repo_id, repo_type="space", revision=head), destination.timeout
    )
    return len(commits) == 1


def read_file(destination: Destination, name: str) -> str | None:
    """Return the text of a file at the remembered parent commit, or None if there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    where: Any = {"repo_type": destination.repo_type, "revision": destination.parent, "token": destination.token}
    if destination.parent is None:
        return None
    try:
        path = with_retries(lambda: hf_hub_download(destination.repo_id, name, **where), destination.timeout)
    except RemoteEntryNotFoundError:
        return None
    return read_text(Path(path))


def read_text(path: Path) -> str:
    """Return the text of a file that a person may have edited, even if it was saved in Windows' old encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return path.read_text(encoding="cp1252", errors="replace")
