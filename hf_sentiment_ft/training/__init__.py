"""Train on label words, and go on after a kill as if nothing had happened."""

from .checkpoints import find_checkpoint
from .plan import advise, describe_plan
from .trainer import LabelWordTrainer, build_trainer

__all__ = [
    "advise",
    "build_trainer",
    "describe_plan",
    "find_checkpoint",
    "LabelWordTrainer",
]
