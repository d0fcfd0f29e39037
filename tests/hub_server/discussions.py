"""Discussions and pull requests: the records kept in a repository and how they change."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping
from typing import Any

from .blobs import Blobs
from .errors import HubError
from .gitobjects import Entry
from .repos import Commit, Repo, now

Discussion = dict[str, Any]


def find(repo: Repo, number: str | int) -> Discussion:
    """Return a discussion.

    Raises:
        HubError: There is none of this number.
    """
    for discussion in repo.discussions:
        if discussion["num"] == int(number):
            return discussion
    raise HubError(404, f"Discussion {number} not found")


def start(repo: Repo, author: str, title: str, description: str, status: str, base: Commit | None) -> Discussion:
    """Start a discussion, or a pull request when it has a base commit."""
    discussion: Discussion = {
        "num": len(repo.discussions) + 1,
        "title": title,
        "author": {"name": author},
        "createdAt": now(),
        "status": status,
        "isPullRequest": base is not None,
        "base": base.oid if base else None,
        "mergeCommitId": None,
        "events": [],
    }
    if description:
        comment(discussion, author, description)
    if base is not None:
        repo.refs[f"refs/pr/{discussion['num']}"] = base.oid
    repo.discussions.append(discussion)
    return discussion


def add_event(discussion: Discussion, kind: str, author: str, data: Mapping[str, object]) -> Discussion:
    """Add an event and return it."""
    event = {
        "id": secrets.token_hex(12),
        "type": kind,
        "createdAt": now(),
        "author": {"name": author},
        "data": dict(data),
    }
    discussion["events"].append(event)
    return event


def comment(discussion: Discussion, author: str, text: str) -> Discussion:
    """Add a comment and return its event."""
    latest = {"raw": text, "html": text, "updatedAt": now(), "author": {"name": author}}
    return add_event(
        discussion, "comment", author, {"edited": False, "hidden": False, "latest": latest, "history": [latest]}
    )


def record_commit(discussion: Discussion, author: str, commit: Commit) -> None:
    """Note in a pull request that a commit was added."""
    add_event(discussion, "commit", author, {"subject": commit.title, "oid": commit.oid})


def conflicts(base: Commit, ours: Commit, theirs: Commit) -> list[str]:
    """Return the files that both sides changed, each in its own way."""
    paths = {*base.files, *ours.files, *theirs.files}
    return sorted(
        path for path in paths if len({base.files.get(path), ours.files.get(path), theirs.files.get(path)}) == 3
    )


def merged(base: Commit, ours: Commit, theirs: Commit) -> dict[str, Entry]:
    """Return the files of `ours` with the changes from `base` to `theirs`."""
    files = {path: entry for path, entry in ours.files.items() if path not in base.files or path in theirs.files}
    changed = {path: entry for path, entry in theirs.files.items() if base.files.get(path) != entry}
    return {**files, **changed}


def diff(base: Commit, changed: Commit, blobs: Blobs) -> str:
    """Return the changes of a pull request as a patch."""
    lines: list[str] = []
    for path in sorted({*base.files, *changed.files}):
        old, new = base.files.get(path), changed.files.get(path)
        if old != new:
            lines.append(f"diff --git a/{path} b/{path}\n")
            lines += difflib.unified_diff(_lines(old, blobs), _lines(new, blobs), f"a/{path}", f"b/{path}")
    return "".join(lines)


def _lines(entry: Entry | None, blobs: Blobs) -> list[str]:
    if entry is None:
        return []
    if entry.sha256:
        return [f"oid sha256:{entry.sha256}\n"]
    return blobs.path(entry).read_text(errors="replace").splitlines(keepends=True)
