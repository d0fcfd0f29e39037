"""One trial of a search: train with its values, on rows that are loaded already, and keep nothing but its figures."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from ..errors import Diverged
from ..evaluation.predictions import compute_metrics
from ..label_words.task import build_task
from ..label_words.tokenization import tokenize_splits
from ..runtime.device import keep_random_state
from ..runtime.distributed import first_process_first
from ..training.build import build_trainer
from ..training.interruption import SaveOnSignal

if TYPE_CHECKING:
    from transformers import PretrainedConfig, TrainerControl, TrainerState, TrainingArguments

    from ..config.arguments import Arguments
    from ..data.splits import LabelledSplits
    from ..model.loading import ModelSource
    from ..training.trainer import LabelWordTrainer

# Told the quarter of training and the metric, it returns whether to stop the trial.
Report = Callable[[int, float], bool]


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        value: The metric by which trials are compared, of the checkpoint that training would have kept; None if the
            trial did not finish.
        accuracy: Accuracy of the same checkpoint, or of the last evaluation.
        ended: `finished`; `stopped` if it was behind the others; or `diverged`.
    """

    value: float | None
    accuracy: float | None
    ended: str


class QuarterlyReport(TrainerCallback):
    """Evaluate at each quarter of training, report, and stop a trial that is behind the others.

    These evaluations change nothing about training, and no checkpoint is chosen by them. The others, which are those of
    `--eval_strategy`, are collected.
    """

    def __init__(self, trainer: "LabelWordTrainer", report: Report) -> None:
        """Set whom to report to.

        Args:
            trainer: Trainer of the trial.
            report: Function that is told the metric.
        """
        self.trainer, self.report = trainer, report
        self.metric = f"eval_{str(trainer.args.metric_for_best_model).removeprefix('eval_')}"
        self.own, self.stopped = False, False
        self.quarters: dict[int, int] = {}
        self.evaluations: list[dict[str, float]] = []

    def on_train_begin(self, args: "TrainingArguments", state: "TrainerState", *others: Any, **kwargs: Any) -> None:
        """Find the steps at which the first three quarters end."""
        ends = {round(state.max_steps * quarter / 4): quarter for quarter in (1, 2, 3)}
        self.quarters = {step: quarter for step, quarter in ends.items() if 0 < step < state.max_steps}

    def on_step_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Evaluate, unless that is due anyway, with the random numbers of training put back afterwards."""
        ends_epoch = args.eval_strategy == "epoch" and float(state.epoch or 0).is_integer()
        if state.global_step in self.quarters and not (control.should_evaluate or ends_epoch):
            self.own = True
            with keep_random_state(args.device):
                self.trainer.evaluate()
            self.own = False

    def on_epoch_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Do not evaluate once more after a trial was stopped."""
        control.should_evaluate &= not self.stopped

    def on_evaluate(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Report the metric at the end of a quarter."""
        if not self.own:
            self.evaluations.append(metrics)
        if state.global_step in self.quarters and self.report(self.quarters[state.global_step], metrics[self.metric]):
            self.stopped = control.should_training_stop = True


def run_trial(
    flags: "Arguments", base: "ModelSource", config: "PretrainedConfig", rows: "LabelledSplits", report: Report
) -> Outcome:
    """Train and evaluate on validation, without writing anything.

    The figures are those of the checkpoint that training by these flags would keep. It is not loaded again, since its
    figures are known.

    Args:
        flags: Arguments of training, changed in place so that nothing is saved.
        base: Where to load the model from.
        config: Configuration of the model.
        rows: Train and validation rows.
        report: Function that is told the metric at each quarter.
    """
    args = flags.training
    keeps_best, args.load_best_model_at_end = args.load_best_model_at_end, False
    args.save_strategy = type(args.save_strategy)("no")
    with quiet():
        task = build_task(flags.model, base, config, rows)
        with first_process_first(args, "tokenizing"):
            tokenized = tokenize_splits(task, flags.data.preprocessing_num_workers)
        trainer = build_trainer(flags, task, tokenized, None, compute_metrics)
        trainer.remove_callback(SaveOnSignal)  # a trial has no checkpoint, and starts again
        quarterly = QuarterlyReport(trainer, report)
        trainer.add_callback(quarterly)
        try:
            trainer.train()
            if quarterly.stopped:
                return Outcome(None, None, "stopped")
            figures = quarterly.evaluations if keeps_best else []
            choose = max if args.greater_is_better else min
            best = choose(figures or [trainer.evaluate()], key=lambda metrics: metrics[quarterly.metric])
        except Diverged:
            return Outcome(None, None, "diverged")
        finally:
            trainer.accelerator.free_memory()
    return Outcome(best[quarterly.metric], best["eval_accuracy"], "finished")


@contextmanager
def quiet() -> Iterator[None]:
    """Show no messages of training, which would be the same for each trial, but warnings."""
    ours = logging.getLogger("hf_sentiment_ft")
    level = ours.level
    ours.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        ours.setLevel(level)
