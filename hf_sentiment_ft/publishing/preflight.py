"""Check before training everything that can make a push fail."""

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
from .access import check_repository
from .destination import NOT_FREE, Destination
from .repository import find_head

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from ..config.arguments import Arguments, HubArguments
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
    if hub_args.push_space and not wanted:
        raise UsageError(
            "--push_space is given without --push_to_hub. Add it: the Space refers to the published model."
        )
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
        space = _space_beside(destination, options.hub_args)
        destination = check_repository(user, destination, options.repo_id is not None, options.hub_args.hub_overwrite)
        if space is None:
            return destination
        space = check_repository(user, space, True, options.hub_args.hub_overwrite)
        _check_space(user, destination, space)
        return replace(destination, space=space)
    except hub_errors() as error:
        if status_code(error) == 401:
            raise UsageError(f"the Hub rejected the token: {explain(error)}. Run `hf auth login` again.") from error
        raise UsageError(f"could not check on the Hub whether this run can be published: {explain(error)}.") from error


def _space_beside(destination: Destination, hub_args: "HubArguments") -> Destination | None:
    """Return the Space that `--push_space` asks for, not yet checked."""
    if not hub_args.push_space:
        return None
    if hub_args.static_space:
        from ..label_words.export import check_packages

        check_packages()
    return replace(destination, repo_id=hub_args.push_space, space_sdk=hub_args.space_sdk, revision="main", tag=None)


def _check_space(user: dict[str, Any], destination: Destination, space: Destination) -> None:
    """Refuse a Space that would show a private model to everyone, or that the Hub would not run for free."""
    model, present = find_head(destination, "main"), find_head(space, "main")
    if present and not present.private and (model.private if model else destination.private):
        raise UsageError(
            f"--push_space is {space.repo_id!r}, which is public, but the model is private, and a Space contains it. "
            "Make the Space private in its settings, or use another --push_space."
        )
    # An organisation has a plan of its own, which the Hub does not tell.
    free = user.get("isPro") is False and space.repo_id.startswith(f"{user['name']}/")
    if free and space.space_sdk != "static" and not present:
        raise UsageError(NOT_FREE.format(repo_id=space.repo_id))


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
    if hub_args.push_space and hub_args.hub_create_pr:
        raise UsageError(
            "--push_space and --hub_create_pr are both given, but a pull request's model is not published yet. Remove "
            "--push_space, and run `publish` with it once the pull request is merged."
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
    lines.append(f"in one commit at the end, those of these files that exist: {', '.join(PUBLISHED_FILES)}")
    if (space := destination.space) is not None:
        lines.append(f"then a {space.space_sdk} Space, {space.repo_id}, {'updated' if space.parent else 'new'}")
    return lines


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
