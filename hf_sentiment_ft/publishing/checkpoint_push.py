"""Publish checkpoints while training goes on, as other values of `--hub_strategy` than `end` ask for."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import PublishError
from ..hub import explain, hub_errors
from ..runtime.distributed import on_first_process
from ..training.checkpoints import NOT_NEEDED
from .card import MARKED_LINE, below_the_line
from .repository import CARD_TAG, Content, Destination, push, read_file

logger = logging.getLogger(__name__)

UNFINISHED_CARD = """---
library_name: transformers
tags:
- {tag}
---

Training is under way; this is step {step}. Results come when it has ended.

{marked_line}
"""


class CheckpointPush(TrainerCallback):
    """Commit each saved checkpoint: `every_save` its model, `checkpoint` and `all_checkpoints` also all to resume from.

    A push that fails is warned about and training goes on; the next one, or the final one, makes up for it.
    """

    def __init__(self, destination: Destination | None, strategy: str = "end") -> None:
        """Set the destination, which the first process knows; its parent moves on with each commit.

        Args:
            destination: None on other processes, and for no push.
            strategy: As `--hub_strategy` says; `end` for no push before the end.
        """
        self.destination = destination
        self.strategy = strategy

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Push the checkpoint that Trainer has just written; the other processes wait, as long as `--ddp_timeout` says.

        In the next step they would wait for as long as their engine does, which is ten minutes under DeepSpeed.
        """
        if self.strategy != "end":
            step = state.global_step
            on_first_process(args, "publishing a checkpoint", lambda: self._push(Path(str(args.output_dir)), step))

    def _push(self, output_dir: Path, step: int) -> None:
        assert self.destination is not None
        folder = output_dir / f"checkpoint-{step}"
        place = {"checkpoint": "last-checkpoint", "all_checkpoints": folder.name}.get(self.strategy)
        try:
            # The card of an earlier run must not stand beside these weights.
            extra: dict[str, Content] = {"README.md": self._card(self.destination, step)}
            extra |= {f"{place}/{name}": content for name, content in resumable(folder).items()} if place else {}
            pushed = push(folder, self.destination, message=f"Training, step {step}", extra=extra)
        except (PublishError, *hub_errors()) as error:  # type: ignore[misc]
            reason = str(error) if isinstance(error, PublishError) else explain(error)
            logger.warning("Checkpoint %s was not published: %s", step, reason)
        else:
            self.destination = replace(self.destination, parent=pushed.revision, replace=False)

    def _card(self, destination: Destination, step: int) -> bytes:
        kept = below_the_line(read_file(destination, "README.md") or "")
        card = UNFINISHED_CARD.format(tag=CARD_TAG, step=step, marked_line=MARKED_LINE)
        return (card + (f"\n{kept}" if kept else "")).encode()


def resumable(checkpoint: Path) -> dict[str, Content]:
    """The files that training can go on from, by name.

    Without `training_args.bin`, which Trainer does not read back and which holds local paths and the host's name; and
    with the path of the best checkpoint cut to its name.
    """
    files: dict[str, Content] = {
        path.relative_to(checkpoint).as_posix(): path
        for path in checkpoint.rglob("*")
        if path.is_file() and path.name not in NOT_NEEDED
    }
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    if state.get("best_model_checkpoint"):
        state["best_model_checkpoint"] = Path(state["best_model_checkpoint"]).name
    return files | {"trainer_state.json": json.dumps(state, indent=2).encode()}
