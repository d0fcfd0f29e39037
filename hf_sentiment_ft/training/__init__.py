"""Train on label words, with runs that can be killed and resumed with the same result."""

from .checkpoints import find_checkpoint
from .plan import advise, print_plan
from .trainer import LabelWordTrainer, build_trainer

__all__ = [
    "advise",
    "build_trainer",
    "print_plan",
    "find_checkpoint",
    "LabelWordTrainer",
]
