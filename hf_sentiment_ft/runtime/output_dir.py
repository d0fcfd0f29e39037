"""The output folder: which of its files belong to a run, and which of them are published."""

import atexit
import contextlib
import logging
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

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

APPEARS_SECONDS = 10

# Files that a finished run leaves; only files on this list are published.
PUBLISHED_FILES = (
    "README.md",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "label_words/config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "all_results.json",
    "eval_results.json",
    "test_results.json",
    "test_predictions.csv",
    "eval_predictions.csv",
    "plots/training.png",
    "plots/confusion_matrix.png",
    "plots/calibration.png",
    ".eval_results/*.yaml",
    "text-classification/config.json",
    "text-classification/*.safetensors",
    "text-classification/*.safetensors.index.json",
    "text-classification/tokenizer.json",
    "text-classification/tokenizer_config.json",
    "text-classification/chat_template.jinja",
)
PRIVATE_FILES = ("training_args.bin", "train_results.json", "trainer_state.json", "card.json", "publication.json")


def published_files(folder: Path) -> list[Path]:
    """Return the files of a run that are published, by an explicit list, so that nothing else in the folder leaks."""
    return sorted({path for pattern in PUBLISHED_FILES for path in folder.glob(pattern)})


def check_output_dir(args: "TrainingArguments", overwrite: bool, models: Sequence[str]) -> None:
    """Refuse to overwrite a run unless requested, and lock the folder against other runs until this process ends.

    A refused run leaves the folder unlocked, even if the process continues, as in a notebook.

    Args:
        args: Training arguments, with the output folder and whether its run is resumed.
        overwrite: Whether to replace the run in the folder.
        models: Models that are loaded later, and must not be deleted with the run that is replaced.

    Raises:
        UsageError: If the folder is not writable, is in use, is a model's, contains a run that is neither resumed nor
            overwritten, or is not the same folder on all machines.
    """
    output_dir = Path(str(args.output_dir))
    replaced = set(_files_of_a_run(output_dir.resolve())) if overwrite else set()
    for model in models:
        path = Path(model).resolve()
        if path == output_dir.resolve() or replaced.intersection((path, *path.parents)):
            raise UsageError(
                f"--output_dir {output_dir} contains the model {model}, or would be mistaken for it. "
                "Use another folder."
            )
    with first_process_first(args, "checking the output folder"):
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=output_dir).close()
        except OSError as error:
            raise UsageError(f"--output_dir {output_dir} cannot be written to: {error.strerror}.") from error
        lock = _lock(output_dir) if args.process_index == 0 else None
        if any(_files_of_a_run(output_dir)) and not (args.resume_from_checkpoint or overwrite):
            if lock:
                _unlock(lock)
            raise UsageError(
                f"--output_dir {output_dir} already contains a run. Pass --resume_from_checkpoint true to resume "
                "it or --overwrite_output_dir to replace it, or use another folder."
            )
    _check_shared(output_dir, args)


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
    lock = FileLock(output_dir / ".lock", is_singleton=True, fallback_to_soft=False)
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


def clear_output_dir(args: "TrainingArguments") -> None:
    """Remove the run that is to be overwritten; called when all checks have passed and training begins."""
    if args.process_index == 0 and not args.resume_from_checkpoint:
        for path in _files_of_a_run(Path(str(args.output_dir))):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()  # plots or .eval_results


def _files_of_a_run(output_dir: Path) -> list[Path]:
    patterns = (*PUBLISHED_FILES, *PRIVATE_FILES, "checkpoint-*", "unfinished")
    return [path for pattern in patterns for path in output_dir.glob(pattern)]
