"""Git object ids, computed as git does, so that the ids clients compare are the real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file of a commit.

    Attributes:
        oid: Git blob id: of the content, or of the LFS pointer when `sha256` is set.
        size: Size of the content in bytes.
        sha256: Content hash of a file in large file storage, None for a regular one.
    """

    oid: str
    size: int
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """The id under which clients cache the content."""
        return self.sha256 or self.oid


def _oid(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def regular_entry(data: bytes) -> Entry:
    """Describe a file that git itself stores."""
    return Entry(_oid("blob", data), len(data))


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Return the text that git stores in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def lfs_entry(sha256: str, size: int) -> Entry:
    """Describe a file in large file storage."""
    return Entry(_oid("blob", lfs_pointer(sha256, size)), size, sha256)


def tree_oids(files: Mapping[str, Entry]) -> dict[str, str]:
    """Return the tree id of every folder; the root is the empty path."""
    children: dict[str, dict[str, str]] = {"": {}}
    for path in files:
        folder = path.rpartition("/")[0]
        while folder:
            children.setdefault(folder, {})
            folder = folder.rpartition("/")[0]
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        children[folder][name] = entry.oid
    oids: dict[str, str] = {}
    # Deepest folders first: a folder's id needs those of the folders in it. The root has no slash and comes last.
    for folder in sorted(children, key=lambda path: path.count("/") + (path != ""), reverse=True):
        subfolders = {path.rpartition("/")[2]: oid for path, oid in oids.items() if _is_in(path, folder)}
        rows = [(name.encode(), b"100644", oid) for name, oid in children[folder].items()]
        # Git sorts a folder as if its name ended in a slash.
        rows += [(name.encode() + b"/", b"40000", oid) for name, oid in subfolders.items()]
        data = b"".join(mode + b" " + key.rstrip(b"/") + b"\0" + bytes.fromhex(oid) for key, mode, oid in sorted(rows))
        oids[folder] = _oid("tree", data)
    return oids


def _is_in(path: str, folder: str) -> bool:
    return path != "" and path.rpartition("/")[0] == folder


def commit_oid(tree: str, parents: tuple[str, ...], author: str, timestamp: int, text: str) -> str:
    """Return the id of a commit."""
    who = f"{author} <{author}@users.noreply.huggingface.co> {timestamp} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {who}", f"committer {who}"]
    return _oid("commit", ("\n".join(lines) + f"\n\n{text}\n").encode())
