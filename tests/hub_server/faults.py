"""Faults that a test plants in front of the routes."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .blobs import Readable

FaultKind = Literal["status", "stall", "drop_request", "drop_reply", "truncate", "invalid_json", "disk_full"]


@dataclass
class Fault:
    """Something that goes wrong with the requests it matches.

    Attributes:
        method: HTTP method to match; any when None.
        path: Regular expression to find in the path and query.
        times: How many requests to spoil; all when None.
        skip: How many matching requests to let pass first.
        kind: What happens:
            `status` answers with `status`, `headers` and `body` instead of carrying out the request;
            `stall` never answers, until the server closes;
            `drop_request` resets the connection once `after` bytes of the body have come in, nothing is carried out;
            `drop_reply` carries out the request and resets the connection once `after` bytes of the body are sent;
            `truncate` carries it out and closes the connection after `after` bytes, fewer than announced;
            `invalid_json` answers 200 with a web page in place of JSON;
            `disk_full` lets storing fail once `after` bytes of the body have been read.
        status: Status of the reply for `status`, and for `disk_full` (507 unless given).
        headers: Headers of the reply.
        body: Body of the reply.
        after: How many bytes go well.
        matched: How many requests were spoilt so far.
    """

    method: str | None = None
    path: str = ""
    times: int | None = 1
    skip: int = 0
    kind: FaultKind = "status"
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 0
    matched: int = field(default=0, init=False)
    _passed: int = field(default=0, init=False, repr=False)

    def matches(self, method: str, target: str) -> bool:
        """Tell whether this request is to be spoilt, and count it."""
        if self.method not in (None, method) or not re.search(self.path, target):
            return False
        if self._passed < self.skip:
            self._passed += 1
            return False
        if self.times is not None and self.matched >= self.times:
            return False
        self.matched += 1
        return True


class Faults:
    """The faults planted in a server, the oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Plant a fault."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def match(self, method: str, target: str) -> Fault | None:
        """Return the fault that spoils a request."""
        with self._lock:
            return next((fault for fault in self._faults if fault.matches(method, target)), None)


class FullDisk:
    """A body that can't be stored beyond its first bytes.

    Args:
        stream: The real body.
        room: How many bytes find room.
    """

    def __init__(self, stream: Readable, room: int) -> None:
        self._stream = stream
        self._room = room

    def read(self, size: int, /) -> bytes:
        """Read on until the room is used up."""
        if self._room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = self._stream.read(min(size, self._room))
        self._room -= len(data)
        return data
