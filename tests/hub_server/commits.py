"""The body of a commit request, and what it makes of a repository's files."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import attributes, card
from .blobs import Blobs
from .errors import HubError, bad_request, entry_not_found
from .gitobjects import Entry
from .repos import Commit


@dataclass
class CommitRequest:
    """What a client asks to commit.

    Attributes:
        summary: First line of the message.
        description: Rest of the message.
        parent: Commit that the client believes to be the newest.
        operations: Kind (`file`, `lfsFile`, `deletedFile`, `deletedFolder`) and fields of each change.
    """

    summary: str = ""
    description: str = ""
    parent: str | None = None
    operations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def parse(body: bytes) -> CommitRequest:
    """Read the lines of a commit request.

    Raises:
        HubError: It is malformed.
    """
    request = CommitRequest()
    for line in body.splitlines():
        try:
            row = json.loads(line)
            key, value = row["key"], row["value"]
            if key == "header":
                request.summary, request.description = value["summary"], value.get("description", "")
                request.parent = value.get("parentCommit")
            else:
                request.operations.append((key, {**value, "path": _checked(value["path"])}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise bad_request(f"Malformed commit line: {error!r}") from error
    if not request.summary:
        raise bad_request("A commit needs a summary")
    return request


def _checked(path: str) -> str:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..", ".git") for part in parts):
        raise bad_request(f"Invalid path in repo: {path!r}")
    return path


def apply(request: CommitRequest, base: Commit, blobs: Blobs) -> dict[str, Entry]:
    """Return the files that the commit leaves, having stored their contents.

    Raises:
        HubError: A change can't be made; nothing of the commit is visible then.
    """
    files = dict(base.files)
    large = [value for kind, value in request.operations if kind == "lfsFile"]
    blobs.fetch_from_xet({value["oid"]: value["size"] for value in large if "size" in value})
    for kind, value in request.operations:
        path = value["path"]
        if kind == "deletedFile":
            if files.pop(path, None) is None:
                raise entry_not_found(path, base.oid)
        elif kind == "deletedFolder":
            inside = [name for name in files if name.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise entry_not_found(path, base.oid)
            for name in inside:
                del files[name]
        elif kind == "file":
            files[path] = blobs.put(_content(value))
        elif kind == "lfsFile":
            files[path] = blobs.claim(value["oid"], value.get("size"))
        else:
            raise bad_request(f"Unknown commit operation: {kind}")
    _check_nesting(files)
    _track_large_files(request, files, blobs)
    return files


def _content(value: Mapping[str, Any]) -> bytes:
    text = value.get("content", "")
    if value.get("encoding") != "base64":
        return str(text).encode()
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise bad_request(f"Invalid base64 content of {value['path']}") from error
    if len(data) > attributes.REGULAR_LIMIT:
        raise bad_request(f"Your push was rejected because {value['path']} is larger than 10 MiB; use LFS or Xet")
    if value["path"] == "README.md":
        _check_card(data)
    return data


def _check_card(data: bytes) -> None:
    errors, _ = card.check(data.decode(errors="replace"))
    if errors:
        message = "Your push was rejected due to an invalid README.md: " + "; ".join(errors)
        raise HubError(400, message, body={"errors": [{"message": error} for error in errors]})


def _check_nesting(files: Mapping[str, Entry]) -> None:
    for path in files:
        parts = path.split("/")
        for length in range(1, len(parts)):
            if "/".join(parts[:length]) in files:
                raise bad_request(f"{path} lies in a folder that is a file")


def _track_large_files(request: CommitRequest, files: dict[str, Entry], blobs: Blobs) -> None:
    text = attributes_of(files, blobs)
    tracked = text
    for kind, value in request.operations:
        if kind == "lfsFile" and value["path"] in files and not attributes.tracks(tracked, value["path"]):
            tracked = attributes.track(tracked, value["path"])
    if tracked != text:
        files[".gitattributes"] = blobs.put(tracked.encode())


def text_of(files: Mapping[str, Entry], path: str, blobs: Blobs) -> str:
    """Return a text file of a commit, empty when it has none."""
    entry = files.get(path)
    return blobs.path(entry).read_text(errors="replace") if entry else ""


def attributes_of(files: Mapping[str, Entry], blobs: Blobs) -> str:
    """Return the `.gitattributes` of a commit."""
    return text_of(files, ".gitattributes", blobs)
