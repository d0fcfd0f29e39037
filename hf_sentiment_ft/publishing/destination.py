"""Where a run is published."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NOT_FREE = (
    "{repo_id} would be a Gradio Space, which the Hub runs for paying accounts only (PRO, Team or Enterprise). Use "
    "--space_sdk static, whose page runs the model in the visitor's browser, for free."
)


@dataclass(frozen=True)
class Destination:
    """Where a run is published, as determined before training.

    Attributes:
        repo_id: Repository, as `user/name`.
        token: Token with write access; never shown.
        private: Whether a new repository is private; None leaves it to the account's default.
        revision: Branch to push to.
        create_pr: Whether to open a pull request instead of committing to the branch.
        tag: Tag to set on the commit; None for no tag.
        parent: Last commit of the branch, on which ours is based; None if the repository did not exist.
        replace: Whether to replace someone else's work in the repository, as `--hub_overwrite` allows.
        timeout: Seconds to wait for one response; failed requests are retried for twice as long.
        space_sdk: For a Space, `static` or `gradio`; None for a model.
        space: Space in which the model can be tried; None for no Space.
    """

    repo_id: str
    token: str = field(repr=False)
    private: bool | None = None
    revision: str = "main"
    create_pr: bool = False
    tag: str | None = None
    parent: str | None = None
    replace: bool = False
    timeout: int = 120
    space_sdk: str | None = None
    space: "Destination | None" = None

    @property
    def api(self) -> "HfApi":
        """Return a client that uses this destination's token."""
        from huggingface_hub import HfApi

        return HfApi(token=self.token)

    @property
    def repo_type(self) -> str:
        """Return `model` or `space`."""
        return "space" if self.space_sdk else "model"

    @property
    def page(self) -> str:
        """Return the URL of the repository's page."""
        return f"{self.api.endpoint}/{'spaces/' if self.space_sdk else ''}{self.repo_id}"

    @property
    def flag(self) -> str:
        """Return the flag that sets the repository, for messages."""
        return "--push_space" if self.space_sdk else "--hub_model_id"
