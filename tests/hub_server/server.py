"""A Hugging Face Hub on this machine, for tests."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from .accounts import OrgRole, Role
from .connection import Listener, LoggedRequest, RequestLog
from .faults import Fault, Faults
from .hub import Hub


class HubServer:
    """A local Hub that unmodified clients use when `HF_ENDPOINT` points to it.

    All state lies under `root`: a new server on the same folder goes on with the users and repositories of the last.

    Args:
        root: Folder for the state; made when missing.
        port: Port of 127.0.0.1, 0 for any free one.
        part_size: Clients that use LFS upload larger files in parts of this size.
        watch: Called with each request once it is done.
    """

    def __init__(
        self,
        root: Path,
        port: int = 0,
        part_size: int = 16 * 1024 * 1024,
        watch: Callable[[LoggedRequest], None] | None = None,
    ) -> None:
        self.hub = Hub(root, part_size)
        self._port = port
        self._faults = Faults()
        self._log = RequestLog(watch)
        self._listener: Listener | None = None

    def start(self) -> None:
        """Begin to listen; the port stays the same from the first start on."""
        self._listener = Listener(self._port, self.hub, self._faults, self._log)
        self._port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening and end all connections."""
        if self._listener:
            self._listener.stop()
            self._listener = None

    def __enter__(self) -> HubServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """The value for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self._port}"

    def add_user(
        self,
        name: str,
        token: str,
        role: Role = "write",
        orgs: Mapping[str, OrgRole] | Iterable[str] = (),
        scopes: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Add a token, and its user when new.

        Args:
            name: User name.
            token: Access token; a user may have many.
            role: What the token may do.
            orgs: Organisations of the user, with the user's role or, in a plain list, as `write` member.
            scopes: Permissions of a `fineGrained` token by entity. Entities are `alice` (a user or organisation),
                `alice/model`, `datasets/alice/data` and `*` (everywhere); permissions are `repo.content.read`,
                `repo.write`, `discussion.write` and `gated.read`.
        """
        self.hub.accounts.add(name, token, role, orgs, scopes or {})

    def inject(self, fault: Fault) -> Fault:
        """Plant a fault and return it, so that the test can look at its count."""
        self._faults.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse all connections while the block runs, as a server that is down does."""
        self.close()
        try:
            yield
        finally:
            self.start()

    @property
    def requests(self) -> list[LoggedRequest]:
        """All requests seen so far, the oldest first."""
        return list(self._log.rows)

    def requests_to(self, path: str, method: str | None = None) -> list[LoggedRequest]:
        """Return the requests whose path and query match a regular expression."""
        return [row for row in self.requests if re.search(path, row.path) and method in (None, row.method)]

    def clear_requests(self) -> None:
        """Forget the requests seen so far."""
        self._log.rows.clear()
