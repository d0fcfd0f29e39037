"""Train on label words, with runs that can be killed and resumed with the same result."""

from .build import build_trainer
from .checkpoints import find_checkpoint
from .plan import print_plan, warn_of_shortcomings
from .trackers import log_results
from .trainer import LabelWordTrainer

__all__ = [
    "build_trainer",
    "find_checkpoint",
    "LabelWordTrainer",
    "log_results",
    "print_plan",
    "warn_of_shortcomings",
]
