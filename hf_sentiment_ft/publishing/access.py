"""Check that a repository on the Hub can be pushed to, and that doing so replaces no work of others."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, explain, status_code
from ..hub import hub_errors, with_retries
from .destination import Destination
from .repository import CARD_TAG, find_head, is_untouched, read_file, tags

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, SpaceInfo


def check_repository(user: dict[str, Any], destination: Destination, given: bool, overwrite: bool) -> Destination:
    """Check that one repository can be pushed to, and remember its commit.

    Args:
        user: Reply of the Hub to who the token belongs to.
        destination: Repository, with or without a namespace.
        given: Whether the user named it.
        overwrite: Whether to replace someone else's work in it.
    """
    if "/" not in destination.repo_id:
        destination = replace(destination, repo_id=f"{user['name']}/{destination.repo_id}")
    _check_name(destination, given)
    _check_may_write(user, destination)
    return _look_at_repository(destination, overwrite)


def _check_name(destination: Destination, given: bool) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repo_id = destination.repo_id
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        if not given:
            raise UsageError(f"{repo_id!r}, the run's own name, is not valid; set --hub_model_id: {error}") from error
        raise UsageError(f"{destination.flag} is {repo_id!r}, which is not a valid name: {error}") from error


def _check_may_write(user: dict[str, Any], destination: Destination) -> None:
    """Refuse a token that cannot write to the repository, and a namespace that the user cannot publish in."""
    repo_id, namespace = destination.repo_id, destination.repo_id.split("/")[0]
    organisations = {org["name"]: org.get("roleInOrg") for org in user.get("orgs", [])}
    if not destination.create_pr and namespace not in {user["name"], *organisations}:
        known = ", ".join([user["name"], *organisations])
        raise UsageError(
            f"{destination.flag} is {repo_id!r}, but the user of this token can only publish under: {known}."
        )
    if not destination.create_pr and organisations.get(namespace) == "read":
        raise UsageError(f"{destination.flag} is {repo_id!r}, but {user['name']} has only read access to {namespace}.")
    token = user.get("auth", {}).get("accessToken", {})
    permissions = set(token.get("fineGrained", {}).get("global", []))
    for scope in token.get("fineGrained", {}).get("scoped", []):
        if scope.get("entity", {}).get("name") in (namespace, repo_id, f"spaces/{repo_id}"):
            permissions |= set(scope.get("permissions", []))
    enough = {"repo.write", "discussion.write"} if destination.create_pr else {"repo.write"}
    if token.get("role") == "read" or (token.get("role") == "fineGrained" and not permissions & enough):
        raise UsageError(
            f"this token cannot write to {repo_id}. Create one with write access at "
            "https://huggingface.co/settings/tokens."
        )


def _look_at_repository(destination: Destination, overwrite: bool) -> Destination:
    """Remember the commit to publish on, and refuse a repository that contains someone else's work."""
    repo_id, revision = destination.repo_id, destination.revision
    main = find_head(destination, "main")
    if main is None:
        if destination.create_pr:
            raise UsageError(
                f"there is no repository {repo_id} to open a pull request in. Remove --hub_create_pr to create it."
            )
        return destination
    if not destination.create_pr:
        _check_write_access(destination)
    head = main if revision == "main" else _find_branch(destination) or main
    destination = replace(destination, parent=head.sha)
    if destination.tag and (on := tags(destination).get(destination.tag)) not in (None, head.sha):
        raise UsageError(
            f"--hub_tag is {destination.tag!r}, which {repo_id} already has on another commit, {on}. Use another tag."
        )
    if destination.create_pr or _is_ours_or_empty(head, destination):
        return destination
    if not overwrite and destination.space_sdk:
        raise UsageError(
            f"the Space {repo_id} is not empty and was not published by hf_sentiment_ft. Use another --push_space, or "
            "replace everything in it with --hub_overwrite."
        )
    if not overwrite:
        raise UsageError(
            f"{repo_id} is not empty and was not published by hf_sentiment_ft. Use another --hub_model_id, open a pull "
            "request with --hub_create_pr, or replace everything in the repository with --hub_overwrite."
        )
    return replace(destination, replace=True)


def _find_branch(destination: Destination) -> "ModelInfo | SpaceInfo | None":
    """Return the head of the branch that `--hub_revision` names, or None if the branch has yet to be created."""
    repo_id, revision = destination.repo_id, destination.revision
    head = find_head(destination, revision)
    if head is None and revision.startswith("refs/"):
        raise UsageError(
            f"--hub_revision is {revision!r}, which {repo_id} does not have and which cannot be created; "
            "expected a branch."
        )
    if head is not None and (revision == head.sha or revision in tags(destination)):
        raise UsageError(
            f"--hub_revision is {revision!r}, which is a tag or commit of {repo_id}; expected a branch, or a new name."
        )
    return head


def _check_write_access(destination: Destination) -> None:
    """Ask the Hub whether an existing repository is writable, since roles are more varied than we can model."""
    try:
        api, repo_id, repo_type = destination.api, destination.repo_id, destination.repo_type
        with_retries(lambda: api.auth_check(repo_id, repo_type=repo_type, write=True), destination.timeout)
    except hub_errors() as error:
        if status_code(error) not in (401, 403, 404):
            raise
        otherwise = "." if destination.space_sdk else ", or open a pull request with --hub_create_pr."
        raise UsageError(
            f"this token cannot write to {destination.repo_id}: {explain(error)}. Use another token or "
            f"{destination.flag}{otherwise}"
        ) from error


def _is_ours_or_empty(head: "ModelInfo | SpaceInfo", destination: Destination) -> bool:
    """Return whether a repository is empty, or was published by this package.

    In the latter case it has our tag or, if the Hub rejected the card, label words in its `config.json`.
    """
    files = {sibling.rfilename for sibling in head.siblings or []}
    if not files - {".gitattributes"} or CARD_TAG in (head.tags or []) or is_untouched(destination, str(head.sha)):
        return True
    config = read_file(destination, "config.json") if "config.json" in files else None
    try:
        return config is not None and "label_words" in json.loads(config)
    except ValueError:
        return False
