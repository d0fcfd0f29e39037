"""The output folder: what must not be in it when a run begins, and its lock."""

import atexit
import contextlib
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, Timeout

from ..errors import UsageError
from .distributed import first_process_first, from_first_process, gather
from .run_files import (
    CLASSIFIER_FILES,
    ONNX_FILES,
    RECORD,
    RUN_FILES,
    begin_files,
    foreign_files,
    is_named,
    own_files,
    present_files,
)

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

APPEARS_SECONDS = 10


def check_output_dir(
    args: "TrainingArguments", overwrite: bool, models: Sequence[str], written: Sequence[str] = RUN_FILES
) -> None:
    """Refuse to overwrite a run unless requested, or anything else ever, and lock the folder until this process ends.

    A refused run leaves the folder unlocked, even if the process continues, as in a notebook.

    Args:
        args: Training arguments, with the output folder and the checkpoint to resume from.
        overwrite: Whether to replace the run in the folder.
        models: Models that are loaded later, and must not be deleted with the run that is replaced.
        written: Names of the files that the run will write.

    Raises:
        UsageError: If the folder is not writable, is in use, is a model's, contains a run that is neither resumed nor
            overwritten, contains files of others that would be overwritten, or is not the same folder on all machines.
    """
    output_dir = Path(str(args.output_dir))
    replaced = set(present_files(output_dir.resolve(), RUN_FILES).values()) if overwrite else set()
    for model in models:
        path = Path(model).resolve()
        if path == output_dir.resolve() or replaced.intersection((path, *path.parents)):
            raise UsageError(
                f"--output_dir {output_dir} contains the model {model}, which this run would overwrite. Use another "
                "folder."
            )
    with first_process_first(args, "checking the output folder"):
        try:
            try_writing(output_dir)
        except FileExistsError as error:
            raise UsageError(f"--output_dir {output_dir} is not a folder. Use another name.") from error
        except OSError as error:
            raise UsageError(f"--output_dir {output_dir} cannot be written to: {error.strerror}.") from error
        lock = _lock(output_dir) if args.process_index == 0 else None
        try:
            if any(own_files(output_dir)) and not (args.resume_from_checkpoint or overwrite):
                raise UsageError(
                    f"--output_dir {output_dir} already contains a run. Pass --resume_from_checkpoint true to resume "
                    "it or --overwrite_output_dir to replace it, or use another folder."
                )
            refuse_foreign_files(output_dir, written, args.resume_from_checkpoint)
        except UsageError:
            if lock:
                _unlock(lock)
            raise
    _check_shared(output_dir, args)


def try_writing(folder: Path) -> None:
    """Create a folder if it does not exist, and write a megabyte there for a moment.

    Raises:
        OSError: If there is no permission or no space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 20))


def refuse_foreign_files(output_dir: Path, written: Sequence[str], resumed: str | None = None) -> None:
    """Refuse to replace files that no run has written, or that somebody has changed since.

    Args:
        output_dir: Output folder.
        written: Names of the files that the run will write.
        resumed: Checkpoint to resume from, `true` for the newest one; those of earlier steps are not written again.
            None for no checkpoint.

    Raises:
        UsageError: If there are such files.
    """
    done = [path.name for path in own_files(output_dir)] if resumed == "true" else [Path(resumed or "").name]
    steps = [int(name[11:]) for name in done if name.startswith("checkpoint-") and name[11:].isdecimal()]
    found = [
        path.relative_to(output_dir).as_posix()
        for path in foreign_files(output_dir, written)
        if not path.name.startswith("checkpoint-") or int(path.name[11:]) > max(steps, default=0)
    ]
    if found:
        raise UsageError(
            f"--output_dir {output_dir} contains files that no run has written, or that have been changed since, and "
            f"that this run would replace: {', '.join(found)}. Move them elsewhere, or use another folder."
        )


def _check_shared(output_dir: Path, args: "TrainingArguments") -> None:
    """Check that all processes see the same folder: a file written by the first one must appear to the others.

    Each process writes its part of a checkpoint, and all of them load the best one.
    """
    if args.world_size == 1:
        return
    what, here = "checking that the output folder is shared", f"{socket.gethostname()}:{output_dir.resolve()}"
    with contextlib.ExitStack() as stack:

        def write() -> tuple[str, str]:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix=".shared-", dir=output_dir))
            return here, Path(file.name).name

        there, name = from_first_process(args, what, write)
        elsewhere = {place for place in gather(args, what, "" if _appears(output_dir / name) else here) if place}
    if elsewhere:
        raise UsageError(
            f"--output_dir {output_dir} is not shared by all machines: a file written to {there} does not appear in "
            f"{', '.join(sorted(elsewhere))}. Use the full path of a folder on a file system that all machines share."
        )


def _appears(path: Path) -> bool:
    """Return whether a file exists or appears soon; network file systems may show a new file late."""
    last = time.monotonic() + APPEARS_SECONDS
    while not path.exists() and time.monotonic() < last:
        time.sleep(0.1)
    return path.exists()


def _lock(output_dir: Path) -> BaseFileLock:
    """Acquire the folder's lock, which the operating system releases when the process ends, even if it is killed."""
    path = output_dir / ".lock"
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or path.stat().st_size):
        raise UsageError(
            f"--output_dir {output_dir} contains a .lock that is not a run's. Move it elsewhere, or use another folder."
        )
    lock = FileLock(path, is_singleton=True, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UsageError(
            f"--output_dir {output_dir} is in use by another run. Wait until it has ended, or use another folder."
        ) from None
    except OSError as error:  # some network file systems do not support locks
        logger.warning("%s cannot be locked (%s); make sure that only one run uses it.", output_dir, error.strerror)
    atexit.register(_unlock, lock)
    return lock


def _unlock(lock: BaseFileLock) -> None:
    if lock.is_locked:  # otherwise, its file may be another run's by now
        with contextlib.suppress(OSError):  # it may be gone, or read-only by now
            Path(lock.lock_file).unlink()
        lock.release(force=True)


def begin_run(args: "TrainingArguments", written: Sequence[str] = RUN_FILES) -> None:
    """Remove the run that is to be overwritten, and record which files belong to the new one.

    Called when all checks have passed and training begins.

    Args:
        args: Training arguments, with the output folder and the checkpoint to resume from.
        written: Names of the files that the run will write.
    """
    clear_output_dir(args)
    if args.process_index == 0:
        begin_files(Path(str(args.output_dir)), written)


def clear_output_dir(args: "TrainingArguments") -> None:
    """Remove the run in the output folder, and nothing else; if it is to be resumed, only what was exported from it."""
    output_dir = Path(str(args.output_dir))
    if args.process_index != 0:
        return
    resumed = bool(args.resume_from_checkpoint)
    for path in own_files(output_dir):
        if resumed and not is_named(path.relative_to(output_dir).as_posix(), (*CLASSIFIER_FILES, *ONNX_FILES)):
            continue  # the exported models would be published beside the new weights
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
            if path.parent != output_dir and not any(path.parent.iterdir()):
                path.parent.rmdir()  # such as plots
    if not resumed and (output_dir / RECORD).is_file():
        (output_dir / RECORD).unlink()
