"""The study on disk: which trials there were, which values come next, and which were best."""

import logging
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.trial import FrozenTrial, Trial, TrialState

from ..errors import RunError, UsageError
from ..training.fingerprint import refuse_other_settings
from ..training.plan import duration
from .space import Space, wrap
from .trial import Outcome

logger = logging.getLogger(__name__)

STUDY = "study.db"
ENOUGH_TRIALS = 10  # finished ones, for the importance of flags


class Study:
    """An Optuna study in an SQLite file, which is whole whenever the process is killed. Only the first process has one.

    A trial that is killed is tried again, and a search that is resumed goes on as it would have otherwise: the values
    of a trial depend on the seed and on the trials before it.
    """

    def __init__(self, folder: Path, space: Space, first: dict[str, Any], settings: dict[str, Any], seed: int) -> None:
        """Create the study, or open it to go on with it.

        Args:
            folder: Folder of the study.
            space: Search space.
            first: Values of the first trial.
            settings: What the trials have in common, with the `metric` and whether `greater_is_better`.
            seed: Seed of the sampler.

        Raises:
            UsageError: If the study was begun with other settings, or its file cannot be read.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.seed, self.metric = space, seed, str(settings["metric"]).replace("_", " ")
        settings = settings | {"space": {name: repr(values) for name, values in space.items()}}
        try:
            self.study = optuna.create_study(
                storage=f"sqlite:///{folder / STUDY}",
                study_name="search",
                direction="maximize" if settings["greater_is_better"] else "minimize",
                pruner=optuna.pruners.MedianPruner(),
                load_if_exists=True,
            )
        except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
            raise UsageError(
                f"{folder / STUDY} is not a study that can be resumed. Pass --overwrite_output_dir to begin anew, or "
                "use another folder."
            ) from error
        if "settings" in self.study.user_attrs:
            refuse_other_settings(folder, self.study.user_attrs["settings"], settings)
        else:
            self.study.set_user_attr("settings", settings)
        if not self.study.trials:
            self.study.enqueue_trial(first)
        for killed in self.study.get_trials(states=[TrialState.RUNNING]):
            self.study.tell(killed.number, state=TrialState.FAIL)
            self.study.enqueue_trial(killed.params)
        self.trial: Trial | None = None
        self._sign = -1 if settings["greater_is_better"] else 1

    @property
    def done(self) -> list[FrozenTrial]:
        """Return the trials that have ended, in order; users count them from 1."""
        return self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])

    def ask(self, num_trials: int, max_hours: float | None) -> dict[str, Any] | None:
        """Begin a trial and return its values, or None if there were enough.

        Args:
            num_trials: Number of trials.
            max_hours: Time after which no trial begins, together with those of earlier calls; None for no limit.
        """
        while len(done := self.done) < num_trials:
            spent = sum((trial.duration or timedelta() for trial in done), timedelta())
            if max_hours is not None and spent >= timedelta(hours=max_hours):
                logger.info("--max_hours %g is spent after %d of %d trials.", max_hours, len(done), num_trials)
                return None
            self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(done))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the first trial may be outside of a range
                self.trial = self.study.ask(self.space)
            if all(trial.params != self.trial.params for trial in done):
                values = "\n".join(wrap(self.trial.params, "  "))
                logger.info("\nTrial %d of %d\n%s", len(done) + 1, num_trials, values)
                return self.trial.params
            same = next(trial for trial in done if trial.params == self.trial.params)
            self.trial.set_user_attr("same_as", same.number)  # training has the same result again
            self.study.tell(self.trial, same.value if same.state == TrialState.COMPLETE else None, same.state)
        return None

    def report(self, quarter: int, value: float) -> bool:
        """Record the metric after a quarter of training, and return whether it is worse than the median of others."""
        assert self.trial is not None
        self.trial.report(value, quarter)
        return self.trial.should_prune()

    def tell(self, outcome: Outcome) -> None:
        """Record what came of the trial."""
        assert self.trial is not None
        self.trial.set_user_attr("accuracy", outcome.accuracy)
        self.trial.set_user_attr("ended", outcome.ended)
        self.study.tell(self.trial, outcome.value, TrialState.PRUNED if outcome.value is None else TrialState.COMPLETE)
        if outcome.value is None:
            reached = self.done[-1].last_step
            said = {"diverged": "diverged", "stopped": f"stopped after {reached} of 4 quarters, behind the others"}
            logger.info("  %s", said[outcome.ended])
        else:
            logger.info("  %s %.4f, accuracy %.1f %%", self.metric, outcome.value, 100 * float(outcome.accuracy or 0))

    @property
    def best(self) -> FrozenTrial:
        """Return the best trial, the earliest one of several that are equal.

        Raises:
            RunError: If no trial has finished.
        """
        complete = [trial for trial in self.done if trial.state == TrialState.COMPLETE]
        if not complete:
            raise RunError(
                "no trial has finished, so there is nothing to choose from. Lower the learning rates of the search "
                "space, or raise --max_hours."
            )
        return min(complete, key=lambda trial: self._sign * float(trial.value or 0))

    def table(self) -> list[str]:
        """Describe all trials in lines of at most 80 columns, the best first, and what mattered."""
        numbered = [(number, trial) for number, trial in enumerate(self.done, 1) if "same_as" not in trial.user_attrs]
        given = numbered[0][1].params
        order = sorted(
            numbered, key=lambda one: (one[1].state != TrialState.COMPLETE, self._sign * (one[1].value or 0), one[0])
        )
        columns = max(len(self.metric), 8)
        lines = [f"trial  {self.metric:>{columns}}  accuracy  {'time':>11}  and what differs from trial 1"]
        for number, trial in order:
            value, accuracy = trial.user_attrs["ended"], "–"
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                value, accuracy = f"{trial.value:.4f}", f"{100 * trial.user_attrs['accuracy']:.1f} %"
            took = duration((trial.duration or timedelta()).total_seconds())
            lines.append(f"{number:>5}  {value:>{columns}}  {accuracy:>8}  {took:>11}")
            changed = {name: each for name, each in trial.params.items() if number == 1 or each != given.get(name)}
            lines += wrap(changed, " " * 7)
        return lines + self._importances()

    def _importances(self) -> list[str]:
        """Describe how much of the differences between the trials each flag explains, if there were enough trials."""
        complete = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if len(complete) < ENOUGH_TRIALS or len({trial.value for trial in complete}) < 2:
            return []
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return ["", "what mattered, by share (a rough estimate from so few trials)"] + [
            f"  {share:4.0%}  {name}" for name, share in shares.items()
        ]

    def summary(self) -> dict[str, Any] | None:
        """Return what the card of the best trial's model says of the search.

        Returns:
            The `flags` that were searched, and the `metric` by which; the number of `trials`, without those whose
            values had been tried before; and how many of them `finished`, were `stopped`, or `diverged`. None if there
            was one trial only, so that nothing was chosen.
        """
        tried = [trial.user_attrs["ended"] for trial in self.done if "same_as" not in trial.user_attrs]
        if len(tried) < 2:
            return None
        counts = {ended: tried.count(ended) for ended in ("finished", "stopped", "diverged")}
        return {"flags": list(self.space), "metric": self.metric, "trials": len(tried), **counts}

    def sentence(self) -> str:
        """Return in one sentence which trial was best."""
        best, first = self.best, self.done[0]
        number = 1 + [trial.number for trial in self.done].index(best.number)
        beside = f"; trial 1, as given, {first.value:.4f}" if number > 1 and first.value is not None else ""
        return f"Best of {len(self.done)} trials: trial {number}, {self.metric} {best.value:.4f}{beside}."
