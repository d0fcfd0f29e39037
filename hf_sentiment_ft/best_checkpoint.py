"""Which checkpoint is the best one, where a run goes on without the folder of the best one so far."""

import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)


class BestThatIsThere(TrainerCallback):
    """Let `--load_best_model_at_end` choose among the checkpoints that can be loaded.

    A checkpoint from the Hub, or one that was moved, comes without the best one before it. Trainer forgets that folder
    but not its score, so that a run without a better one would end with its last weights.
    """

    def __init__(self, checkpoint: str) -> None:
        """Set the checkpoint to go on from."""
        self.checkpoint = Path(checkpoint)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the best checkpoint beside the one to go on from; otherwise count from that one.

        The path that it had may mean another folder in another working directory, so that beside comes first.
        """
        if state.best_metric is None:
            return
        beside = self.checkpoint.parent / f"checkpoint-{state.best_global_step}"
        if beside.is_dir():
            state.best_model_checkpoint = str(beside)
        if not args.load_best_model_at_end or state.best_model_checkpoint is not None:
            return
        metric = f"eval_{str(args.metric_for_best_model).removeprefix('eval_')}"
        scores = [
            entry[metric] for entry in state.log_history if entry["step"] == state.global_step and metric in entry
        ]
        if state.best_global_step != state.global_step:
            lost = f"The best checkpoint so far, of step {state.best_global_step} ({metric} {state.best_metric:.4f})"
            chosen = f"that of step {state.global_step} ({scores[-1]:.4f}) and those" if scores else "those"
            logger.warning("%s, is not there; the best is now chosen among %s to come.", lost, chosen)
        state.best_metric = scores[-1] if scores else None
        state.best_global_step = state.global_step if scores else None
        state.best_model_checkpoint = str(self.checkpoint) if scores else None
