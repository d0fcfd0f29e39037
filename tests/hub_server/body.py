"""The body of a request as it comes over the connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO


class Body:
    """A request body, sent with a length or in chunks.

    Args:
        file: The connection.
        headers: Headers with names in lower case.
    """

    def __init__(self, file: BinaryIO, headers: Mapping[str, str]) -> None:
        self._file = file
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = 0 if self._chunked else int(headers.get("content-length", 0))
        self._ended = not self._chunked and self._left == 0
        self.received = 0

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, and none at the end.

        Raises:
            ConnectionError: The client went away in the middle.
        """
        if self._left == 0 and not self._ended:
            self._start_chunk()
        if self._ended:
            return b""
        data = self._file.read(min(size, self._left))
        if not data:
            raise ConnectionError("The client stopped sending")
        self.received += len(data)
        self._left -= len(data)
        if self._left == 0:
            self._end_chunk()
        return data

    def drain(self) -> None:
        """Read what is left, so that the next request of the connection can be read."""
        while self.read(1 << 20):
            pass

    def _start_chunk(self) -> None:
        self._left = int(self._file.readline().split(b";")[0] or b"0", 16)
        if self._left == 0:
            self._ended = True
            while self._file.readline().strip():
                pass  # trailers

    def _end_chunk(self) -> None:
        if self._chunked:
            self._file.readline()
        else:
            self._ended = True
