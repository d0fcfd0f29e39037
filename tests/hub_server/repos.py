"""Repositories on disk: settings, refs and discussions in one file, and one file for each commit."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from . import disk
from .errors import bad_request, revision_not_found
from .gitobjects import Entry, commit_oid, tree_oids

Kind = Literal["model", "dataset", "space"]
Gate = Literal["auto", "manual", False]
KINDS: dict[str, Kind] = {"model": "model", "dataset": "dataset", "space": "space"}

_ID = re.compile(r"\w[\w\-.]*/\w[\w\-.]*", re.ASCII)
_NAME = re.compile(r"\b[\w\-.]{1,96}\b", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def now() -> str:
    """Return the time as the Hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(frozen=True)
class Commit:
    """A commit with its whole tree of files."""

    oid: str
    parents: tuple[str, ...]
    author: str
    date: str
    title: str
    message: str
    files: Mapping[str, Entry]


@dataclass
class Repo:
    """A repository. Changes to its fields last once `Repos.save` has written them."""

    folder: Path
    kind: Kind
    id: str
    private: bool = False
    gated: Gate = False
    granted: list[str] = field(default_factory=list)
    created: str = field(default_factory=now)
    refs: dict[str, str] = field(default_factory=dict)
    discussions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """The user or organisation that owns it."""
        return self.id.partition("/")[0]

    @property
    def path(self) -> str:
        """Its path on the web site: models have no prefix."""
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"

    def find_ref(self, revision: str) -> str | None:
        """Return the full name of a branch, tag or pull request."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        return next((name for name in names if name in self.refs), None)

    def resolve(self, revision: str) -> Commit:
        """Return the commit of a branch, tag, pull request or (short) commit id.

        Raises:
            HubError: There is no such revision.
        """
        ref = self.find_ref(revision)
        if ref is not None:
            return self._load(self.refs[ref])
        if _COMMIT.fullmatch(revision):
            found = list((self.folder / "commits").glob(f"{revision}*.json"))
            if len(found) == 1:
                return self._load(found[0].stem)
        raise revision_not_found(revision)

    def history(self, commit: Commit) -> Iterator[Commit]:
        """Yield a commit and all before it, newest first."""
        yield commit
        while commit.parents:
            commit = self._load(commit.parents[0])
            yield commit

    def store_commit(
        self, files: Mapping[str, Entry], author: str, title: str, message: str, parent: str | None
    ) -> Commit:
        """Write a commit to disk; it is seen only once a ref points to it."""
        parents = (parent,) if parent else ()
        text = f"{title}\n\n{message}" if message else title
        oid = commit_oid(tree_oids(files)[""], parents, author, int(time.time()), text)
        commit = Commit(oid, parents, author, now(), title, message, files)
        disk.write_json(self.folder / "commits" / f"{oid}.json", asdict(commit))
        return commit

    def _load(self, oid: str) -> Commit:
        row = json.loads((self.folder / "commits" / f"{oid}.json").read_text())
        files = {path: Entry(**entry) for path, entry in row.pop("files").items()}
        return Commit(**{**row, "parents": tuple(row["parents"])}, files=files)


class Repos:
    """All repositories under a folder.

    Args:
        root: Folder that holds them, by kind, namespace and name.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def _folder(self, kind: Kind, repo_id: str) -> Path:
        return self._root / f"{kind}s" / repo_id

    def find(self, kind: Kind, repo_id: str) -> Repo | None:
        """Return a repository, or None."""
        folder = self._folder(kind, repo_id)
        if not _ID.fullmatch(repo_id) or not (folder / "repo.json").exists():
            return None
        return Repo(folder, kind, repo_id, **json.loads((folder / "repo.json").read_text()))

    def all(self, kind: Kind) -> list[Repo]:
        """Return all repositories of a kind, newest first."""
        folder = self._root / f"{kind}s"
        ids = [path.parent.relative_to(folder).as_posix() for path in folder.glob("*/*/repo.json")]
        repos = [repo for repo in (self.find(kind, repo_id) for repo_id in ids) if repo]
        return sorted(repos, key=lambda repo: repo.created, reverse=True)

    def create(self, kind: Kind, repo_id: str, private: bool, files: Mapping[str, Entry]) -> Repo:
        """Create a repository whose first commit, by the system, holds `files`.

        Raises:
            HubError: The name breaks the Hub's rules.
        """
        name = repo_id.partition("/")[2]
        if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith(".git"):
            raise bad_request(f"Invalid repo name: {name}")
        repo = Repo(self._folder(kind, repo_id), kind, repo_id, private)
        repo.refs["refs/heads/main"] = repo.store_commit(files, "system", "initial commit", "", None).oid
        self.save(repo)
        return repo

    def save(self, repo: Repo) -> None:
        """Make the changes of a repository visible, all in one step."""
        row = {key: getattr(repo, key) for key in ("private", "gated", "granted", "created", "refs", "discussions")}
        disk.write_json(repo.folder / "repo.json", row)

    def delete(self, repo: Repo) -> None:
        """Delete a repository; the rename makes it vanish in one step."""
        grave = Path(tempfile.mkdtemp(prefix=".deleted-", dir=self._root))
        repo.folder.rename(grave / "repo")
        shutil.rmtree(grave)
