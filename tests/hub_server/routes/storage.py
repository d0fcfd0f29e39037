"""Large file storage: the LFS batch protocol, and the storage host that its URLs point to."""

from __future__ import annotations

import math
from typing import Any

from .. import access
from ..errors import HubError, bad_request
from ..hub import Hub
from ..repos import Repo
from ..wire import Reply, Request, json_reply
from .files import content
from .uploads import require_push

_JSON = {"Content-Type": "application/vnd.git-lfs+json"}


def batch(hub: Hub, request: Request, kind: str | None, repo: str) -> Reply:
    """Tell for each large file where to upload it; those that are stored already get no upload."""
    body = request.fields()
    found = hub.repo(request.who, kind or "model", repo)
    if body.get("operation") != "upload":
        raise bad_request("Only uploads are supported")
    if "ref" in body:
        require_push(request, found, body["ref"]["name"])
    else:
        access.require_discuss(request.who, found)
    objects = [_upload(hub, request, found, item) for item in body.get("objects", [])]
    multipart = any("chunk_size" in row.get("actions", {}).get("upload", {}).get("header", {}) for row in objects)
    return json_reply({"transfer": "multipart" if multipart else "basic", "objects": objects}, headers=_JSON)


def _upload(hub: Hub, request: Request, repo: Repo, item: dict[str, Any]) -> dict[str, Any]:
    sha256, size = item["oid"], item["size"]
    answer: dict[str, Any] = {"oid": sha256, "size": size, "authenticated": True}
    if hub.blobs.size(sha256) == size:
        return answer
    verify = {"href": f"{request.endpoint}/{repo.path}.git/info/lfs/objects/verify", "header": {}}
    if size <= hub.part_size:
        upload: dict[str, Any] = {"href": hub.storage_url(request.endpoint, f"/_storage/lfs/{sha256}")}
    else:
        parts = range(1, math.ceil(size / hub.part_size) + 1)
        urls = {
            f"{number:05d}": hub.storage_url(request.endpoint, f"/_storage/parts/{sha256}/{number}") for number in parts
        }
        complete = hub.storage_url(request.endpoint, f"/_storage/complete/{sha256}")
        upload = {"href": complete, "header": {"chunk_size": str(hub.part_size), **urls}}
    return {**answer, "actions": {"upload": upload, "verify": verify}}


def verify(hub: Hub, request: Request, kind: str | None, repo: str) -> Reply:
    """Confirm that a large file was uploaded."""
    body = request.fields()
    found = hub.repo(request.who, kind or "model", repo)
    access.require_discuss(request.who, found)
    if hub.blobs.size(body["oid"]) != body["size"]:
        raise HubError(404, "The object is not in storage or has another size")
    return json_reply({"message": "Verified"}, headers=_JSON)


def _check(hub: Hub, request: Request) -> None:
    hub.check_signature(request.path, request.query.get("signature", [""])[0])


def put(hub: Hub, request: Request, sha256: str) -> Reply:
    """Store a large file."""
    _check(hub, request)
    hub.blobs.receive(sha256, request.stream)
    return Reply(200, headers={"ETag": f'"{sha256}"'})


def put_part(hub: Hub, request: Request, sha256: str, number: str) -> Reply:
    """Store a part of a large file."""
    _check(hub, request)
    etag = hub.blobs.receive_part(sha256, int(number), request.stream)
    return Reply(200, headers={"ETag": f'"{etag}"'})


def complete(hub: Hub, request: Request, sha256: str) -> Reply:
    """Put the parts of a large file together."""
    _check(hub, request)
    parts = sorted(request.fields()["parts"], key=lambda part: int(part["partNumber"]))
    hub.blobs.join_parts(sha256, [part["etag"].strip('"') for part in parts])
    return json_reply({"success": True}, headers=_JSON)


def get(hub: Hub, request: Request, sha256: str) -> Reply:
    """Send a large file, or the range that is asked for."""
    _check(hub, request)
    if hub.blobs.size(sha256) is None:
        raise HubError(404, "NoSuchKey")
    return content(request, hub.blobs.lfs_path(sha256), sha256)
