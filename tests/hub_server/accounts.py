"""Users, organisations and access tokens, kept in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from . import disk
from .errors import HubError

Role = Literal["read", "write", "fineGrained"]
OrgRole = Literal["read", "contributor", "write", "admin"]

# Scope key for permissions that hold everywhere, as "global" of a fine-grained token does on the Hub.
EVERYWHERE = "*"


@dataclass(frozen=True)
class Principal:
    """Whoever sends a request: the user of a token, or nobody.

    Attributes:
        name: User name, None for an anonymous request.
        role: Role of the token.
        orgs: Role of the user in each organisation.
        scopes: Permissions of a fine-grained token by entity (`alice`, `alice/model`, `datasets/alice/data`, `*`).
    """

    name: str | None = None
    role: Role = "read"
    orgs: Mapping[str, OrgRole] = field(default_factory=dict)
    scopes: Mapping[str, list[str]] = field(default_factory=dict)


class Accounts:
    """The users and tokens that the server knows.

    Args:
        path: JSON file that holds them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._principals: dict[str, Principal] = {}
        if path.exists():
            self._principals = {token: Principal(**row) for token, row in json.loads(path.read_text()).items()}

    def add(
        self,
        name: str,
        token: str,
        role: Role,
        orgs: Mapping[str, OrgRole] | Iterable[str],
        scopes: Mapping[str, Iterable[str]],
    ) -> None:
        """Add a token, and its user when new; a user may have many tokens."""
        member: OrgRole = "write"
        roles = dict(orgs) if isinstance(orgs, Mapping) else dict.fromkeys(orgs, member)
        permissions = {entity: list(names) for entity, names in scopes.items()}
        self._principals[token] = Principal(name, role, roles, permissions)
        disk.write_json(self._path, {token: asdict(row) for token, row in self._principals.items()})

    def authenticate(self, authorization: str | None) -> Principal:
        """Return who sends a request with this `Authorization` header.

        Raises:
            HubError: The token is unknown.
        """
        if authorization is None:
            return Principal()
        principal = self._principals.get(authorization.removeprefix("Bearer ").strip())
        if principal is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return principal

    def namespaces(self) -> set[str]:
        """Return the names of all users and organisations."""
        return {name for row in self._principals.values() for name in (row.name, *row.orgs) if name}
