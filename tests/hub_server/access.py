"""Who may do what. Each function returns quietly or raises the Hub's refusal."""

from __future__ import annotations

from .accounts import EVERYWHERE, Principal
from .errors import HubError, repo_not_found
from .repos import Repo

_WRITERS = ("write", "admin")


def _has_scope(who: Principal, permission: str, *entities: str) -> bool:
    if who.role != "fineGrained":
        return True
    return any(permission in who.scopes.get(entity, ()) for entity in (EVERYWHERE, *entities))


def _is_member(who: Principal, namespace: str) -> bool:
    return who.name == namespace or namespace in who.orgs


def require_login(who: Principal) -> str:
    """Refuse a request without a token; return the user's name."""
    if who.name is None:
        raise HubError(401, "Invalid username or password.")
    return who.name


def require_read(who: Principal, repo: Repo) -> None:
    """Refuse to show that a private repository exists."""
    if repo.private and not (
        _is_member(who, repo.namespace) and _has_scope(who, "repo.content.read", repo.namespace, repo.path)
    ):
        raise repo_not_found(who.name is not None)


def require_content(who: Principal, repo: Repo) -> None:
    """Refuse the files of a gated repository to those who were not let in."""
    require_read(who, repo)
    if not repo.gated or _is_member(who, repo.namespace):
        return
    if who.name is None:
        message = f"Access to {repo.kind} {repo.id} is restricted. You must have access to it and be authenticated"
        raise HubError(401, f"{message} to access it. Please log in.", "GatedRepo")
    if who.name not in repo.granted:
        message = f"Access to {repo.kind} {repo.id} is restricted and you are not in the authorized list."
        raise HubError(403, f"{message} Visit {repo.path} to ask for access.", "GatedRepo")
    if not _has_scope(who, "gated.read", repo.namespace, repo.path):
        message = "Please enable access to public gated repositories in your fine-grained token settings"
        raise HubError(403, f"{message} to view this repository.", "GatedRepo")


def _require_write_token(who: Principal) -> None:
    require_login(who)
    if who.role == "read":
        raise HubError(403, "Forbidden: this action needs a token with the write role, and this one has read.")


def require_write(who: Principal, repo: Repo) -> None:
    """Refuse to change a repository."""
    require_read(who, repo)
    _require_write_token(who)
    if who.name != repo.namespace and who.orgs.get(repo.namespace) not in _WRITERS:
        raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
    if not _has_scope(who, "repo.write", repo.namespace, repo.path):
        raise HubError(403, "Forbidden: your fine-grained token lacks the permission: repo.write")


def require_create(who: Principal, namespace: str, path: str) -> None:
    """Refuse to create or delete a repository in a namespace."""
    _require_write_token(who)
    if who.name != namespace and who.orgs.get(namespace) not in (*_WRITERS, "contributor"):
        raise HubError(403, f'You don\'t have the rights to create a repo under the namespace "{namespace}"')
    if not _has_scope(who, "repo.write", namespace, path):
        raise HubError(403, "Forbidden: your fine-grained token lacks the permission: repo.write")


def require_discuss(who: Principal, repo: Repo) -> str:
    """Refuse to open, comment or commit to a pull request or discussion; return the user's name."""
    require_content(who, repo)
    _require_write_token(who)
    scopes = (repo.namespace, repo.path)
    if not (_has_scope(who, "discussion.write", *scopes) or _has_scope(who, "repo.write", *scopes)):
        raise HubError(403, "Forbidden: your fine-grained token lacks the permission: discussion.write")
    return require_login(who)


def may_write(who: Principal, repo: Repo) -> bool:
    """Tell whether somebody may change a repository."""
    try:
        require_write(who, repo)
    except HubError:
        return False
    return True
