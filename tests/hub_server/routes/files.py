"""Reading: files, folders, refs and history."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from .. import access
from ..errors import HubError, entry_not_found
from ..gitobjects import Entry, lfs_pointer, tree_oids
from ..hub import Hub
from ..repos import Commit, Repo
from ..wire import Reply, Request, json_reply

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TREE_PAGE, _EXPANDED_PAGE, _COMMIT_PAGE = 1000, 50, 50


def content(request: Request, path: Path, etag: str) -> Reply:
    """Send a stored file, or the range that is asked for."""
    size = path.stat().st_size
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{etag}"', "Content-Type": "application/octet-stream"}
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or wanted[0] == "bytes=-":
        return Reply(200, headers=headers, path=path, length=size)
    if wanted[1]:
        start, end = int(wanted[1]), min(int(wanted[2] or size), size - 1)
    else:
        start, end = max(size - int(wanted[2]), 0), size - 1
    if start > end:
        raise HubError(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Reply(206, headers=headers, path=path, start=start, length=end - start + 1)


def resolve(hub: Hub, request: Request, kind: str | None, repo: str, rev: str, path: str) -> Reply:
    """Send a regular file, or the way to a large one."""
    found = hub.repo(request.who, kind or "model", repo)
    access.require_content(request.who, found)
    commit = found.resolve(rev)
    entry = commit.files.get(path)
    if entry is None:
        raise entry_not_found(path, commit.oid)
    headers = {"X-Repo-Commit": commit.oid}
    if entry.sha256 is None:
        reply = content(request, hub.blobs.path(entry), entry.oid)
        guess = mimetypes.guess_type(path)[0] or "text/plain"
        disposition = f"inline; filename*=UTF-8''{quote(path.rpartition('/')[2])}"
        reply.headers |= headers | {"Content-Type": guess, "Content-Disposition": disposition}
        return reply
    location = hub.storage_url(request.endpoint, f"/_storage/lfs/{entry.sha256}")
    headers |= {"Location": location, "X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"'}
    return Reply(302, f"Found. Redirecting to {location}".encode(), headers)


def raw(hub: Hub, request: Request, kind: str | None, repo: str, rev: str, path: str) -> Reply:
    """Send a file as git stores it: of a large file, the pointer."""
    found = hub.repo(request.who, kind or "model", repo)
    access.require_content(request.who, found)
    commit = found.resolve(rev)
    entry = commit.files.get(path)
    if entry is None:
        raise entry_not_found(path, commit.oid)
    data = lfs_pointer(entry.sha256, entry.size) if entry.sha256 else hub.blobs.path(entry).read_bytes()
    return Reply(200, data, {"X-Repo-Commit": commit.oid, "ETag": f'"{entry.oid}"', "Content-Type": "text/plain"})


def file_row(path: str, entry: Entry) -> dict[str, Any]:
    """Describe a file as the tree endpoint does."""
    row: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry.sha256:
        pointer = len(lfs_pointer(entry.sha256, entry.size))
        row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return row


def _rows(repo: Repo, commit: Commit, paths: Iterable[str], expand: bool) -> list[dict[str, Any]]:
    """Describe files and folders; unknown paths are left out."""
    folders = tree_oids(commit.files)
    rows = []
    for path in paths:
        if path in commit.files:
            rows.append(file_row(path, commit.files[path]))
        elif path in folders:
            rows.append({"type": "directory", "oid": folders[path], "size": 0, "path": path})
    if expand:
        history = list(repo.history(commit))
        for row in rows:
            last = _last_change(history, row["path"])
            row["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return rows


def _last_change(history: list[Commit], path: str) -> Commit:
    """Return the commit that gave a file or folder its present content."""

    def state(commit: Commit) -> Entry | str | None:
        return commit.files.get(path) or tree_oids(commit.files).get(path)

    last = history[0]
    for commit in history[1:]:
        if state(commit) != state(last):
            break
        last = commit
    return last


def tree(hub: Hub, request: Request, kind: str, repo: str, rev: str, path: str | None) -> Reply:
    """List a folder, page by page."""
    found = hub.repo(request.who, kind, repo)
    commit = found.resolve(rev)
    folders = tree_oids(commit.files)
    folder = (path or "").strip("/")
    if folder not in folders:
        raise entry_not_found(folder, commit.oid)
    prefix = f"{folder}/" if folder else ""
    names = sorted(name for name in (*folders, *commit.files) if name and name.startswith(prefix))
    if not request.flag("recursive"):
        names = [name for name in names if "/" not in name[len(prefix) :]]
    expand = request.flag("expand")
    size = int(request.query.get("limit", [str(_EXPANDED_PAGE if expand else _TREE_PAGE)])[0])
    return _page(request, lambda part: _rows(found, commit, part, expand), names, size)


def _page(request: Request, describe: Any, items: list[Any], size: int) -> Reply:
    """Answer with one page of a list and a link to the next."""
    start = int(request.query.get("cursor", ["0"])[0])
    headers = {}
    if start + size < len(items):
        parameters = parse_qs(request.target.partition("?")[2]) | {"cursor": [str(start + size)]}
        headers["Link"] = f'<{request.endpoint}{request.path}?{urlencode(parameters, doseq=True)}>; rel="next"'
    return json_reply(describe(items[start : start + size]), headers=headers)


def paths_info(hub: Hub, request: Request, kind: str, repo: str, rev: str) -> Reply:
    """Describe the files and folders that are asked for."""
    found = hub.repo(request.who, kind, repo)
    if request.headers.get("content-type", "").startswith("application/json"):
        body = request.fields()
        paths, expand = list(body.get("paths", [])), bool(body.get("expand"))
    else:
        form = parse_qs(request.body().decode())
        paths, expand = form.get("paths", []), form.get("expand", [""])[0].lower() == "true"
    return json_reply(_rows(found, found.resolve(rev), [path.strip("/") for path in paths], expand))


def refs(hub: Hub, request: Request, kind: str, repo: str) -> Reply:
    """List branches and tags, and pull requests where asked for."""
    found = hub.repo(request.who, kind, repo)

    def listed(prefix: str, cut: str) -> list[dict[str, str]]:
        return [
            {"name": ref.removeprefix(cut), "ref": ref, "targetCommit": oid}
            for ref, oid in found.refs.items()
            if ref.startswith(prefix)
        ]

    answer = {
        "branches": listed("refs/heads/", "refs/heads/"),
        "converts": listed("refs/convert/", "refs/convert/"),
        "tags": listed("refs/tags/", "refs/tags/"),
    }
    if request.flag("include_prs"):
        answer["pullRequests"] = listed("refs/pr/", "")
    return json_reply(answer)


def history(hub: Hub, request: Request, kind: str, repo: str, rev: str) -> Reply:
    """List the commits of a branch, newest first."""
    found = hub.repo(request.who, kind, repo)

    def describe(part: list[Commit]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for commit in part:
            row = {"id": commit.oid, "title": commit.title, "message": commit.message, "date": commit.date}
            rows.append({**row, "authors": [{"user": commit.author}]})
            if "formatted" in request.query.get("expand[]", []):
                rows[-1]["formatted"] = {"title": commit.title, "message": commit.message}
        return rows

    return _page(request, describe, list(found.history(found.resolve(rev))), _COMMIT_PAGE)
