"""Checkpoint folders: which are complete, which is the newest, and whether a run can resume from it."""

import json
import logging
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import UsageError
from ..runtime.distributed import from_first_process
from ..runtime.run_files import CONTENTS, UNFINISHED, UNLISTED, is_own_checkpoint

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

NOT_NEEDED = ("training_args.bin", CONTENTS)


def find_checkpoint(args: "TrainingArguments") -> str | None:
    """Return the checkpoint that `--resume_from_checkpoint` names.

    `true` means the newest good checkpoint in the output folder. With several processes, the first one searches for
    all, since they must resume from the same checkpoint.

    Args:
        args: Training arguments, with `resume_from_checkpoint` as given by the user. It is set to None if it is
            `false`.

    Returns:
        The checkpoint's folder; None to start from the beginning.

    Raises:
        UsageError: If the named folder is not a checkpoint, is damaged, contains only the model, or is missing on a
            machine.
    """
    given = args.resume_from_checkpoint
    if given is None or given.lower() == "false":
        args.resume_from_checkpoint = None
        return None
    found = from_first_process(args, "looking for the checkpoint", lambda: _find(given, Path(str(args.output_dir))))
    if found and not Path(found, "trainer_state.json").is_file():
        raise UsageError(
            f"the checkpoint {found} does not exist on {socket.gethostname()}. Put it on a file system that all "
            "machines share, and pass its full path."
        )
    return found


def _find(given: str, output_dir: Path) -> str | None:
    if given.lower() == "true":
        for folder in reversed(checkpoint_folders(output_dir)):
            damage = find_damage(folder)
            if damage is None:
                return str(folder)
            logger.warning("Skipping %s, since %s.", folder, damage)
        logger.info("No checkpoint to resume from in %s. Training starts from the beginning.", output_dir)
        return None
    folder = Path(given)
    if not (folder / "trainer_state.json").is_file():
        raise UsageError(
            f"--resume_from_checkpoint is {given}, which is not a checkpoint folder. Use a folder such as "
            "./output/checkpoint-500, or true for the newest checkpoint in --output_dir."
        )
    damage = find_damage(folder) if (folder / CONTENTS).is_file() else None
    if damage is not None:
        raise UsageError(
            f"--resume_from_checkpoint is {given}, but {damage}. Use --resume_from_checkpoint true to resume from the "
            "newest complete checkpoint in --output_dir."
        )
    return given


def checkpoint_folders(output_dir: Path) -> list[Path]:
    """Return the checkpoints of a run in the order of their steps, including damaged ones."""
    folders = [folder for folder in output_dir.glob("checkpoint-*") if folder.name[11:].isdecimal()]
    return sorted(folders, key=lambda folder: int(folder.name[11:]))


def delete_old_checkpoints(newest: Path, best: str | None, limit: int | None) -> None:
    """Delete checkpoints until `limit` are left: damaged ones first, then the oldest, never the newest or the best.

    Folders of other people, or with files of theirs in them, are left alone and do not count. Trainer's own deletion
    identifies the newest and the best by time and by how their paths are spelled. But an incomplete checkpoint can have
    the latest time or number, and `--output_dir` can be spelled differently when a run is resumed.

    Args:
        newest: Checkpoint just written, which is complete.
        best: Best checkpoint so far; None if there is none.
        limit: `--save_total_limit`; None for no limit.
    """
    folders = [folder for folder in checkpoint_folders(newest.parent) if is_own_checkpoint(folder)]
    kept = (newest.name, best and Path(best).name)
    spare = [folder for folder in folders if folder.name not in kept]
    spare.sort(key=lambda folder: find_damage(folder) is None)
    unfinished = newest.parent / UNFINISHED
    for folder in spare[: max(0, len(folders) - limit) if limit else 0]:
        unfinished.mkdir(exist_ok=True)
        with suppress(OSError):  # it is protected, and stays
            folder.rename(unfinished / folder.name)  # a kill must not leave part of it under its name
    shutil.rmtree(unfinished, ignore_errors=True)


def find_damage(folder: Path) -> str | None:
    """Return why a run cannot resume from a checkpoint, or None if the checkpoint is complete.

    A checkpoint has its name only while it is complete, whenever a run is killed. But a copy or a download of it can be
    interrupted, a power failure can empty its newest files, and runs of version 0.1.0 deleted it in place.
    """
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"it is incomplete ({CONTENTS} or trainer_state.json is missing or truncated)"
    for name, size in contents["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"it is incomplete ({name} is missing or truncated)"
    return "it was saved with --save_only_model" if contents["save_only_model"] else None


def finish_checkpoint(folder: Path, final: Path, run: dict[str, Any], save_only_model: bool) -> None:
    """Record a checkpoint's files and give the checkpoint its final name.

    Args:
        folder: Folder in which it was written, on the same disk as `final`.
        final: Its final name; an older checkpoint of that name is replaced.
        run: Return value of `describe_run`.
        save_only_model: Whether the checkpoint lacks what is needed to resume.

    Raises:
        FileExistsError: If somebody else has put something there in the meantime.
    """
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    # The state is left out, since its copy on the Hub has a different size; `find_damage` parses it instead.
    files = {name: size for name, size in sizes.items() if name not in UNLISTED}
    contents = {"files": files, "save_only_model": save_only_model, "run": run}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=2), encoding="utf-8")
    if final.exists():
        if not is_own_checkpoint(final):
            raise FileExistsError(f"{final} is in the way, which this run has not written")
        final.rename(folder.parent / "replaced")
    folder.rename(final)
    shutil.rmtree(folder.parent)


class RecoverBestCheckpoint(TrainerCallback):
    """Let `--load_best_model_at_end` choose among the checkpoints that can be loaded.

    A checkpoint that was downloaded from the Hub or moved comes without the earlier best checkpoint. Trainer forgets
    that folder but not its score, so a run that does not improve on it would end with its last weights.
    """

    def __init__(self, checkpoint: str) -> None:
        """Set the checkpoint to resume from; its `step` is known when training begins."""
        self.checkpoint, self.step = Path(checkpoint), 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the best checkpoint next to the one to resume from; otherwise start the comparison at that one.

        A sibling folder takes precedence over the recorded path, which may be another folder if the working directory
        changed.
        """
        self.step = state.global_step
        if state.best_metric is None:
            return
        beside = self.checkpoint.parent / f"checkpoint-{state.best_global_step}"
        if beside.is_dir():
            state.best_model_checkpoint = str(beside)
        if not args.load_best_model_at_end or state.best_model_checkpoint is not None:
            return
        metric = f"eval_{str(args.metric_for_best_model).removeprefix('eval_')}"
        scores = [
            entry[metric] for entry in state.log_history if entry["step"] == state.global_step and metric in entry
        ]
        if state.best_global_step != state.global_step:
            lost = f"The best checkpoint so far (step {state.best_global_step}, {metric} {state.best_metric:.4f})"
            candidates = f"this one (step {state.global_step}, {scores[-1]:.4f}) and " if scores else ""
            logger.warning(
                "%s is missing. The best model will be chosen from %sthe checkpoints saved from now on.",
                lost,
                candidates,
            )
        state.best_metric = scores[-1] if scores else None
        state.best_global_step = state.global_step if scores else None
        state.best_model_checkpoint = str(self.checkpoint) if scores else None
