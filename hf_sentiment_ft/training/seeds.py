"""Several seeds in one output folder: one subfolder for each, and which of them a stopped run has finished."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .fingerprint import refuse_other_settings, settings_of

if TYPE_CHECKING:
    from ..config.arguments import Arguments

logger = logging.getLogger(__name__)

FINISHED = "seeds.json"


def seed_folders(flags: "Arguments") -> dict[int, Path]:
    """Return the output folder of each seed.

    Raises:
        UsageError: If a flag does not work with several seeds.
    """
    args = flags.training
    if args.resume_from_checkpoint not in (None, "true", "false"):
        raise UsageError(
            f"--resume_from_checkpoint is {args.resume_from_checkpoint}, but --num_seeds {flags.run.num_seeds} has a "
            "checkpoint for each seed; use --resume_from_checkpoint true."
        )
    if args.push_to_hub and args.hub_strategy != "end":
        raise UsageError(
            f"--hub_strategy is {args.hub_strategy}, but with --num_seeds {flags.run.num_seeds}, which model is "
            "published is known only at the end; use --hub_strategy end."
        )
    seeds = range(args.seed, args.seed + flags.run.num_seeds)
    return {seed: Path(str(args.output_dir), f"seed-{seed}") for seed in seeds}


def flags_of_seed(argv: list[str], flags: "Arguments", seed: int, folder: Path) -> list[str]:
    """Return the command line that trains one of the seeds, on the same rows as the others, without publishing it."""
    rows = flags.training.seed if flags.data.sampling_seed is None else flags.data.sampling_seed
    ours = {"seed": seed, "sampling_seed": rows, "output_dir": folder, "num_seeds": 1, "push_to_hub": False}
    if flags.hub.push_space:
        ours["push_space"] = ""  # what the Space needs is still checked
    return [*argv, *(f"--{name}={value}" for name, value in ours.items())]


def finished_seeds(flags: "Arguments") -> list[int]:
    """Return the seeds that the run to be resumed has finished.

    Raises:
        UsageError: If it was started with other settings.
    """
    path = Path(str(flags.training.output_dir), FINISHED)
    if flags.training.resume_from_checkpoint != "true" or not path.is_file():
        return []
    saved, now = json.loads(path.read_text(encoding="utf-8")), settings_of(flags)
    refuse_other_settings(path.parent, saved["settings"], now)
    return [seed for seed in saved["finished"] if (path.parent / f"seed-{seed}" / "all_results.json").is_file()]


def mark_finished(flags: "Arguments", seeds: list[int]) -> None:
    """Save which seeds are finished, so that a run that is stopped need not train them again."""
    path = Path(str(flags.training.output_dir), FINISHED)
    path.write_text(json.dumps({"settings": settings_of(flags), "finished": seeds}, indent=2) + "\n", encoding="utf-8")
