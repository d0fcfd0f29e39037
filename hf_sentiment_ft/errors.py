"""What can go wrong by a user's mistake or on the way to the Hub, and how it is told."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """What the user gave cannot work; the message says what was given, what is expected, and how to fix it."""


class PublishError(Exception):
    """The Hub did not take a run, or took it otherwise than it was sent; the message says how to go on."""


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says; libraries go on with advice of their own."""
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error).strip() else type(error).__name__
    )


@contextmanager
def errors_exit() -> Iterator[None]:
    """Turn these errors into one message on standard error and an exit code, without a traceback.

    A `UsageError` exits with 2, as argparse does, a `PublishError` with 1. In a run of several processes every process
    fails alike; only the first one prints.
    """
    try:
        yield
    except (UsageError, PublishError) as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
