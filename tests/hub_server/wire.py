"""Requests and replies as the routes see them, free of sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .accounts import Principal
from .blobs import Readable
from .errors import bad_request


@dataclass
class Request:
    """A request.

    Attributes:
        method: HTTP method.
        target: Path and query as sent.
        headers: Headers with names in lower case.
        stream: The body, to be read once.
        endpoint: Address of the server as this client spells it.
        who: Who sends it.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    stream: Readable
    endpoint: str
    who: Principal = field(default_factory=Principal)

    @property
    def path(self) -> str:
        """The path as sent, still percent-encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of each query parameter."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def flag(self, name: str) -> bool:
        """Tell whether a query parameter is switched on."""
        return self.query.get(name, [""])[-1].lower() in ("1", "true")

    def body(self) -> bytes:
        """Read the whole body."""
        blocks = []
        while block := self.stream.read(1 << 20):
            blocks.append(block)
        return b"".join(blocks)

    def json(self) -> Any:
        """Read a JSON body; no body counts as an empty object.

        Raises:
            HubError: It is no JSON.
        """
        data = self.body()
        try:
            return json.loads(data) if data else {}
        except ValueError as error:
            raise bad_request(f"Invalid JSON: {error}") from error

    def fields(self) -> dict[str, Any]:
        """Read a body that is a JSON object.

        Raises:
            HubError: It is none.
        """
        value = self.json()
        if not isinstance(value, dict):
            raise bad_request("The body must be a JSON object")
        return value


@dataclass
class Reply:
    """A reply; its body is `data`, or part of the file `path`.

    Attributes:
        status: HTTP status.
        data: Body.
        headers: Headers, less the length.
        path: File to send instead of `data`.
        start: First byte to send of it.
        length: Number of bytes to send of it.
    """

    status: int = 200
    data: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    start: int = 0
    length: int = 0


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with a JSON body."""
    content_type = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status, json.dumps(value).encode(), {**content_type, **(headers or {})})
