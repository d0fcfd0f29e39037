"""Train on label words, with runs that can be killed and resumed with the same result."""

from .build import build_trainer
from .checkpoints import find_checkpoint
from .fingerprint import settings_of
from .plan import print_plan, warn_of_shortcomings
from .seeds import finished_seeds, flags_of_seed, mark_finished, seed_folders
from .trackers import log_results
from .trainer import LabelWordTrainer

__all__ = [
    "build_trainer",
    "find_checkpoint",
    "finished_seeds",
    "flags_of_seed",
    "LabelWordTrainer",
    "log_results",
    "mark_finished",
    "print_plan",
    "seed_folders",
    "settings_of",
    "warn_of_shortcomings",
]
