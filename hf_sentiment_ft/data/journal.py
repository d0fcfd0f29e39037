"""What an interrupted run of `predict` has found out, beside its output, so that the same command goes on behind it.

The output itself is written anew, which takes no time without the model. So it may be of any type, also Parquet and
compressed, and no row can be missing or appear twice.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import UsageError

logger = logging.getLogger(__name__)


class Journal:
    """Probabilities of the labels, one line of JSON for each row, behind a line that says of what.

    Attributes:
        path: The file, hidden beside the output.
        num_rows: Number of rows that are in the file.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Read what an earlier run has left, if it was the same, and forget it otherwise.

        Args:
            path: The file.
            run: All that the probabilities depend on, as JSON.
        """
        self.path = path
        beginning = json.dumps(run) + "\n"
        found = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        if found and found[0] != beginning:
            logger.warning("An interrupted run left %s, but of another model or input; it is labelled anew.", path)
            found = []
        whole = [line for line in found if line.endswith("\n")] or [beginning]  # it may have ended within the last one
        path.write_text("".join(whole), encoding="utf-8")
        self.num_rows = len(whole) - 1
        self._known = map(json.loads, whole[1:])

    def end(self, keep: bool) -> None:
        """Delete the file, unless it is to be kept and contains anything."""
        if not (keep and self.num_rows):
            self.path.unlink(missing_ok=True)

    def take(self, count: int) -> list[list[float]]:
        """Return the probabilities of the next rows, as far as they are known."""
        return list(islice(self._known, count))

    def add(self, probabilities: Sequence[Sequence[float]]) -> None:
        """Keep the probabilities of the rows behind those that are known."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in probabilities)
        self.num_rows += len(probabilities)


@contextmanager
def journal_beside(output: Path, run: dict[str, Any]) -> Iterator[Journal]:
    """Yield the journal of an output file, and delete it when all rows have been written.

    Args:
        output: The output file.
        run: All that the probabilities depend on, as JSON.

    Raises:
        UsageError: If another process is writing the same file.
    """
    output = output.resolve()
    lock = FileLock(output.with_name(f".{output.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"--output_file is {output}, which another process is writing. Use another file.") from error
    try:
        for unfinished in output.parent.glob(f".{escape(output.name)}.*.partial"):  # of a process that was killed
            unfinished.unlink()
        journal = Journal(output.with_name(f".{output.name}.journal"), run)
        try:
            yield journal
        except BaseException:
            journal.end(keep=True)
            raise
        journal.end(keep=False)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
