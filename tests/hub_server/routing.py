"""Which route answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from .errors import HubError, repo_not_found
from .hub import Hub
from .routes import account, branches, discussions, files, info, storage, uploads
from .wire import Reply, Request

_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<repo>[^/]+/[^/]+)"
_SITE = r"/(?:(?P<kind>dataset|space)s/)?(?P<repo>[^/]+/[^/]+)"
_REV = r"/(?P<rev>refs/(?:pr|convert)/[^/]+|[^/]+)"
_DISCUSSION = rf"{_REPO}/discussions/(?P<number>\d+)"
_SHA256 = r"/(?P<sha256>[0-9a-f]{64})"

# A HEAD request is answered by the GET route; the server leaves out the body.
_ROUTES: list[tuple[str, str, Callable[..., Reply]]] = [
    ("GET", r"/api/whoami-v2", account.whoami),
    ("POST", r"/api/validate-yaml", uploads.validate_yaml),
    ("POST", r"/api/repos/create", account.create),
    ("DELETE", r"/api/repos/delete", account.delete),
    ("GET", r"/api/(?P<kind>model|dataset|space)s", info.listing),
    ("PUT", rf"{_REPO}/settings", account.settings),
    ("POST", rf"{_REPO}/user-access-request/grant", account.grant),
    ("GET", rf"{_REPO}/auth-check(?P<write>/write)?", account.auth_check),
    ("GET", rf"{_REPO}(?:/revision{_REV})?", info.repo_info),
    ("POST", rf"{_REPO}/preupload{_REV}", uploads.preupload),
    ("POST", rf"{_REPO}/commit{_REV}", uploads.commit),
    ("GET", rf"{_REPO}/xet-(?P<access_kind>read|write)-token{_REV}", uploads.xet_token),
    ("GET", rf"{_REPO}/tree{_REV}(?:/(?P<path>.*))?", files.tree),
    ("POST", rf"{_REPO}/paths-info{_REV}", files.paths_info),
    ("GET", rf"{_REPO}/refs", files.refs),
    ("GET", rf"{_REPO}/commits{_REV}", files.history),
    ("POST", rf"{_REPO}/branch/(?P<name>.+)", branches.create_branch),
    ("DELETE", rf"{_REPO}/branch/(?P<name>.+)", branches.delete_branch),
    ("POST", rf"{_REPO}/tag{_REV}", branches.create_tag),
    ("DELETE", rf"{_REPO}/tag/(?P<name>.+)", branches.delete_tag),
    ("GET", rf"{_REPO}/discussions", discussions.listing),
    ("POST", rf"{_REPO}/discussions", discussions.create),
    ("GET", _DISCUSSION, discussions.details),
    ("POST", rf"{_DISCUSSION}/comment", discussions.comment),
    ("POST", rf"{_DISCUSSION}/status", discussions.status),
    ("POST", rf"{_DISCUSSION}/title", discussions.title),
    ("POST", rf"{_DISCUSSION}/merge", discussions.merge),
    ("POST", rf"{_SITE}\.git/info/lfs/objects/batch", storage.batch),
    ("POST", rf"{_SITE}\.git/info/lfs/objects/verify", storage.verify),
    ("PUT", rf"/_storage/lfs{_SHA256}", storage.put),
    ("GET", rf"/_storage/lfs{_SHA256}", storage.get),
    ("PUT", rf"/_storage/parts{_SHA256}/(?P<number>\d+)", storage.put_part),
    ("POST", rf"/_storage/complete{_SHA256}", storage.complete),
    ("GET", rf"{_SITE}/resolve{_REV}/(?P<path>.+)", files.resolve),
    ("GET", rf"{_SITE}/raw{_REV}/(?P<path>.+)", files.raw),
]
_COMPILED = [(method, re.compile(pattern), handler) for method, pattern, handler in _ROUTES]
# Old repositories without a namespace, such as `gpt2`: none are here, and the client must hear it in the Hub's words.
_NO_NAMESPACE = re.compile(r"/api/(?:model|dataset|space)s/.+|/.+/(?:resolve|raw)/.+")


def answer(hub: Hub, request: Request) -> Reply:
    """Answer a request.

    Raises:
        HubError: The request is refused.
    """
    request.who = hub.accounts.authenticate(request.headers.get("authorization"))
    method = "GET" if request.method == "HEAD" else request.method
    for wanted, pattern, handler in _COMPILED:
        found = pattern.fullmatch(request.path)
        if found and wanted == method:
            groups = {name: value if value is None else unquote(value) for name, value in found.groupdict().items()}
            return handler(hub, request, **groups)
    if _NO_NAMESPACE.fullmatch(request.path):
        raise repo_not_found(request.who.name is not None)
    raise HubError(404, "Sorry, we can't find the page you are looking for.")
