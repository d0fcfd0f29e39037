"""Publish a finished run, without training: the first time, or again where a publication has failed.

    python -m hf_sentiment_ft.publish ./output --hub_model_id user/name

What is on the Hub already is not sent again.
"""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .config import HubArguments
from .errors import PublishError, UsageError, errors_exit
from .hub import Destination, explain, hub_errors, patiently
from .output import published_files
from .preflight import HubOptions, preflight
from .push import push, set_tag
from .verify import SAMPLE_SIZE, verify

RECORD = "publication.json"


def parse_publish_arguments(argv: list[str]) -> tuple[Path, HubOptions]:
    """Parse the command line."""
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
    parser.add_argument("--hub_timeout", type=int, default=120, help="seconds to go on trying (default: 120)")
    args = parser.parse_args(argv)
    hub_args = HubArguments(args.hub_overwrite, args.hub_create_pr, args.hub_tag, args.hub_timeout)
    options = HubOptions(args.hub_model_id, args.hub_token, args.hub_private_repo, args.hub_revision, hub_args)
    missing = [
        name for name in ("config.json", "card.json", "all_results.json") if not (args.output_dir / name).is_file()
    ]
    if missing or not list(args.output_dir.glob("*.safetensors")):
        lacking = ", ".join(missing or ["*.safetensors"])
        raise UsageError(f"{args.output_dir} is not the folder of a finished run: it has no {lacking}.")
    return args.output_dir, options


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
    record: dict[str, Any] = {"repo_id": destination.repo_id, "branch": destination.revision, "status": "failed"}
    try:
        refusal = _write_card(folder, destination)
        pushed = push(folder, destination, without_card=refusal is not None)
        record |= {"status": "pushed", **asdict(pushed)}
        record |= {"files": {path.name: path.stat().st_size for path in published_files(folder)}}
        _keep(folder, record)
        if destination.tag:
            set_tag(destination, pushed.revision)
            record["tag"] = destination.tag
        different = verify(folder, destination, pushed.revision) if refusal is None else []
    except PublishError as error:
        _keep(folder, record)
        raise PublishError(_advice(str(error), folder, destination)) from error
    except hub_errors() as error:
        _keep(folder, record)
        raise PublishError(_advice(f"the Hub: {explain(error)}", folder, destination)) from error
    if refusal is not None:
        _keep(folder, record | {"card_refused": refusal})
        raise PublishError(
            _advice(
                f"the model is published, its card is not, since the Hub refuses it: {refusal}", folder, destination
            )
        )
    record |= {"status": "different" if different else "verified", "different": different, "sample": SAMPLE_SIZE}
    _keep(folder, record)
    if different:
        listed = "\n  ".join(different)
        raise PublishError(_advice(f"what is on the Hub differs from this run:\n  {listed}", folder, destination))
    return record


def _write_card(folder: Path, destination: Destination) -> str | None:
    """Write `README.md` as it will be published; return the Hub's objection to it, if any."""
    from .model_card import below_the_line, render_card

    values = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    values["model_name"] = destination.repo_id.split("/")[1]
    card = render_card(values, destination.repo_id, below_the_line(_published_card(destination)))
    card.save(folder / "README.md")
    try:
        patiently(card.validate, destination.timeout)
    except ValueError as error:
        return explain(error)
    return None


def _published_card(destination: Destination) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if destination.parent is None:
        return ""
    repo_id, token, parent = destination.repo_id, destination.token, destination.parent
    try:
        return Path(hf_hub_download(repo_id, "README.md", revision=parent, token=token)).read_text(encoding="utf-8")
    except EntryNotFoundError:
        return ""


def _keep(folder: Path, record: dict[str, Any]) -> None:
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _advice(reason: str, folder: Path, destination: Destination) -> str:
    return f"{reason}\nThe run is complete in {folder}. To publish it:\n  {retry_command(folder, destination)}"


def announce(record: dict[str, Any]) -> None:
    """Say what was published and how it was checked."""
    print(f"published: {record['pull_request'] or record['url']}")
    print(f"verified: revision {record['revision']} has the same files and gives the same label words")


def main() -> None:
    """Check, push and verify the run that the command line names."""
    with errors_exit():
        folder, options = parse_publish_arguments(sys.argv[1:])
        name = json.loads((folder / "card.json").read_text(encoding="utf-8"))["model_name"]
        announce(publish_run(folder, preflight(options, name)))


if __name__ == "__main__":
    main()
