"""Publish checkpoints during training, as all values of `--hub_strategy` except `end` request."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import PublishError, explain
from ..hub import hub_errors
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

Training is in progress; this is step {step}. Results will be added when training ends.

{marked_line}
"""


class CheckpointPush(TrainerCallback):
    """Commit each saved checkpoint to the Hub.

    `every_save` pushes its model; `checkpoint` and `all_checkpoints` also push everything needed to resume from it. If
    a push fails, a warning is logged and training continues; the next push, or the final one, makes up for it.
    """

    def __init__(self, destination: Destination | None, strategy: str = "end") -> None:
        """Set the destination; its parent is updated with each commit.

        Args:
            destination: Where to push to; None on all processes but the first, and for no push.
            strategy: Value of `--hub_strategy`; `end` for no push during training.
        """
        self.destination = destination
        self.strategy = strategy

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Push the checkpoint that Trainer has just written.

        The other processes wait here, for at most `--ddp_timeout`. In the next training step, they would only wait for
        their engine's own timeout, which is ten minutes with DeepSpeed.
        """
        if self.strategy != "end":
            step = state.global_step
            on_first_process(args, "publishing a checkpoint", lambda: self._push(Path(str(args.output_dir)), step))

    def _push(self, output_dir: Path, step: int) -> None:
        assert self.destination is not None
        folder = output_dir / f"checkpoint-{step}"
        place = {"checkpoint": "last-checkpoint", "all_checkpoints": folder.name}.get(self.strategy)
        try:
            # The card of an earlier run must not be published with these weights.
            extra: dict[str, Content] = {"README.md": self._card(self.destination, step)}
            extra |= {f"{place}/{name}": content for name, content in resumable(folder).items()} if place else {}
            pushed = push(folder, self.destination, message=f"Training, step {step}", extra=extra)
        except (PublishError, *hub_errors()) as error:  # type: ignore[misc]
            logger.warning("Checkpoint %s was not published: %s", step, explain(error))
        else:
            self.destination = replace(self.destination, parent=pushed.revision, replace=False)

    def _card(self, destination: Destination, step: int) -> bytes:
        kept = below_the_line(read_file(destination, "README.md") or "")
        card = UNFINISHED_CARD.format(tag=CARD_TAG, step=step, marked_line=MARKED_LINE)
        return (card + (f"\n{kept}" if kept else "")).encode()


def resumable(checkpoint: Path) -> dict[str, Content]:
    """Return the files that are needed to resume training, by name.

    `training_args.bin` is left out, since Trainer does not read it back and it contains local paths and the host name.
    The path of the best checkpoint is reduced to its name.

    Args:
        checkpoint: Folder of the checkpoint.
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
