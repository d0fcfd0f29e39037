"""Checking, preparing and committing changes."""

from __future__ import annotations

import base64
import re
from typing import Any

from .. import access, attributes, card, commits, discussions
from ..errors import HubError, bad_request, revision_not_found
from ..hub import Hub
from ..repos import Repo
from ..wire import Reply, Request, json_reply

PULL_REQUEST = re.compile(r"refs/pr/(\d+)")


def validate_yaml(hub: Hub, request: Request) -> Reply:
    """Check the metadata of a card before it is pushed."""
    body = request.fields()
    content = body.get("content")
    if not isinstance(content, str):
        raise bad_request('"content" must be a string')
    errors, warnings = card.check(content, is_space=body.get("repoType") == "space")
    answer: dict[str, Any] = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    return json_reply(answer, 400 if errors else 200)


def require_push(request: Request, repo: Repo, revision: str) -> None:
    """Refuse to push to a branch, or to somebody else's pull request."""
    found = PULL_REQUEST.fullmatch(revision)
    own = found is not None and discussions.find(repo, found[1])["author"]["name"] == request.who.name
    if own or request.flag("create_pr"):
        access.require_discuss(request.who, repo)
    else:
        access.require_write(request.who, repo)


def preupload(hub: Hub, request: Request, kind: str, repo: str, rev: str) -> Reply:
    """Tell for each file how to upload it, and which content the repository has now."""
    body = request.fields()
    found = hub.repo(request.who, kind, repo)
    require_push(request, found, rev)
    files = found.resolve(rev).files
    rules = commits.attributes_of(files, hub.blobs)
    gitignore = body.get("gitIgnore")
    if gitignore is None:
        gitignore = commits.text_of(files, ".gitignore", hub.blobs)
    answer = []
    try:
        for file in body["files"]:
            path, sample = file["path"], base64.b64decode(file.get("sample", ""))
            current = files.get(path)
            answer.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if attributes.is_large(rules, path, file["size"], sample) else "regular",
                    "shouldIgnore": attributes.ignores(gitignore, path),
                    "oid": current.etag if current else None,
                }
            )
    except (KeyError, TypeError, ValueError) as error:
        raise bad_request(f"Malformed file list: {error!r}") from error
    return json_reply({"files": answer})


def commit(hub: Hub, request: Request, kind: str, repo: str, rev: str) -> Reply:
    """Commit to a branch or pull request, or open a pull request with the commit."""
    change = commits.parse(request.body())
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        require_push(request, found, rev)
        author = access.require_login(request.who)
        create_pr = request.flag("create_pr")
        ref = found.find_ref(rev)
        if ref is None or ref.startswith("refs/tags/"):
            raise revision_not_found(rev)
        base = found.resolve(change.parent if create_pr and change.parent else ref)
        if change.parent and not base.oid.startswith(change.parent):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = commits.apply(change, base, hub.blobs)
        new = found.store_commit(files, author, change.summary, change.description, base.oid)
        number = PULL_REQUEST.fullmatch(ref)
        discussion = discussions.find(found, number[1]) if number else None
        if create_pr:
            discussion = discussions.start(found, author, change.summary, change.description, "open", base)
            ref = f"refs/pr/{discussion['num']}"
        if discussion:
            discussions.record_commit(discussion, author, new)
        found.refs[ref] = new.oid
        hub.repos.save(found)
    url = f"{request.endpoint}/{found.path}"
    answer = {"success": True, "commitOid": new.oid, "commitUrl": f"{url}/commit/{new.oid}", "hookOutput": ""}
    if create_pr and discussion:
        answer["pullRequestUrl"] = f"{url}/discussions/{discussion['num']}"
    return json_reply(answer)


def xet_token(hub: Hub, request: Request, kind: str, repo: str, access_kind: str, rev: str) -> Reply:
    """Tell a Xet client where to store or find contents."""
    found = hub.repo(request.who, kind, repo)
    if access_kind == "write":
        require_push(request, found, rev)
    else:
        access.require_content(request.who, found)
    connection = hub.xet.connection()
    headers = {
        "X-Xet-Cas-Url": str(connection["casUrl"]),
        "X-Xet-Access-Token": str(connection["accessToken"]),
        "X-Xet-Token-Expiration": str(connection["exp"]),
    }
    return json_reply(connection, headers=headers)
