"""The one exception that stands for a user's mistake."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """What the user gave cannot work; the message says what was given, what is expected, and how to fix it."""


@contextmanager
def usage_errors_exit() -> Iterator[None]:
    """Turn a `UsageError` into one line on standard error and exit code 2, without a traceback.

    In a run of several processes every process fails alike; only the first one prints.
    """
    try:
        yield
    except UsageError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
