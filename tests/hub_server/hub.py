"""The state of the Hub that all routes share."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from pathlib import Path
from urllib.parse import urlsplit

from . import access, disk
from .accounts import Accounts, Principal
from .blobs import Blobs
from .errors import HubError, repo_not_found
from .repos import KINDS, Repo, Repos
from .xet import Xet


class Hub:
    """Users, repositories and contents under one folder.

    Args:
        root: Folder that holds everything; a new Hub on the same folder goes on where the last one stopped.
        part_size: Larger files are uploaded in parts of this size where a client uses LFS.
    """

    def __init__(self, root: Path, part_size: int) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.accounts = Accounts(root / "accounts.json")
        self.xet = Xet(root / "xet")
        self.blobs = Blobs(root / "blobs", self.xet)
        self.repos = Repos(root / "repos")
        self.part_size = part_size
        # Whoever changes a repository reads, changes and saves it under this lock.
        self.lock = threading.RLock()
        secret = root / "secret"
        if not secret.exists():
            disk.write(secret, secrets.token_bytes(32))
        self._secret = secret.read_bytes()

    def repo(self, who: Principal, kind: str, repo_id: str) -> Repo:
        """Return a repository that somebody may see.

        Raises:
            HubError: It doesn't exist for them.
        """
        repo = self.repos.find(KINDS[kind], repo_id)
        if repo is None:
            raise repo_not_found(who.name is not None)
        access.require_read(who, repo)
        return repo

    def storage_url(self, endpoint: str, path: str) -> str:
        """Return a signed URL of the storage host, which like the real one asks for no token.

        It must have another origin than the endpoint: the client follows redirects within one origin, and would then
        miss the metadata headers of the redirect itself. So the storage host is the other name of this machine.
        """
        url = urlsplit(endpoint)
        host = "127.0.0.1" if url.hostname == "localhost" else "localhost"
        return f"{url.scheme}://{host}:{url.port or 80}{path}?signature={self._signature(path)}"

    def check_signature(self, path: str, signature: str) -> None:
        """Refuse a storage URL that the server didn't give out."""
        if not hmac.compare_digest(self._signature(path), signature):
            raise HubError(403, "SignatureDoesNotMatch")

    def _signature(self, path: str) -> str:
        return hmac.new(self._secret, path.encode(), hashlib.sha256).hexdigest()
