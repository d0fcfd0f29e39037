"""One commit that makes a branch of the Hub hold exactly one run."""

from dataclasses import dataclass
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PublishError
from .hub import Destination, hub_errors, patiently, status_code
from .output import PUBLISHED_FILES, published_files

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from huggingface_hub.hf_api import RepoFile


@dataclass(frozen=True)
class Pushed:
    """What a push came to: the commit, its address, and the pull request's, if it is one."""

    revision: str
    url: str
    pull_request: str | None = None


def push(
    folder: Path,
    destination: Destination,
    *,
    message: str = "Publish model, card and results",
    without_card: bool = False,
    extra: "dict[str, Path | bytes] | None" = None,
) -> Pushed:
    """Publish the files of a run as one commit on top of the remembered one.

    Files of an earlier run of ours that this one does not have are removed in the same commit, so that the repository
    never mixes two runs. Files that are there already are not sent again.

    Args:
        folder: What `published_files` finds here is published.
        destination: Where to.
        message: The commit's message.
        without_card: Leave `README.md` out.
        extra: More files, by their path in the repository.

    Raises:
        PublishError: If somebody else has committed in between.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api, repo_id, timeout = destination.api, destination.repo_id, destination.timeout
    if destination.parent is None and not destination.create_pr:
        patiently(lambda: api.create_repo(repo_id, private=destination.private, exist_ok=True), timeout)
    if destination.revision != "main":
        patiently(lambda: api.create_branch(repo_id, branch=destination.revision, exist_ok=True), timeout)
    head = patiently(lambda: api.model_info(repo_id, revision=destination.revision), timeout).sha
    present = remote_files(destination, str(head))
    files: dict[str, Path | bytes] = {path.relative_to(folder).as_posix(): path for path in published_files(folder)}
    files |= extra or {}
    if without_card:
        files.pop("README.md", None)
    new = {name: file for name, file in files.items() if name not in present or not same_content(file, present[name])}
    stale = [
        name
        for name in sorted(set(present) - {*files, ".gitattributes", "README.md"})
        if destination.replace or any(_matches(name, pattern) for pattern in PUBLISHED_FILES)
    ]
    if not new and not stale:
        return Pushed(str(head), f"{api.endpoint}/{repo_id}/commit/{head}")

    def commit() -> "CommitInfo":
        # Made anew for each try: the client changes them.
        additions = [CommitOperationAdd(name, file) for name, file in new.items()]
        return api.create_commit(
            repo_id,
            [*additions, *(CommitOperationDelete(name) for name in stale)],
            commit_message=message,
            revision=destination.revision,
            create_pr=destination.create_pr,
            parent_commit=None if destination.create_pr else destination.parent or head,
        )

    try:
        # A pull request asked for twice would be two.
        info = commit() if destination.create_pr else patiently(commit, timeout)
    except hub_errors() as error:
        if status_code(error) == 412:
            raise PublishError(
                f"somebody else has committed to {repo_id} since this run began ({destination.parent or head}); "
                "look at it, then publish on top of it, or offer this run with --hub_create_pr."
            ) from error
        raise
    return Pushed(info.oid, str(info.commit_url), info.pr_url)


def set_tag(destination: Destination, revision: str) -> None:
    """Set the destination's tag on a commit, unless it is there."""
    api, repo_id, tag = destination.api, destination.repo_id, str(destination.tag)
    patiently(lambda: api.create_tag(repo_id, tag=tag, revision=revision, exist_ok=True), destination.timeout)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) and name.count("/") == pattern.count("/")


def remote_files(destination: Destination, revision: str) -> "dict[str, RepoFile]":
    """The files of a commit by their path."""
    from huggingface_hub.hf_api import RepoFile

    api, repo_id = destination.api, destination.repo_id
    tree = patiently(lambda: list(api.list_repo_tree(repo_id, revision=revision, recursive=True)), destination.timeout)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def same_content(file: Path | bytes, remote: "RepoFile") -> bool:
    """Compare hashes: git's of regular files, SHA-256 of large ones."""
    from huggingface_hub.utils.sha import git_hash, sha_fileobj

    if remote.lfs is None:
        return git_hash(file if isinstance(file, bytes) else file.read_bytes()) == remote.blob_id
    with BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
        return sha_fileobj(opened).hex() == remote.lfs.sha256
