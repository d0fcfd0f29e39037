"""Show how a run progresses: one bar in a terminal, plain lines in a log file."""

import logging
import sys
from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

# Figures beside the bar, and in the lines of a log file.
SHOWN = {"loss": "loss", "eval_accuracy": "validation accuracy", "eval_log_loss": "validation log loss"}


class RunProgress(ProgressCallback):
    """Progress of training with the last loss and validation accuracy, and of evaluations, on the first process.

    Trainer's own callback prints each metric of each evaluation between the bars. They are in `trainer_state.json`, in
    the results, and in any tracker.
    """

    def __init__(self, bars: bool) -> None:
        """Set up bars or lines.

        Args:
            bars: Whether there may be progress bars; without a terminal on standard error, there are none.
        """
        super().__init__()
        self.bars = bars and sys.stderr.isatty()
        self.figures: dict[str, str] = {}

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Open the bar, which a resumed run starts where it was stopped."""
        if self.bars:
            super().on_train_begin(args, state, control, **kwargs)
            if self.training_bar is not None:
                self.training_bar.set_description("Training")
        self.figures = {}

    def on_step_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Move the bar."""
        if self.bars:
            super().on_step_end(args, state, control, **kwargs)

    def on_prediction_step(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Show an evaluation below the bar, and clear it afterwards."""
        if self.bars:
            super().on_prediction_step(args, state, control, **kwargs)
            if self.prediction_bar is not None:
                self.prediction_bar.leave = False
                self.prediction_bar.set_description("Evaluating")

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the loss, and the accuracy on the validation split."""
        figures = {SHOWN[name]: f"{value:.4g}" for name, value in (logs or {}).items() if name in SHOWN}
        if not state.is_world_process_zero or not figures:
            return
        self.figures |= figures
        if self.training_bar is not None:
            self.training_bar.set_postfix({name: self.figures[name] for name in self.figures if "log" not in name})
        elif not self.bars and state.max_steps:
            said = ", ".join(f"{name} {value}" for name, value in figures.items())
            logger.info("step %d of %d: %s", state.global_step, state.max_steps, said)

    def on_train_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.training_bar is not None:
            super().on_train_end(args, state, control, **kwargs)
