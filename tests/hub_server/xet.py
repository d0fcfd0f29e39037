"""Xet storage in a plain folder, which the real Xet client writes to without a storage server.

The client of the released wheel takes `local:///folder` as the address of the storage server. What it wrote can be
looked up by SHA-256 in the shard files and read back with the same client library.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_ENTRY = 48  # every record of a shard has this size
_BOOKEND = b"\xff" * 32
_HAS_VERIFICATION = 1 << 31
_HAS_METADATA = 1 << 30


def _hex(raw: bytes) -> str:
    """Write a hash as Xet does: as four little-endian 64-bit numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def _files(shard: bytes) -> Iterator[tuple[str, str]]:
    """Yield the SHA-256 and the Xet hash of each file that a shard describes."""
    position = _ENTRY
    while position + _ENTRY <= len(shard):
        file_hash, flags, segments = struct.unpack_from("<32sII", shard, position)
        if file_hash == _BOOKEND:
            return
        position += _ENTRY * (1 + segments * (2 if flags & _HAS_VERIFICATION else 1))
        if flags & _HAS_METADATA:
            yield _hex(shard[position : position + 32]), _hex(file_hash)
            position += _ENTRY


def _copy(source: str, target: str) -> None:
    """Copy the index, which the client keeps locked, and link the rest, which never changes."""
    if source.endswith(".redb"):
        shutil.copyfile(source, target)
    else:
        os.link(source, target)


class Xet:
    """Files that clients pushed by the Xet protocol.

    Args:
        folder: Where the clients write to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def connection(self) -> dict[str, str | int]:
        """Return the JSON reply of the token endpoint.

        Each token gets a folder of its own, because a client locks its folder for as long as it lives.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        session = Path(tempfile.mkdtemp(dir=self._folder)).resolve()
        return {"casUrl": f"local://{session}", "accessToken": session.name, "exp": int(time.time()) + 24 * 3600}

    def export(self, wanted: Mapping[str, int], target: Path) -> None:
        """Write the files that some client pushed into a folder.

        Args:
            wanted: SHA-256 and size of each file; those that nobody pushed are passed over.
            target: Where to write them, each under its SHA-256.
        """
        missing = dict(wanted)
        for session in self._folder.glob("*"):
            shards = [shard.read_bytes() for shard in session.glob("xet/xorbs/shards/*.mdb")]
            hashes = {sha256: file_hash for shard in shards for sha256, file_hash in _files(shard) if sha256 in missing}
            found = {file_hash: (str(target / sha256), missing.pop(sha256)) for sha256, file_hash in hashes.items()}
            if found:
                self._read(session, found)

    def _read(self, session: Path, found: Mapping[str, tuple[str, int]]) -> None:
        import hf_xet  # type: ignore[import-untyped]  # only needed once a client that has it pushed a file

        with tempfile.TemporaryDirectory(prefix=".read-", dir=self._folder) as name:
            copy = Path(name).resolve() / "copy"
            shutil.copytree(session, copy, copy_function=_copy)
            downloads = [hf_xet.PyXetDownloadInfo(path, file_hash, size) for file_hash, (path, size) in found.items()]
            hf_xet.download_files(downloads, f"local://{copy}", None, None, None)
