"""Discussions and pull requests."""

from __future__ import annotations

from typing import Any

from .. import access, discussions
from ..discussions import Discussion
from ..errors import HubError, bad_request
from ..hub import Hub
from ..repos import Repo
from ..wire import Reply, Request, json_reply

_PAGE = 50


def _row(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    keys = ("num", "title", "author", "createdAt", "status", "isPullRequest")
    return {**{key: discussion[key] for key in keys}, "repo": {"name": repo.id, "type": repo.kind}}


def listing(hub: Hub, request: Request, kind: str, repo: str) -> Reply:
    """List discussions and pull requests, newest first."""
    found = hub.repo(request.who, kind, repo)
    query = {key: values[0] for key, values in request.query.items()}
    rows = [_row(found, discussion) for discussion in reversed(found.discussions)]
    if query.get("author"):
        rows = [row for row in rows if row["author"]["name"] == query["author"]]
    if query.get("type", "all") != "all":
        rows = [row for row in rows if row["isPullRequest"] == (query["type"] == "pull_request")]
    if query.get("status", "all") != "all":
        is_open = query["status"] == "open"
        rows = [row for row in rows if (row["status"] in ("open", "draft")) == is_open]
    start = int(query.get("p", 0)) * _PAGE
    return json_reply({"discussions": rows[start : start + _PAGE], "count": len(rows), "start": start})


def create(hub: Hub, request: Request, kind: str, repo: str) -> Reply:
    """Start a discussion, or a draft pull request."""
    body = request.fields()
    title = str(body.get("title", "")).strip()
    if not 3 <= len(title) <= 200:
        raise bad_request("The title must have 3 to 200 characters")
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        author = access.require_discuss(request.who, found)
        base = found.resolve("main") if body.get("pullRequest") else None
        status = "draft" if base else "open"
        discussion = discussions.start(found, author, title, body.get("description", ""), status, base)
        hub.repos.save(found)
    url = f"{request.endpoint}/{found.path}/discussions/{discussion['num']}"
    return json_reply({"num": discussion["num"], "pullRequest": base is not None, "url": url}, 201)


def details(hub: Hub, request: Request, kind: str, repo: str, number: str) -> Reply:
    """Describe a discussion with all that happened in it."""
    found = hub.repo(request.who, kind, repo)
    discussion = discussions.find(found, number)
    answer = {**_row(found, discussion), "events": discussion["events"]}
    if discussion["isPullRequest"]:
        base, theirs = found.resolve(discussion["base"]), found.resolve(f"refs/pr/{number}")
        is_open = discussion["status"] in ("open", "draft")
        answer["changes"] = {"base": "refs/heads/main"}
        if discussion["mergeCommitId"]:
            answer["changes"]["mergeCommitId"] = discussion["mergeCommitId"]
        answer["filesWithConflicts"] = discussions.conflicts(base, found.resolve("main"), theirs) if is_open else []
        answer["diff"] = discussions.diff(base, theirs, hub.blobs)
    return json_reply(answer)


def comment(hub: Hub, request: Request, kind: str, repo: str, number: str) -> Reply:
    """Comment on a discussion."""
    text = request.fields().get("comment")
    if not isinstance(text, str) or not text.strip():
        raise bad_request('"comment" is required')
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        author = access.require_discuss(request.who, found)
        event = discussions.comment(discussions.find(found, number), author, text)
        hub.repos.save(found)
    return json_reply({"newMessage": event})


def _require_steer(request: Request, repo: Repo, discussion: Discussion) -> str:
    """Refuse to steer somebody else's discussion; return the user's name."""
    if discussion["author"]["name"] == request.who.name:
        return access.require_discuss(request.who, repo)
    access.require_write(request.who, repo)
    return access.require_login(request.who)


def status(hub: Hub, request: Request, kind: str, repo: str, number: str) -> Reply:
    """Open or close a discussion; opening a draft pull request makes it ready to merge."""
    body = request.fields()
    if body.get("status") not in ("open", "closed"):
        raise bad_request('"status" must be one of [open, closed]')
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        discussion = discussions.find(found, number)
        author = _require_steer(request, found, discussion)
        if discussion["status"] == "merged":
            raise bad_request("A merged pull request can't change its status")
        if body.get("comment"):
            discussions.comment(discussion, author, body["comment"])
        discussion["status"] = body["status"]
        event = discussions.add_event(discussion, "status-change", author, {"status": body["status"]})
        hub.repos.save(found)
    return json_reply({"newStatus": event})


def title(hub: Hub, request: Request, kind: str, repo: str, number: str) -> Reply:
    """Rename a discussion."""
    new = request.fields().get("title")
    if not isinstance(new, str) or not new.strip():
        raise bad_request('"title" is required')
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        discussion = discussions.find(found, number)
        author = _require_steer(request, found, discussion)
        change = {"from": discussion["title"], "to": new.strip()}
        event = discussions.add_event(discussion, "title-change", author, change)
        discussion["title"] = new.strip()
        hub.repos.save(found)
    return json_reply({"newTitle": event})


def merge(hub: Hub, request: Request, kind: str, repo: str, number: str) -> Reply:
    """Merge a pull request into the main branch, as one commit."""
    body = request.fields()
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        access.require_write(request.who, found)
        author = access.require_login(request.who)
        discussion = discussions.find(found, number)
        if not discussion["isPullRequest"] or discussion["status"] != "open":
            raise bad_request(f"Only an open pull request can be merged, and this one is {discussion['status']}")
        base, ours, theirs = (found.resolve(name) for name in (discussion["base"], "main", f"refs/pr/{number}"))
        if clashes := discussions.conflicts(base, ours, theirs):
            raise HubError(409, f"The pull request has conflicts: {', '.join(clashes)}")
        files = discussions.merged(base, ours, theirs)
        new = found.store_commit(files, author, f"{discussion['title']} (#{number})", "", ours.oid)
        if body.get("comment"):
            discussions.comment(discussion, author, body["comment"])
        discussion |= {"status": "merged", "mergeCommitId": new.oid}
        discussions.add_event(discussion, "status-change", author, {"status": "merged"})
        found.refs["refs/heads/main"] = new.oid
        hub.repos.save(found)
    return json_reply({"success": True, "mergeCommitId": new.oid})
