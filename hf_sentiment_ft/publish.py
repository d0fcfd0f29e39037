"""Publish a finished run without training: for the first time, or again after a failed publication.

    python -m hf_sentiment_ft.publish ./output --hub_model_id user/name

Files that are already on the Hub are not uploaded again.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .config.arguments import HubArguments
from .config.parser import Parser
from .errors import UsageError, errors_exit

if TYPE_CHECKING:
    from .publishing.preflight import HubOptions


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "publish", "Publish a finished run on the Hub, without training.", "./output --hub_model_id user/name"
    )
    parser.add_argument("output_dir", type=Path, help="folder of the run")
    parser.add_argument("--hub_model_id", help="user/name (default: your user name and the run's own name)")
    parser.add_argument("--hub_token", help="write token (default: HF_TOKEN or `hf auth login`)")
    parser.add_argument("--hub_private_repo", action="store_true", default=None, help="make a new repository private")
    parser.add_argument("--hub_revision", help="branch (default: main)")
    parser.add_argument("--hub_create_pr", action="store_true", help="open a pull request instead of committing")
    parser.add_argument("--hub_tag", help="tag to set on the commit")
    parser.add_argument(
        "--hub_overwrite", action="store_true", help="overwrite a repository that was not published by this package"
    )
    parser.add_argument(
        "--hub_timeout", type=int, default=120, help="seconds to wait for a response of the Hub (default: 120)"
    )
    parser.add_argument("--push_space", help="also publish a page on which the model can be tried, as this Space")
    parser.add_argument(
        "--space_sdk", choices=("static", "gradio"), default="static", help="what runs the Space (default: static)"
    )
    return parser


def parse_publish_arguments(argv: list[str]) -> "tuple[Path, HubOptions, str]":
    """Parse the command line.

    Returns:
        The run's folder, the options for publishing, and the model name that the run chose.

    Raises:
        UsageError: If a flag is unknown, or the folder does not contain a finished run.
    """
    args = build_parser().parse_args(argv)
    from .publishing.card import CARD_VALUES
    from .publishing.preflight import HubOptions

    names = ("hub_overwrite", "hub_create_pr", "hub_tag", "hub_timeout", "push_space", "space_sdk")
    hub_args = HubArguments(**{name: getattr(args, name) for name in names})
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
        raise UsageError(
            f"{folder / CARD_VALUES} cannot be read ({error}); expected the file that the run has written."
        ) from error
    return folder, options, name


def main() -> None:
    """Check, push and verify the run given on the command line."""
    with errors_exit():
        folder, options, name = parse_publish_arguments(sys.argv[1:])

        from . import publishing, runtime

        runtime.log_to_console()
        publishing.print_summary(publishing.publish_run(folder, publishing.preflight(options, name)))


if __name__ == "__main__":
    main()
