"""Publish a finished run, without training: the first time, or again where a publication has failed.

    python -m hf_sentiment_ft.publish ./output --hub_model_id user/name

What is on the Hub already is not sent again.
"""

import argparse
import json
import logging
import shlex
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .config import HubArguments
from .errors import PublishError, UsageError, errors_exit
from .hub import Destination, explain, hub_errors, patiently, read_file
from .model_card import CARD_VALUES, below_the_line, minimal_metadata, render_card
from .output import published_files
from .preflight import HubOptions, preflight
from .push import push, set_tag
from .verify import sample_answers, verify

logger = logging.getLogger("hf_sentiment_ft.publish")  # not __main__, also where this is the command

RECORD = "publication.json"


def parse_publish_arguments(argv: list[str]) -> tuple[Path, HubOptions, str]:
    """Parse the command line.

    Returns:
        The run's folder, what was said about publishing, and the run's own name.

    Raises:
        UsageError: If the folder does not hold a finished run.
    """
    parser = argparse.ArgumentParser(
        prog="python -m hf_sentiment_ft.publish", description="Publish a finished run on the Hub, without training."
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    parser.add_argument("--hub_model_id", help="user/name (default: your user name and the run's own name)")
    parser.add_argument("--hub_token", help="write token (default: HF_TOKEN or `hf auth login`)")
    parser.add_argument("--hub_private_repo", action="store_true", default=None, help="make a new repository private")
    parser.add_argument("--hub_revision", help="branch (default: main)")
    parser.add_argument("--hub_create_pr", action="store_true", help="open a pull request instead of committing")
    parser.add_argument("--hub_tag", help="tag to set on the commit")
    parser.add_argument("--hub_overwrite", action="store_true", help="replace what others have published there")
    parser.add_argument("--hub_timeout", type=int, default=120, help="seconds to wait for one answer (120)")
    args = parser.parse_args(argv)
    hub_args = HubArguments(args.hub_overwrite, args.hub_create_pr, args.hub_tag, args.hub_timeout)
    options = HubOptions(args.hub_model_id, args.hub_token, args.hub_private_repo, args.hub_revision, hub_args)
    folder: Path = args.output_dir
    config = "adapter_config.json" if (folder / "adapter_config.json").is_file() else "config.json"
    missing = [name for name in (config, CARD_VALUES, "all_results.json") if not (folder / name).is_file()]
    missing += [] if list(folder.glob("*.safetensors")) else ["*.safetensors"]
    if missing:
        raise UsageError(f"{folder} is not the folder of a finished run: it has no {', '.join(missing)}.")
    try:
        name = str(json.loads((folder / CARD_VALUES).read_text(encoding="utf-8"))["model_name"])
    except (ValueError, KeyError) as error:
        raise UsageError(f"{folder / CARD_VALUES} cannot be read ({error}); it was written by the run.") from error
    return folder, options, name


def retry_command(folder: Path, destination: Destination) -> str:
    """The command that publishes this run again; the token is not in it."""
    command = ["python", "-m", "hf_sentiment_ft.publish", str(folder), "--hub_model_id", destination.repo_id]
    command += ["--hub_revision", destination.revision] if destination.revision != "main" else []
    command += ["--hub_tag", destination.tag] if destination.tag else []
    flags = {"private_repo": destination.private, "create_pr": destination.create_pr, "overwrite": destination.replace}
    return shlex.join(command + [f"--hub_{name}" for name, given in flags.items() if given])


def publish_run(folder: Path, destination: Destination) -> dict[str, Any]:
    """Write the card, push, verify, and keep the outcome in `publication.json`.

    Returns:
        What `publication.json` holds.

    Raises:
        PublishError: If any of it fails; the run is as it was, and the message has the command to try again.
    """
    command = retry_command(folder, destination)
    record: dict[str, Any] = {"repo_id": destination.repo_id, "branch": destination.revision}
    record |= {"status": "begun", "command": command}
    try:
        # Said and kept beforehand, for those whose machine goes down in the middle.
        logger.info("Publishing %s. If this is interrupted, do it again by:\n  %s", destination.repo_id, command)
        _keep(folder, record)
        _publish(folder, destination, record)
    except (PublishError, KeyboardInterrupt, *hub_errors()) as error:  # type: ignore[misc]
        reason = _reason(error)
        record |= {"status": "failed" if record["status"] == "begun" else record["status"], "error": reason}
        with suppress(OSError):  # a full disk, of which the error tells already
            _keep(folder, record)
        raise PublishError(f"{reason}\nThe run is complete in {folder}. To publish it:\n  {command}") from error
    return record


def _reason(error: BaseException) -> str:
    if isinstance(error, PublishError):
        return str(error)
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"the Hub: {explain(error)}"


def _publish(folder: Path, destination: Destination, record: dict[str, Any]) -> None:
    """Do the steps of a publication; `record` says at any time how far it has come."""
    objections = _write_card(folder, destination)
    without_card = len(objections) > 1
    pushed = push(folder, destination, without_card=without_card)
    files = [path for path in published_files(folder) if not (without_card and path.name == "README.md")]
    record |= {"status": "pushed", **asdict(pushed)}
    record |= {"files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}}
    _keep(folder, record)
    if destination.tag:
        set_tag(destination, pushed.revision)
        record["tag"] = destination.tag
    different = verify(folder, files, destination, pushed.revision)
    record |= {"status": "different" if different else "verified", "sample": len(sample_answers(folder))}
    record |= {"different": different} if different else {}
    record |= {"card_refused": objections} if objections else {}
    _keep(folder, record)
    if different:
        raise PublishError("what is on the Hub differs from this run:\n  " + "\n  ".join(different))
    if objections:
        lacks = "its card" if without_card else "all metadata of its card but the tags"
        raise PublishError(f"the model is published without {lacks}, which the Hub refuses: {objections[0]}")


def _write_card(folder: Path, destination: Destination) -> list[str]:
    """Write `README.md` as it will be published, and return the Hub's objections.

    A card whose metadata is refused is tried again with metadata that needs no judgement: it then says what the model
    is, and the push of the weights goes on. Two objections mean that this one is refused as well.
    """
    values = json.loads((folder / CARD_VALUES).read_text(encoding="utf-8"))
    values["model_name"] = destination.repo_id.split("/")[1]
    kept = below_the_line(read_file(destination, "README.md") or "") or _written_here(folder)
    objections: list[str] = []
    for metadata in (values["metadata"], minimal_metadata(values["metadata"])):
        card = render_card(values | {"metadata": metadata}, destination.repo_id, kept)
        card.save(folder / "README.md")
        try:
            patiently(card.validate, destination.timeout)
            break
        except ValueError as error:
            objections.append(explain(error))
    return objections


def _written_here(folder: Path) -> str:
    """What a person wrote below the marked line of the card in the run's folder."""
    card = folder / "README.md"
    return below_the_line(card.read_text(encoding="utf-8")) if card.is_file() else ""


def _keep(folder: Path, record: dict[str, Any]) -> None:
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def announce(record: dict[str, Any]) -> None:
    """Say what was published and how it was checked."""
    print(f"published: {record['pull_request'] or record['url']}")
    print(
        f"verified: revision {record['revision']} has the same files and, loaded from the Hub, gives the same label "
        f"words for {record['sample']} texts"
    )


def main() -> None:
    """Check, push and verify the run that the command line names."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hf_sentiment_ft").setLevel(logging.INFO)
    with errors_exit():
        folder, options, name = parse_publish_arguments(sys.argv[1:])
        announce(publish_run(folder, preflight(options, name)))


if __name__ == "__main__":
    main()
