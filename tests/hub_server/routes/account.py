"""Who am I, and creating, changing and deleting repositories."""

from __future__ import annotations

from typing import Any

from .. import access, attributes
from ..accounts import EVERYWHERE, Principal
from ..errors import HubError, bad_request, repo_not_found
from ..hub import Hub
from ..repos import KINDS, Kind
from ..wire import Reply, Request, json_reply

SDKS = ("gradio", "docker", "static")
# What the Hub puts into a new static Space.
FIRST_PAGE = {
    "README.md": "---\ntitle: {name}\nemoji: 🐢\nsdk: {sdk}\npinned: false\n---\n",
    "index.html": "<!doctype html>\n<title>My static Space</title>\n<h1>Welcome to your static Space!</h1>\n",
    "style.css": "body {{ padding: 2rem; }}\n",
}


def whoami(hub: Hub, request: Request) -> Reply:
    """Describe the user and the token of the request."""
    name = access.require_login(request.who)
    orgs = [
        {"type": "org", "id": org, "name": org, "fullname": org, "roleInOrg": role, "isEnterprise": False}
        for org, role in request.who.orgs.items()
    ]
    return json_reply(
        {
            "type": "user",
            "id": name,
            "name": name,
            "fullname": name,
            "email": f"{name}@example.com",
            "emailVerified": True,
            "isPro": False,
            "canPay": False,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": _token(request.who)},
        }
    )


def _token(who: Principal) -> dict[str, Any]:
    token: dict[str, Any] = {"displayName": f"{who.name}-{who.role}", "role": who.role}
    if who.role == "fineGrained":
        scoped = [
            {"entity": {"_id": entity, "type": _entity_type(who, entity), "name": entity}, "permissions": permissions}
            for entity, permissions in who.scopes.items()
            if entity != EVERYWHERE
        ]
        everywhere = who.scopes.get(EVERYWHERE, [])
        token["fineGrained"] = {
            "canReadGatedRepos": "gated.read" in everywhere,
            "global": [permission for permission in everywhere if permission != "gated.read"],
            "scoped": scoped,
        }
    return token


def _entity_type(who: Principal, entity: str) -> str:
    if "/" in entity:
        return entity.partition("/")[0][:-1] if entity.count("/") == 2 else "model"
    return "user" if entity == who.name else "org"


def _named(request: Request, body: dict[str, Any]) -> tuple[Kind, str]:
    """Return the kind and id of the repository that a body names."""
    kind = KINDS.get(body.get("type") or "model")
    name = body.get("name")
    if kind is None or not isinstance(name, str):
        raise bad_request("A repository needs a name and a known type")
    namespace = body.get("organization") or access.require_login(request.who)
    return kind, f"{namespace}/{name.rpartition('/')[2]}"


def create(hub: Hub, request: Request) -> Reply:
    """Create a repository with its first commit."""
    body = request.fields()
    kind, repo_id = _named(request, body)
    path = repo_id if kind == "model" else f"{kind}s/{repo_id}"
    url = f"{request.endpoint}/{path}"
    private = body.get("visibility") == "private" or body.get("private") is True
    sdk = body.get("sdk")
    if kind == "space" and sdk not in SDKS:
        raise bad_request(f'"sdk" must be one of [{", ".join(SDKS)}]')
    with hub.lock:
        access.require_create(request.who, repo_id.partition("/")[0], path)
        if hub.repos.find(kind, repo_id):
            # The client reads the URL even from this refusal when it doesn't mind that the repository exists.
            message = f"You already created this {kind} repo: {repo_id}"
            raise HubError(409, message, body={"url": url, "name": repo_id})
        if kind == "space" and sdk != "static":  # nobody here pays
            raise HubError(402, "Payment Required: Gradio and Docker Spaces need a PRO subscription")
        first = {".gitattributes": attributes.default_attributes(kind)}
        if kind == "space":
            first |= {name: text.format(name=repo_id, sdk=sdk).encode() for name, text in FIRST_PAGE.items()}
        hub.repos.create(kind, repo_id, private, {name: hub.blobs.put(data) for name, data in first.items()})
    return json_reply({"url": url, "name": repo_id, "id": repo_id})


def delete(hub: Hub, request: Request) -> Reply:
    """Delete a repository."""
    kind, repo_id = _named(request, request.fields())
    with hub.lock:
        repo = hub.repos.find(kind, repo_id)
        if repo is None:
            raise repo_not_found(True)
        access.require_write(request.who, repo)
        hub.repos.delete(repo)
    return Reply(200, b"OK", {"Content-Type": "text/plain"})


def settings(hub: Hub, request: Request, kind: str, repo: str) -> Reply:
    """Change whether a repository is private or gated."""
    body = request.fields()
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        access.require_write(request.who, found)
        if "gated" in body:
            if body["gated"] not in ("auto", "manual", False):
                raise bad_request('"gated" must be one of [auto, manual, false]')
            found.gated = body["gated"]
        if "visibility" in body or "private" in body:
            found.private = body.get("visibility") == "private" or body.get("private") is True
        hub.repos.save(found)
    return json_reply({"private": found.private, "gated": found.gated})


def grant(hub: Hub, request: Request, kind: str, repo: str) -> Reply:
    """Let a user read a gated repository."""
    user = request.fields().get("user")
    with hub.lock:
        found = hub.repo(request.who, kind, repo)
        access.require_write(request.who, found)
        if user not in hub.accounts.namespaces():
            raise HubError(404, f"User not found: {user}")
        found.granted = sorted({*found.granted, str(user)})
        hub.repos.save(found)
    return json_reply({"user": user, "status": "accepted"})


def auth_check(hub: Hub, request: Request, kind: str, repo: str, write: str | None) -> Reply:
    """Tell by the status whether the user may read, or write, a repository."""
    found = hub.repo(request.who, kind, repo)
    access.require_content(request.who, found)
    if write:
        access.require_write(request.who, found)
    return json_reply({"success": True})
