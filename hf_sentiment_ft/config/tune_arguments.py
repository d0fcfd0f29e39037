"""The flags of a search, besides those of training."""

from dataclasses import dataclass

from ..errors import UsageError
from .arguments import flag

NUM_TRIALS = 20


@dataclass
class TuneArguments:
    """Arguments for the search."""

    num_trials: int | None = flag(
        None, f"Number of trials. Default: {NUM_TRIALS}. The first one has the flags as given."
    )
    max_hours: float | None = flag(None, "Begin no further trial after this many hours of trials.")
    search_space: str | None = flag(
        None,
        "YAML file of what to search, such as 'learning_rate: [1e-5, 2e-4, log]' or 'weight_decay: [0, 0.1]'. Default: "
        "learning rate, batch size, epochs, weight decay, label smoothing, prompt, label words, and the rank of LoRA, "
        "unless they are given as flags.",
    )

    def __post_init__(self) -> None:
        if self.num_trials is not None and self.num_trials < 1:
            raise UsageError(f"--num_trials is {self.num_trials}; expected at least 1.")
        if self.max_hours is not None and not 0 < self.max_hours < float("inf"):
            raise UsageError(f"--max_hours is {self.max_hours}; expected more than 0.")
