"""File contents, addressed by hash and shared by all repositories."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from . import disk
from .errors import bad_request
from .gitobjects import Entry, lfs_entry, regular_entry
from .xet import Xet

_BLOCK = 1 << 20


class Readable(Protocol):
    """Anything that a content can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, and none at the end."""


class Blobs:
    """Contents of regular files and of large file storage.

    Args:
        root: Folder to keep them in.
        xet: Where to find what clients pushed by Xet.
    """

    def __init__(self, root: Path, xet: Xet) -> None:
        self._root = root
        self._xet = xet
        root.mkdir(parents=True, exist_ok=True)

    def path(self, entry: Entry) -> Path:
        """Return the file that holds the content of an entry."""
        return self.lfs_path(entry.sha256) if entry.sha256 else self._root / "git" / entry.oid[:2] / entry.oid

    def lfs_path(self, sha256: str) -> Path:
        """Return the file that holds, or will hold, a large file."""
        return self._root / "lfs" / sha256[:2] / sha256

    def put(self, data: bytes) -> Entry:
        """Store a regular file."""
        entry = regular_entry(data)
        if not self.path(entry).exists():
            disk.write(self.path(entry), data)
        return entry

    def receive(self, sha256: str, stream: Readable) -> None:
        """Store a large file.

        Raises:
            HubError: The content has another hash.
        """
        digest = hashlib.sha256()
        with disk.replacing(self.lfs_path(sha256)) as file:
            while block := stream.read(_BLOCK):
                digest.update(block)
                file.write(block)
            if digest.hexdigest() != sha256:
                raise bad_request("The content doesn't match its SHA-256")

    def _part(self, sha256: str, number: int) -> Path:
        return self._root / "parts" / sha256 / f"{number:05d}"

    def receive_part(self, sha256: str, number: int, stream: Readable) -> str:
        """Store one part of a large file and return the part's ETag."""
        digest = hashlib.md5()
        with disk.replacing(self._part(sha256, number)) as file:
            while block := stream.read(_BLOCK):
                digest.update(block)
                file.write(block)
        return digest.hexdigest()

    def join_parts(self, sha256: str, etags: Iterable[str]) -> None:
        """Put the parts of a large file together.

        Raises:
            HubError: A part is missing or isn't the one that the client sent.
        """
        if self.lfs_path(sha256).exists():
            return  # The client repeats a completion whose reply was lost.
        digest = hashlib.sha256()
        with disk.replacing(self.lfs_path(sha256)) as file:
            for number, etag in enumerate(etags, start=1):
                part = self._part(sha256, number)
                data = part.read_bytes() if part.exists() else b""
                if hashlib.md5(data).hexdigest() != etag:
                    raise bad_request(f"InvalidPart: {number}")
                digest.update(data)
                file.write(data)
            if digest.hexdigest() != sha256:
                raise bad_request("The parts don't make the announced content")
        shutil.rmtree(self._part(sha256, 1).parent)

    def size(self, sha256: str) -> int | None:
        """Return the size of a large file, or None when it isn't there."""
        path = self.lfs_path(sha256)
        return path.stat().st_size if path.exists() else None

    def fetch_from_xet(self, wanted: Mapping[str, int]) -> None:
        """Take over the large files that clients pushed by Xet.

        Args:
            wanted: SHA-256 and size of each file that a commit names.
        """
        missing = {sha256: size for sha256, size in wanted.items() if self.size(sha256) is None}
        if not missing:
            return
        with tempfile.TemporaryDirectory(dir=self._root) as folder:
            self._xet.export(missing, Path(folder))
            for exported in Path(folder).iterdir():
                with exported.open("rb") as stream:
                    self.receive(exported.name, stream)

    def claim(self, sha256: str, size: int | None) -> Entry:
        """Return the entry of an uploaded large file.

        Raises:
            HubError: It was not uploaded, or has another size than announced.
        """
        found = self.size(sha256)
        if found is None or size not in (None, found):
            raise bad_request(f"LFS pointer pointed to a file that does not exist: {sha256}")
        return lfs_entry(sha256, found)
