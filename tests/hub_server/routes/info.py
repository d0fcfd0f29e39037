"""Describing, listing and finding repositories."""

from __future__ import annotations

from .. import info
from ..access import require_read
from ..errors import HubError
from ..hub import Hub
from ..repos import KINDS
from ..wire import Reply, Request, json_reply

_ALWAYS = {"_id", "id"}


def repo_info(hub: Hub, request: Request, kind: str, repo: str, rev: str | None) -> Reply:
    """Describe a repository at a revision."""
    found = hub.repo(request.who, kind, repo)
    row = info.describe(found, found.resolve(rev or "main"), hub.blobs, request.flag("blobs"))
    if request.flag("securityStatus"):
        row["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
    wanted = {*request.query.get("expand", []), *request.query.get("expand[]", [])}
    if wanted:
        row = {key: value for key, value in row.items() if key in wanted | _ALWAYS}
    return json_reply(row)


def listing(hub: Hub, request: Request, kind: str) -> Reply:
    """List the repositories that the user may see, by author and by words in the id."""
    author = request.query.get("author", [""])[0]
    search = request.query.get("search", [""])[0].lower()
    limit = int(request.query.get("limit", ["1000"])[0])
    rows = []
    for repo in hub.repos.all(KINDS[kind]):
        if (author and repo.namespace != author) or search not in repo.id.lower():
            continue
        try:
            require_read(request.who, repo)
        except HubError:
            continue
        rows.append(info.describe(repo, repo.resolve("main"), hub.blobs, False))
    return json_reply(rows[:limit])
