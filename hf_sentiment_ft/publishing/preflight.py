"""Check before training everything that can make a push fail."""

import json
import logging
import re
import sys
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, explain, status_code
from ..hub import hub_errors, limit_waiting, with_retries
from ..runtime.distributed import on_first_process
from ..runtime.run_files import PUBLISHED_FILES
from .repository import CARD_TAG, Destination, find_head, read_file, tags

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo
    from transformers import TrainingArguments

    from ..config.arguments import Arguments, HubArguments
    from .repository import Destination

logger = logging.getLogger(__name__)

REF_NAME = re.compile(r"(?!.*(\.\.|//|@\{|\.lock$|[./]$))[A-Za-z0-9_][^\s~^:?*\[\\]*")


@dataclass
class HubOptions:
    """The user's options for publishing.

    Attributes:
        repo_id: Repository, with or without a namespace; None for a default name.
        token: Token given on the command line; None to use `HF_TOKEN` or the stored token.
        private: Whether a new repository is private; None leaves it to the account's default.
        revision: Branch to push to; None for `main`.
        hub_args: Further options of this package.
        strategy: Value of `--hub_strategy`.
    """

    repo_id: str | None
    token: str | None = field(repr=False)
    private: bool | None
    revision: str | None
    hub_args: "HubArguments"
    strategy: str = "end"


def resolve_hub_options(args: "TrainingArguments", hub_args: "HubArguments") -> HubOptions | None:
    """Take over publishing from Trainer; return None without `--push_to_hub`.

    Trainer would create the repository before training, push several commits, and write the token to
    `training_args.bin`.

    Args:
        args: Training arguments; publishing by Trainer is disabled in place.
        hub_args: Further options of this package.
    """
    from transformers.trainer_utils import HubStrategy

    args.hub_strategy = HubStrategy(args.hub_strategy).value  # as the user types it, for messages
    options = HubOptions(
        args.hub_model_id, args.hub_token, args.hub_private_repo, args.hub_revision, hub_args, args.hub_strategy
    )
    wanted = args.push_to_hub
    args.push_to_hub, args.hub_token = False, None
    return options if wanted else None


def check_destination(flags: "Arguments", model_name: str) -> Destination | None:
    """Take the push out of Trainer's hands, and have the first process check that it can succeed.

    Args:
        flags: The run's.
        model_name: The repository's name where `--hub_model_id` gives none.

    Returns:
        The destination on the first process; None on the others, and without `--push_to_hub`.
    """
    args = flags.training
    options = resolve_hub_options(args, flags.hub)
    if options is None:
        args.hub_strategy = "end"  # no checkpoint goes anywhere
        return None
    return on_first_process(args, "asking the Hub", lambda: preflight(options, model_name))


def preflight(options: HubOptions, model_name: str) -> Destination:
    """Check that a push can succeed, and remember the commit that it will be based on.

    Args:
        options: The user's options for publishing.
        model_name: Name of the repository if `--hub_model_id` is not given.

    Raises:
        UsageError: If the token is missing or lacks write access, the namespace or a name is invalid, or the repository
            contains work that this package did not publish.
    """
    _check_flags(options)
    limit_waiting(options.hub_args.hub_timeout)
    destination = Destination(
        repo_id=options.repo_id or model_name,
        token=_find_token(options),
        private=options.private,
        revision=options.revision or "main",
        create_pr=options.hub_args.hub_create_pr,
        tag=options.hub_args.hub_tag,
        timeout=options.hub_args.hub_timeout,
    )
    try:
        user = with_retries(destination.api.whoami, destination.timeout)
        if "/" not in destination.repo_id:
            destination = replace(destination, repo_id=f"{user['name']}/{destination.repo_id}")
        _check_name(destination.repo_id, given=options.repo_id is not None)
        _check_may_write(user, destination)
        return _look_at_repository(destination, options.hub_args.hub_overwrite)
    except hub_errors() as error:
        if status_code(error) == 401:
            raise UsageError(f"the Hub rejected the token: {explain(error)}. Run `hf auth login` again.") from error
        raise UsageError(f"could not check on the Hub whether this run can be published: {explain(error)}.") from error


def _check_flags(options: HubOptions) -> None:
    """Refuse flags that contradict each other, and names that git does not allow."""
    hub_args = options.hub_args
    if hub_args.hub_create_pr and (options.revision or "main") != "main":
        raise UsageError(
            "--hub_create_pr and --hub_revision are both given, but a pull request goes to main. Remove one of them."
        )
    if hub_args.hub_create_pr and hub_args.hub_tag:
        raise UsageError(
            "--hub_create_pr and --hub_tag are both given. Remove --hub_tag, and set the tag once the pull request is "
            "merged."
        )
    if hub_args.hub_create_pr and options.strategy != "end":
        raise UsageError(
            f"--hub_create_pr is given, but --hub_strategy is {options.strategy}, which would open a pull request for "
            "every checkpoint. Use --hub_strategy end."
        )
    for flag, name in (("hub_revision", options.revision), ("hub_tag", hub_args.hub_tag)):
        if name is not None and not REF_NAME.fullmatch(name):
            raise UsageError(f"--{flag} is {name!r}, which is not a valid name; expected one such as v1.0.")


def _find_token(options: HubOptions) -> str:
    from huggingface_hub import get_token

    token = options.token or get_token()
    if token is None:
        raise UsageError("publishing needs a token: run `hf auth login`, set HF_TOKEN, or pass --hub_token.")
    if not re.fullmatch(r"[!-~]+", token):  # otherwise the HTTP client would quote it in an error
        raise UsageError("the token contains whitespace or a non-ASCII character; copy it again.")
    if any(token in word for word in sys.argv):
        logger.warning(
            "The token was passed on the command line, where all users of this machine can read it. If the run fails, "
            "`accelerate launch` without --quiet prints it, too. Use HF_TOKEN or `hf auth login` instead."
        )
    return token


def _check_name(repo_id: str, given: bool) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        if not given:
            raise UsageError(f"{repo_id!r}, the run's own name, is not valid; set --hub_model_id: {error}") from error
        raise UsageError(f"--hub_model_id is {repo_id!r}, which is not a valid name: {error}") from error


def _check_may_write(user: dict[str, Any], destination: Destination) -> None:
    """Refuse a token that cannot write to the repository, and a namespace that the user cannot publish in."""
    repo_id, namespace = destination.repo_id, destination.repo_id.split("/")[0]
    organisations = {org["name"]: org.get("roleInOrg") for org in user.get("orgs", [])}
    if not destination.create_pr and namespace not in {user["name"], *organisations}:
        known = ", ".join([user["name"], *organisations])
        raise UsageError(f"--hub_model_id is {repo_id!r}, but the user of this token can only publish under: {known}.")
    if not destination.create_pr and organisations.get(namespace) == "read":
        raise UsageError(f"--hub_model_id is {repo_id!r}, but {user['name']} has only read access to {namespace}.")
    token = user.get("auth", {}).get("accessToken", {})
    permissions = set(token.get("fineGrained", {}).get("global", []))
    for scope in token.get("fineGrained", {}).get("scoped", []):
        if scope.get("entity", {}).get("name") in (namespace, repo_id):
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
    if not overwrite:
        raise UsageError(
            f"{repo_id} is not empty and was not published by hf_sentiment_ft. Use another --hub_model_id, open a pull "
            "request with --hub_create_pr, or replace everything in the repository with --hub_overwrite."
        )
    return replace(destination, replace=True)


def _find_branch(destination: Destination) -> "ModelInfo | None":
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
        with_retries(lambda: destination.api.auth_check(destination.repo_id, write=True), destination.timeout)
    except hub_errors() as error:
        if status_code(error) not in (401, 403, 404):
            raise
        raise UsageError(
            f"this token cannot write to {destination.repo_id}: {explain(error)}. Use another token or --hub_model_id, "
            "or open a pull request with --hub_create_pr."
        ) from error


def _is_ours_or_empty(head: "ModelInfo", destination: Destination) -> bool:
    """Return whether a repository is empty, or was published by this package.

    In the latter case it has our tag or, if the Hub rejected the card, label words in its `config.json`.
    """
    files = {sibling.rfilename for sibling in head.siblings or []}
    if not files - {".gitattributes"} or CARD_TAG in (head.tags or []):
        return True
    config = read_file(destination, "config.json") if "config.json" in files else None
    try:
        return config is not None and "label_words" in json.loads(config)
    except ValueError:
        return False


def describe_publication(destination: "Destination | None", strategy: str) -> list[str]:
    """Describe what would be pushed where, one line each.

    Args:
        destination: Return value of `check_destination`.
        strategy: Value of `--hub_strategy`.
    """
    if destination is None:
        return ["none (--push_to_hub is not given)"]
    visibility = {True: "private ", False: "public ", None: ""}[destination.private]
    place = f"on top of {destination.parent[:8]}" if destination.parent else f"a new {visibility}repository"
    lines = [f"{destination.repo_id}, branch {destination.revision}, {place}"]
    if destination.create_pr:
        lines.append("as a pull request")
    if destination.replace:
        lines.append("replacing everything in the repository")
    if destination.tag:
        lines.append(f"tag {destination.tag}")
    if strategy != "end":
        lines.append(f"each checkpoint during training (--hub_strategy {strategy})")
    return [*lines, f"in one commit at the end, those of these files that exist: {', '.join(PUBLISHED_FILES)}"]


def default_model_name(model_name_or_path: str, dataset: str) -> str:
    """Build a repository name from those of the model and the dataset, such as `gpt2-rotten-tomatoes`.

    The name is always legal: accents are removed, and a name without a Latin letter or a digit is replaced.
    """
    model = re.sub(r"([.-]I?Q\d\w*)?\.gguf$", "", Path(model_name_or_path).name)
    parts = {"model": model, "label-words": Path(dataset).name.split(".")[0]}
    return "-".join(_legal(name) or other for other, name in parts.items())[:96].rstrip("-.")


def _legal(name: str) -> str:
    latin = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[-.]{2,}", "-", re.sub(r"[^A-Za-z0-9.]+", "-", latin)).strip("-.")
