"""Everything about a push that can be known before training: found out before training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .hub import CARD_TAG, Destination, explain, find_head, hub_errors, limit_waiting

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from .config import HubArguments


@dataclass
class HubOptions:
    """What the user has said about publishing."""

    repo_id: str | None
    token: str | None
    private: bool | None
    revision: str | None
    hub_args: "HubArguments"


def take_hub_options(args: "TrainingArguments", hub_args: "HubArguments") -> HubOptions | None:
    """Take the push out of Trainer's hands; None without `--push_to_hub`.

    Trainer would create the repository before training, push in several commits, and write the token into
    `training_args.bin`.
    """
    options = HubOptions(args.hub_model_id, args.hub_token, args.hub_private_repo, args.hub_revision, hub_args)
    wanted = args.push_to_hub
    args.push_to_hub, args.hub_token = False, None
    return options if wanted else None


def preflight(options: HubOptions, model_name: str) -> Destination:
    """Check that a push can succeed, and remember on what it will go.

    Args:
        options: What the user has said.
        model_name: The repository's name where `--hub_model_id` gives none.

    Raises:
        UsageError: If there is no token or it may not write, the namespace or the name is wrong, or the repository
            holds work that is not ours.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    limit_waiting(options.hub_args.hub_timeout)
    token = options.token or get_token()
    if token is None:
        raise UsageError("publishing needs a token: run `hf auth login`, set HF_TOKEN, or give --hub_token.")
    api = HfApi(token=token)
    try:
        user = api.whoami()
    except hub_errors() as error:
        raise UsageError(f"the Hub does not say whose token this is: {explain(error)}.") from error
    repo_id = options.repo_id or model_name
    if "/" not in repo_id:
        repo_id = f"{user['name']}/{repo_id}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"--hub_model_id is {repo_id!r}, which is not a legal name: {error}") from error

    revision, create_pr = options.revision or "main", options.hub_args.hub_create_pr
    if not create_pr:
        _check_may_write(user, repo_id)
    head = find_head(api, repo_id, "main")
    if head is None and create_pr:
        raise UsageError(f"--hub_create_pr: there is no repository {repo_id} to open a pull request in.")
    ours = head is None or _is_ours_or_empty(head)
    if not ours and not create_pr and not options.hub_args.hub_overwrite:
        raise UsageError(
            f"{repo_id} holds something that was not published by hf_sentiment_ft. Choose another --hub_model_id, "
            "open a pull request with --hub_create_pr, or replace what is there with --hub_overwrite."
        )
    if head is not None and revision != "main":
        head = find_head(api, repo_id, revision) or head
    return Destination(
        repo_id,
        token,
        private=options.private,
        revision=revision,
        create_pr=create_pr,
        tag=options.hub_args.hub_tag,
        parent=head.sha if head else None,
        replace=not ours and not create_pr,
        timeout=options.hub_args.hub_timeout,
    )


def _check_may_write(user: dict[str, Any], repo_id: str) -> None:
    """Refuse a token that cannot write to the repository, and a namespace that is not the user's."""
    namespace = repo_id.split("/")[0]
    organisations = {org["name"]: org.get("roleInOrg") for org in user.get("orgs", [])}
    if namespace not in {user["name"], *organisations}:
        known = ", ".join([user["name"], *organisations])
        raise UsageError(f"--hub_model_id is {repo_id!r}, but this token's user can publish under: {known}.")
    if organisations.get(namespace) == "read":
        raise UsageError(f"--hub_model_id is {repo_id!r}, but {user['name']} may only read in {namespace}.")
    token = user.get("auth", {}).get("accessToken", {})
    permissions = set(token.get("fineGrained", {}).get("global", []))
    for scope in token.get("fineGrained", {}).get("scoped", []):
        if scope.get("entity", {}).get("name") in (namespace, repo_id):
            permissions |= set(scope.get("permissions", []))
    if token.get("role") == "read" or (token.get("role") == "fineGrained" and "repo.write" not in permissions):
        raise UsageError(
            f"this token may not write to {repo_id}; make one with write access at https://huggingface.co/settings/tokens."
        )


def _is_ours_or_empty(head: Any) -> bool:
    files = {sibling.rfilename for sibling in head.siblings or []}
    return not files - {".gitattributes"} or CARD_TAG in (head.tags or [])
