"""The one exception that every layer raises to refuse a request."""

from __future__ import annotations

from collections.abc import Mapping


class HubError(Exception):
    """A refusal, carried up to the HTTP layer which turns it into a reply.

    Args:
        status: HTTP status of the reply.
        message: Text for people; sent as JSON `error` and as `X-Error-Message`.
        code: Machine readable `X-Error-Code`, which decides the exception class that the client raises.
        headers: Further reply headers.
        body: Further keys of the JSON body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
        self.body = dict(body or {})


def bad_request(message: str) -> HubError:
    """Refuse a malformed request."""
    return HubError(400, message)


def repo_not_found(known_user: bool) -> HubError:
    """Refuse access to a repository without telling whether it exists.

    The Hub answers 401 to strangers (they might log in) and 404 to users; the code is the same.
    """
    if known_user:
        return HubError(404, "Repository not found", "RepoNotFound")
    return HubError(401, "Invalid username or password.", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    """Refuse an unknown branch, tag or commit."""
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str, commit: str) -> HubError:
    """Refuse an unknown file; the commit lets the client remember that it isn't there."""
    return HubError(404, f"Entry not found: {path}", "EntryNotFound", {"X-Repo-Commit": commit})
