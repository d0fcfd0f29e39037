"""Checkpoint folders: which is whole, which is the newest, and whether a run may go on from it."""

import json
import logging
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import UsageError
from ..runtime.distributed import from_first_process

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

UNFINISHED = "unfinished"  # what is being written in the output folder, and gets its name when it is whole
CONTENTS = "checkpoint.json"  # in each checkpoint: its files and their sizes, and what run it belongs to
NOT_NEEDED = ("training_args.bin", CONTENTS)


def find_checkpoint(args: "TrainingArguments") -> str | None:
    """The checkpoint that `--resume_from_checkpoint` names; `true` stands for the newest good one in the output folder.

    The first of several processes looks for all, which have to go on from the same one.

    Returns:
        Its folder; None to start from the beginning.

    Raises:
        UsageError: If the named one is no checkpoint, is damaged, holds only the model, or is not on every machine.
    """
    given = args.resume_from_checkpoint
    if given is None or given.lower() == "false":
        args.resume_from_checkpoint = None
        return None
    found = from_first_process(args, "looking for the checkpoint", lambda: _find(given, Path(str(args.output_dir))))
    if found and not Path(found, "trainer_state.json").is_file():
        raise UsageError(
            f"the checkpoint {found} is not seen on {socket.gethostname()}. Put it on a file system that all machines "
            "share, and name it by its full path."
        )
    return found


def _find(given: str, output_dir: Path) -> str | None:
    if given.lower() == "true":
        for folder in reversed(checkpoint_folders(output_dir)):
            damage = find_damage(folder)
            if damage is None:
                return str(folder)
            logger.warning("%s is passed over: %s.", folder, damage)
        logger.info("%s holds no checkpoint to go on from; training starts from the beginning.", output_dir)
        return None
    folder = Path(given)
    if not (folder / "trainer_state.json").is_file():
        raise UsageError(f"--resume_from_checkpoint is {given}, which is not a checkpoint folder.")
    damage = find_damage(folder) if (folder / CONTENTS).is_file() else None
    if damage is not None:
        raise UsageError(
            f"--resume_from_checkpoint is {given}, but {damage}. With true instead of a folder, the newest good "
            "checkpoint of --output_dir is taken."
        )
    return given


def checkpoint_folders(output_dir: Path) -> list[Path]:
    """A run's checkpoints, damaged ones included, by step."""
    folders = [folder for folder in output_dir.glob("checkpoint-*") if folder.name[11:].isdecimal()]
    return sorted(folders, key=lambda folder: int(folder.name[11:]))


def delete_old_checkpoints(newest: Path, best: str | None, limit: int | None) -> None:
    """Delete checkpoints until `limit` are left: damaged ones first, then the oldest, never the newest and the best.

    Trainer's own deletion takes the newest and the best by time and by the spelling of their path. A cut-off checkpoint
    can have the latest time or number, and `--output_dir` can be spelled in another way when a run goes on.

    Args:
        newest: The one just written, which is whole.
        best: The best one so far.
        limit: `--save_total_limit`; None for no limit.
    """
    folders = checkpoint_folders(newest.parent)
    kept = (newest.name, best and Path(best).name)
    spare = [folder for folder in folders if folder.name not in kept]
    spare.sort(key=lambda folder: find_damage(folder) is None)
    for folder in spare[: max(0, len(folders) - limit) if limit else 0]:
        shutil.rmtree(folder, ignore_errors=True)


def find_damage(folder: Path) -> str | None:
    """What keeps a run from going on from a checkpoint; None if it is whole.

    A checkpoint gets its name when it is whole, but its deletion can be cut off, and a copy too.
    """
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"it is not whole, {CONTENTS} or trainer_state.json is missing or cut off"
    for name, size in contents["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"it is not whole, {name} is missing or cut off"
    return "it was saved with --save_only_model" if contents["save_only_model"] else None


def finish_checkpoint(folder: Path, final: Path, run: dict[str, Any], save_only_model: bool) -> None:
    """List a checkpoint's files and give it its final name.

    Args:
        folder: Where it was written, on the same disk as `final`.
        final: Its name; an older checkpoint there is replaced.
        run: What `describe_run` says of the run.
        save_only_model: Whether it lacks what is needed to go on from.
    """
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    # The state is left out, since its copy on the Hub has another size; it is read instead.
    files = {name: size for name, size in sizes.items() if name not in (*NOT_NEEDED, "trainer_state.json")}
    contents = {"files": files, "save_only_model": save_only_model, "run": run}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=2), encoding="utf-8")
    if final.exists():
        final.rename(folder.parent / "replaced")
    folder.rename(final)
    shutil.rmtree(folder.parent)


class RecoverBestCheckpoint(TrainerCallback):
    """Let `--load_best_model_at_end` choose among the checkpoints that can be loaded.

    A checkpoint from the Hub, or one that was moved, comes without the best one before it. Trainer forgets that folder
    but not its score, so that a run without a better one would end with its last weights.
    """

    def __init__(self, checkpoint: str) -> None:
        """Set the checkpoint to go on from."""
        self.checkpoint = Path(checkpoint)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the best checkpoint beside the one to go on from; otherwise count from that one.

        The path that it had may mean another folder in another working directory, so that beside comes first.
        """
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
            lost = f"The best checkpoint so far, of step {state.best_global_step} ({metric} {state.best_metric:.4f})"
            chosen = f"that of step {state.global_step} ({scores[-1]:.4f}) and those" if scores else "those"
            logger.warning("%s, is not there; the best is now chosen among %s to come.", lost, chosen)
        state.best_metric = scores[-1] if scores else None
        state.best_global_step = state.global_step if scores else None
        state.best_model_checkpoint = str(self.checkpoint) if scores else None
