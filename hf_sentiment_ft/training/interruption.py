"""Handle SIGTERM, SIGINT and SIGUSR1 during training: finish the step, save a checkpoint, and print how to resume."""

import os
import shlex
import signal
import time
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import Interrupted
from ..runtime.distributed import greatest

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
# A single Ctrl-C or SIGTERM may arrive twice: from the terminal or scheduler, and again from the launcher.
SAME_SIGNAL_SECONDS = 1.0
COMMANDS = ("hf_sentiment_ft.train", "hf_sentiment_ft.tune")


class SaveOnSignal(TrainerCallback):
    """Stop all processes after the same step, with a checkpoint.

    Any process may get the signal. A second SIGTERM or SIGINT ends the process immediately. If an evaluation is due, it
    is finished first, since the choice of the best checkpoint depends on it.
    """

    def __init__(self) -> None:
        self.received = 0
        self.asked_at = float("inf")  # time of the first SIGTERM or SIGINT
        self.agreed = 0
        self.may_stop = False
        self.before: dict[signal.Signals, Any] = {}

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Install the signal handlers; before training, there is nothing to save."""
        self.before = {signum: signal.signal(signum, self._receive) for signum in SIGNALS}

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Restore the previous signal handlers."""
        for signum, handler in self.before.items():
            signal.signal(signum, handler)
        self.before = {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Agree across processes on whether a signal has arrived, and if so, save and stop.

        After the last step of an epoch or of the run, whatever else is due comes first.
        """
        self.agreed = greatest(args, self.received)
        self.may_stop = bool(self.agreed) and not control.should_training_stop and not float(state.epoch).is_integer()
        self._save(args, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop here if the signal arrived during the epoch's last step."""
        self.may_stop = bool(self.agreed)
        self._save(args, control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave training, now that the checkpoint is written.

        Raises:
            Interrupted: If a signal has arrived; the message has the command that resumes the run.
        """
        if self.may_stop:
            checkpoint = os.path.join(str(args.output_dir), f"checkpoint-{state.global_step}")
            name = signal.Signals(self.agreed).name
            raise Interrupted(
                f"stopped by {name} after step {state.global_step} of {state.max_steps}; saved {checkpoint}. "
                f"To resume, run:\n\n    {resume_command()}\n",
                self.agreed,
            )

    def _save(self, args: TrainingArguments, control: TrainerControl) -> None:
        if self.may_stop:
            control.should_save = True
            args.save_only_model = False  # otherwise the run could not resume from it

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self.asked_at > SAME_SIGNAL_SECONDS and signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        if signum in (signal.SIGTERM, signal.SIGINT):
            self.asked_at = min(now, self.asked_at)
        self.received = self.received or signum


def resume_command() -> str:
    """Return the command that resumes this run.

    It is the command that started the run, including its launcher, without the token and with `--resume_from_checkpoint
    true`.
    """
    import psutil

    words = list(psutil.Process().cmdline())
    parent = psutil.Process().parent()
    launcher = parent.cmdline() if parent is not None else []
    if any(word.endswith(COMMANDS) for word in launcher) and not launcher[0].endswith(("sh", "timeout")):
        words = launcher
    for start, word in enumerate(words):
        if word in ("accelerate.commands.launch", "torch.distributed.run"):
            words = [{"accelerate.commands.launch": "accelerate launch"}.get(word, "torchrun"), *words[start + 1 :]]
            break
        if os.path.basename(word) in ("accelerate", "torchrun"):
            words = [os.path.basename(word), *words[start + 1 :]]
            break
    return " ".join([*_kept(words), "--resume_from_checkpoint true"])


def _kept(words: list[str]) -> list[str]:
    """Quote the words of a command for a shell, without the flags that must not or need not be repeated."""
    kept, skip_value = [], False
    for word in words:
        name = word.split("=")[0]
        if name in ("--hub_token", "--push_to_hub_token", "--resume_from_checkpoint", "--overwrite_output_dir"):
            skip_value = "=" not in word
        elif skip_value and not word.startswith("--"):
            skip_value = False
        else:
            skip_value = False
            kept.append(word if word == "accelerate launch" else shlex.quote(word))
    return kept
