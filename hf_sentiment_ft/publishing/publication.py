"""Publish a finished run: write its card, push, verify what was pushed, and record the outcome."""

import json
import logging
import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import PublishError, explain
from ..hub import hub_errors, with_retries
from ..runtime.run_files import published_files
from .card import CARD_VALUES, below_the_line, render_card
from .examples import sample_answers
from .metadata import minimal_metadata
from .notebook import NOTEBOOK, save_notebook
from .repository import Destination, push, read_file, read_text, set_tag
from .space import prepare_space, publish_space
from .verify import verify

logger = logging.getLogger(__name__)

RECORD = "publication.json"


def retry_command(folder: Path, destination: Destination) -> str:
    """Return the command that publishes this run again, without the token.

    Args:
        folder: Folder of the finished run.
        destination: Where the run is published.
    """
    command = ["python", "-m", "hf_sentiment_ft.publish", str(folder), "--hub_model_id", destination.repo_id]
    command += ["--hub_revision", destination.revision] if destination.revision != "main" else []
    command += ["--hub_tag", destination.tag] if destination.tag else []
    if (space := destination.space) is not None:
        command += ["--push_space", space.repo_id]
        command += ["--space_sdk", str(space.space_sdk)] if space.space_sdk != "static" else []
    flags = {"private_repo": destination.private, "create_pr": destination.create_pr, "overwrite": destination.replace}
    return shlex.join(command + [f"--hub_{name}" for name, given in flags.items() if given])


def publish_run(folder: Path, destination: Destination) -> dict[str, Any]:
    """Write the card, push, verify, and record the outcome in `publication.json`.

    Args:
        folder: Folder of the finished run.
        destination: Where to publish it.

    Returns:
        The contents of `publication.json`.

    Raises:
        PublishError: If any of these steps fails. The run stays as it was, and the message has the command to retry.
    """
    command = retry_command(folder, destination)
    record: dict[str, Any] = {"repo_id": destination.repo_id, "branch": destination.revision}
    record |= {"status": "begun", "command": command}
    try:
        # Log and record the command first, in case the machine goes down during publication.
        logger.info("Publishing %s. If this is interrupted, retry with:\n  %s", destination.repo_id, command)
        _write_record(folder, record)
        _publish(folder, destination, record)
    except (PublishError, KeyboardInterrupt, *hub_errors()) as error:  # type: ignore[misc]
        ours = isinstance(error, (PublishError, KeyboardInterrupt))
        reason = explain(error) if ours else f"publishing to the Hub failed: {explain(error)}"
        record |= {"status": "failed" if record["status"] == "begun" else record["status"], "error": reason}
        with suppress(OSError):  # a full disk, which the error already reports
            _write_record(folder, record)
        raise PublishError(f"{reason}\nThe run is complete in {folder}. To publish it:\n  {command}") from error
    return record


def _publish(folder: Path, destination: Destination, record: dict[str, Any]) -> None:
    """Run the steps of a publication, updating `record` after each of them."""
    if destination.space:
        prepare_space(folder, destination.space)
    objections = _write_card(folder, destination)
    if folder / NOTEBOOK in published_files(folder):
        save_notebook(folder, destination.repo_id)
    without_card = len(objections) > 1
    pushed = push(folder, destination, without_card=without_card)
    files = [path for path in published_files(folder) if not (without_card and path.name == "README.md")]
    record |= {"status": "pushed", **asdict(pushed)}
    record |= {"files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}}
    _write_record(folder, record)
    if destination.tag:
        set_tag(destination, pushed.revision)
        record["tag"] = destination.tag
    different = verify(folder, files, destination, pushed.revision)
    record |= {"status": "different" if different else "verified", "sample": len(sample_answers(folder))}
    record |= {"different": different} if different else {}
    record |= {"card_refused": objections} if objections else {}
    _write_record(folder, record)
    if different:
        raise PublishError("what is on the Hub differs from this run:\n  " + "\n  ".join(different))
    if destination.space:
        record["space"] = publish_space(folder, destination, destination.space)
        _write_record(folder, record)
    if objections:
        kept = "the card was left out" if without_card else "only its tags were kept"
        raise PublishError(
            f"the model was published, but the Hub rejected its card's metadata; {kept}: {objections[0]}"
        )


def _write_card(folder: Path, destination: Destination) -> list[str]:
    """Write `README.md` as it will be published, and return the Hub's objections.

    If the Hub rejects the card's metadata, the card is retried with minimal metadata, which still says what kind of
    model it is, and the weights are pushed. Two objections mean that the minimal metadata was rejected as well.
    """
    values = json.loads((folder / CARD_VALUES).read_text(encoding="utf-8"))
    values["model_name"] = destination.repo_id.split("/")[1]
    kept = below_the_line(read_file(destination, "README.md") or "") or _written_here(folder)
    objections: list[str] = []
    for metadata in (values["metadata"], minimal_metadata(values["metadata"])):
        card = render_card(values | {"metadata": metadata}, destination.repo_id, kept)
        card.save(folder / "README.md")
        try:
            with_retries(card.validate, destination.timeout)
            break
        except ValueError as error:
            objections.append(explain(error))
    return objections


def _written_here(folder: Path) -> str:
    """Return the text that a person wrote below the marked line of the card in the run's folder."""
    card = folder / "README.md"
    return below_the_line(read_text(card)) if card.is_file() else ""


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def print_summary(record: dict[str, Any]) -> None:
    """Print what was published and how it was verified."""
    print(f"published: {record['pull_request'] or record['url']}")
    print(
        f"verified: revision {record['revision']} has the same files and, loaded from the Hub, gives the same label "
        f"words for {record['sample']} texts"
    )
    if "space" in record:
        print(f"try it: {record['space']['url']}")
