"""Publish a run on the Hub: checks before training, one commit after it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError
from .output import PUBLISHED_FILES

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from transformers import TrainingArguments


@dataclass(frozen=True)
class Destination:
    """Where a run is published.

    Attributes:
        repo_id: `user/name`.
        private: Whether a new repository is private; None leaves it to the account's default.
        revision: Branch to push to; None is the main one.
        token: A write token; not shown in messages.
    """

    repo_id: str
    private: bool | None = None
    revision: str | None = None
    token: str | None = field(default=None, repr=False)


def default_model_name(model_name_or_path: str, dataset: str) -> str:
    """A repository name made of the model's and the data set's, such as `gpt2-rotten-tomatoes`."""
    model = re.sub(r"([.-]I?Q\d\w*)?\.gguf$", "", Path(model_name_or_path).name)
    stems = (model, Path(dataset).name.split(".")[0])
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", stem).strip("-.") for stem in stems)[:96]


def take_destination(args: "TrainingArguments", model_name: str) -> Destination | None:
    """Take the push out of Trainer's hands, and check that it can succeed.

    Trainer would create the repository at once, push more than one commit, and write the token into
    `training_args.bin`. The token is taken out of the arguments.

    Returns:
        The destination, or None without `--push_to_hub`.

    Raises:
        UsageError: If there is no token, it may not write, or the name is not a legal one.
    """
    wanted, token = args.push_to_hub, args.hub_token
    args.push_to_hub, args.hub_token = False, None
    if not wanted:
        return None
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    token = token or get_token()
    if token is None:
        raise UsageError("--push_to_hub needs a token: run `hf auth login`, or set HF_TOKEN.")
    try:
        user = HfApi(token=token).whoami()
    except HfHubHTTPError as error:
        raise UsageError(f"the Hub does not accept the token: {error.server_message or error}") from error
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UsageError("--push_to_hub needs a token that may write; this one may only read.")
    repo_id = args.hub_model_id or model_name
    if "/" not in repo_id:
        repo_id = f"{user['name']}/{repo_id}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"--hub_model_id is {repo_id!r}: {error}") from error
    return Destination(repo_id, args.hub_private_repo, args.hub_revision, token)


def published_files(folder: Path) -> list[Path]:
    """The files of a run that are published: an explicit list, so that nothing else in the folder slips out."""
    return sorted({path for pattern in PUBLISHED_FILES for path in folder.glob(pattern)})


def push(output_dir: str | Path, destination: Destination) -> "CommitInfo":
    """Publish a finished run as one commit."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=destination.token)
    api.create_repo(destination.repo_id, private=destination.private, exist_ok=True)
    return api.create_commit(
        destination.repo_id,
        [CommitOperationAdd(path.name, path) for path in published_files(Path(output_dir))],
        commit_message="Publish model, card and results",
        revision=destination.revision,
    )
