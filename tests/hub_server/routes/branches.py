"""Branches and tags."""

from __future__ import annotations

from .. import access
from ..errors import HubError, bad_request, revision_not_found
from ..hub import Hub
from ..repos import Repo
from ..wire import Reply, Request, json_reply


def _writable(hub: Hub, request: Request, kind: str, repo: str) -> Repo:
    found = hub.repo(request.who, kind, repo)
    access.require_write(request.who, found)
    return found


def _add(hub: Hub, repo: Repo, ref: str, target: str) -> Reply:
    if ref in repo.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    repo.refs[ref] = target
    hub.repos.save(repo)
    return json_reply({"success": True}, 201)


def _remove(hub: Hub, repo: Repo, ref: str) -> Reply:
    if repo.refs.pop(ref, None) is None:
        raise revision_not_found(ref)
    hub.repos.save(repo)
    return json_reply({"success": True})


def create_branch(hub: Hub, request: Request, kind: str, repo: str, name: str) -> Reply:
    """Create a branch."""
    start = request.fields().get("startingPoint", "main")
    with hub.lock:
        found = _writable(hub, request, kind, repo)
        return _add(hub, found, f"refs/heads/{name}", found.resolve(start).oid)


def delete_branch(hub: Hub, request: Request, kind: str, repo: str, name: str) -> Reply:
    """Delete a branch, but never the main one."""
    with hub.lock:
        found = _writable(hub, request, kind, repo)
        if name == "main":
            raise HubError(403, "Cannot delete the default branch")
        return _remove(hub, found, f"refs/heads/{name}")


def create_tag(hub: Hub, request: Request, kind: str, repo: str, rev: str) -> Reply:
    """Tag a revision."""
    name = request.fields().get("tag")
    if not isinstance(name, str) or not name:
        raise bad_request('"tag" is required')
    with hub.lock:
        found = _writable(hub, request, kind, repo)
        return _add(hub, found, f"refs/tags/{name}", found.resolve(rev).oid)


def delete_tag(hub: Hub, request: Request, kind: str, repo: str, name: str) -> Reply:
    """Delete a tag."""
    with hub.lock:
        return _remove(hub, _writable(hub, request, kind, repo), f"refs/tags/{name}")
