"""Access to the Hub: time limits, retries, the errors of its client, and what other people's repositories say."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError, explain, status_code

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
ignored_readmes: set[Path] = set()
PATIENCE = 30  # seconds, for reads before training, when a person is waiting


def limit_waiting(seconds: int) -> None:
    """Give every request a time limit; the Hub's client has none, and a stalled server would block a run forever.

    Args:
        seconds: Longest wait for a connection, or for the next part of a response.
    """
    import huggingface_hub
    from huggingface_hub.utils import httpx
    from huggingface_hub.utils._http import default_client_factory

    def limit(request: Any) -> None:
        # Some calls of the Hub's client disable the limit, such as `model_info`.
        limits = request.extensions["timeout"].items()
        request.extensions["timeout"] = {name: seconds if limit is None else limit for name, limit in limits}

    def refuse_busy(response: Any) -> None:
        # The Hub creates one repository per user at a time; meanwhile, `create_repo` retries forever without a pause.
        if response.status_code == 409 and b"another conflicting operation" in response.read():
            raise ConnectionError("the Hub is busy with another operation of this user")

    def client() -> Any:
        limited = default_client_factory()
        limited.timeout = httpx.Timeout(seconds)
        limited.event_hooks["request"].append(limit)
        limited.event_hooks["response"].append(refuse_busy)
        return limited

    huggingface_hub.set_client_factory(client)


def hub_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a call to the Hub raises if it is refused, the network fails, or the disk is full."""
    from huggingface_hub.utils import httpx

    # OSError includes HfHubHTTPError and the errors of Xet. The client raises RuntimeError for a failed LFS upload and
    # ValueError for a rejected card.
    return (OSError, httpx.HTTPError, RuntimeError, ValueError)


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may help: by the HTTP status or, without one, because no complete response came."""
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import httpx

    if constants.HF_HUB_OFFLINE:
        return False
    status, causes = status_code(error), (error, error.__cause__)
    if status is not None:
        return status in TRANSIENT_STATUS
    # LocalEntryNotFoundError: the file is not in the cache, and the Hub could not be reached.
    unanswered = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.DecodingError)
    broken = (*unanswered, ConnectionError, JSONDecodeError, LocalEntryNotFoundError)
    return any(isinstance(cause, broken) for cause in causes)


def with_retries(call: Callable[[], Answer], timeout: float = PATIENCE) -> Answer:
    """Call a function, and retry transient errors for up to twice `timeout` seconds.

    Twice, so that one request that is never answered leaves time for another. The Hub's client retries file uploads
    itself, but not the calls that create a repository, a commit or a tag. Our calls are safe to repeat: each asks for a
    state, not for a change.

    Args:
        call: The function, without arguments.
        timeout: Half of the time in which errors are retried, in seconds.

    Returns:
        What the function returns.

    Raises:
        Exception: The last error, if it is not transient or the time is up.
    """
    deadline, pause = time.monotonic() + 2 * timeout, 1.0
    while True:
        try:
            return call()
        except hub_errors() as error:
            wait = max(pause, _retry_after(error))
            if not is_transient(error) or time.monotonic() + wait > deadline:
                raise
            logger.warning("Request to the Hub failed: %s. Retrying in %.0f s.", explain(error), wait)
            time.sleep(wait)
            pause = min(2 * pause, 8.0)


@contextmanager
def refuse_if_it_fails(
    problem: str, *more: type[Exception], describe: Callable[[Exception], str] = explain
) -> Iterator[None]:
    """Turn the errors of the Hub's client, and of libraries that load through it, into a `UsageError`.

    Args:
        problem: Beginning of its message, such as "no tokenizer could be loaded from gpt2".
        *more: Further exceptions that the library raises if a file is damaged or a package is missing.
        describe: Gives the rest of the message, without the full stop.

    Raises:
        UsageError: If the code within the context fails in one of these ways.
    """
    try:
        yield
    except (*hub_errors(), *more) as error:
        raise UsageError(f"{problem}: {describe(error).removesuffix('.')}.") from error


def read_front_matter(readme: Path) -> dict[str, Any]:
    """Return the metadata at the top of a README.md, which anybody may have written.

    Args:
        readme: File on this machine, such as a download.

    Returns:
        The metadata; empty if there is none or, with one warning, if it cannot be read.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    try:
        block = REGEX_YAML_BLOCK.search(readme.read_text(encoding="utf-8-sig"))
        return parse_mapping(block[2]) if block else {}
    except (OSError, ValueError) as error:
        ignore_readme(readme, error)
        return {}


def parse_mapping(text: str) -> dict[str, Any]:
    """Parse YAML that consists of one mapping, with all scalars as strings: `language: no` is Norwegian.

    Raises:
        ValueError: If the text is not such YAML.
    """
    import yaml

    try:
        values = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(explain(error)) from error
    if not isinstance(values, dict | None):
        raise ValueError(f"it is a {type(values).__name__}; expected lines of the form name: value")
    return values or {}


def ignore_readme(readme: Path, error: Exception) -> None:
    """Warn that the metadata of a file is ignored: once, though it is read for the rows and for the model card."""
    if readme.resolve() not in ignored_readmes:
        ignored_readmes.add(readme.resolve())
        logger.warning("The metadata of %s is ignored, since it cannot be read: %s.", readme, explain(error))


def _retry_after(error: Exception) -> float:
    headers = getattr(getattr(error, "response", None), "headers", {})
    return float(headers["Retry-After"]) if str(headers.get("Retry-After", "")).isdigit() else 0.0
