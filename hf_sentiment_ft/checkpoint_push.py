"""Publish checkpoints while training goes on, as other values of `--hub_strategy` than `end` ask for."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .errors import PublishError
from .hub import CARD_TAG, Destination, explain, hub_errors
from .push import push

logger = logging.getLogger(__name__)

UNFINISHED_CARD = """---
library_name: transformers
tags:
- {tag}
---

Training is under way; this is step {step}.
"""


class CheckpointPush(TrainerCallback):
    """Commit each saved checkpoint: `every_save` its model, `checkpoint` and `all_checkpoints` also all to resume from.

    A push that fails is warned about and training goes on; the next one, or the final one, makes up for it.
    """

    def __init__(self, destination: Destination, strategy: str) -> None:
        """Set the destination; its parent moves on with each commit."""
        self.destination = destination
        self.strategy = strategy

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Push the checkpoint that Trainer has just written."""
        if self.strategy == "end" or not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir), f"checkpoint-{state.global_step}")
        extra: dict[str, Path | bytes] = {}
        if self.destination.parent is None:  # otherwise there is a card, perhaps with what a person wrote in it
            extra["README.md"] = UNFINISHED_CARD.format(tag=CARD_TAG, step=state.global_step).encode()
        if self.strategy != "every_save":
            place = "last-checkpoint" if self.strategy == "checkpoint" else folder.name
            extra |= {f"{place}/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()}
        try:
            pushed = push(folder, self.destination, message=f"Training, step {state.global_step}", extra=extra)
        except (PublishError, *hub_errors()) as error:  # type: ignore[misc]
            logger.warning("Checkpoint %s was not published: %s", state.global_step, explain(error))
        else:
            self.destination = replace(self.destination, parent=pushed.revision)
