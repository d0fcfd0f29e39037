"""Print a script that completes commands, flags and files at TAB in bash, zsh or fish.

    hf-sentiment-ft completion bash > ~/.local/share/bash-completion/completions/hf-sentiment-ft

It is a plain script of the shell: at TAB, no Python is started.
"""

import argparse
import sys
from importlib import import_module

from .config.help import DESCRIPTIONS, help_parser
from .config.parser import Parser
from .errors import errors_exit
from .paths import resource_paths

# Where each shell looks for the script.
PLACES = {
    "bash": "~/.local/share/bash-completion/completions/hf-sentiment-ft",
    "zsh": "~/.zfunc/_hf-sentiment-ft, with fpath+=~/.zfunc before compinit in ~/.zshrc",
    "fish": "~/.config/fish/completions/hf-sentiment-ft.fish",
}
FILES = ("_file", "model", "model_name_or_path", "dataset_name", "recipe", "resume_from_checkpoint")
FOLDERS = ("_dir",)


def build_parser() -> Parser:
    """Return the parser of this command."""
    parser = Parser(
        "completion",
        "Print a script that completes commands, flags and files at TAB.",
        epilog="\n".join(
            ["Save what `hf-sentiment-ft completion SHELL` prints where your shell looks for it:"]
            + [f"  {shell}: {place}" for shell, place in PLACES.items()]
        ),
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=list(PLACES))
    return parser


def command_parser(command: str) -> Parser:
    """Return the parser of a command, with all its flags."""
    if command in DESCRIPTIONS:
        parser = help_parser(command, every=True)
        parser.add_argument("recipe", nargs="?")
    elif command == "paths":
        parser = Parser("paths", "")
        parser.add_argument("name", choices=list(resource_paths()))
    else:
        parser = import_module(f"hf_sentiment_ft.{command}").build_parser()
    return parser


def script(shell: str, commands: dict[str, str]) -> str:
    """Return the script.

    Args:
        shell: `bash`, `zsh` or `fish`.
        commands: All commands, each with what it does.
    """
    import shtab

    parser = argparse.ArgumentParser("hf-sentiment-ft")
    subparsers = parser.add_subparsers()
    for name, purpose in commands.items():
        command = subparsers.add_parser(name, parents=[command_parser(name)], add_help=False, help=purpose)
        for action in command._actions:
            if action.dest.endswith(FILES):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.dest.endswith(FOLDERS):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def main() -> None:
    """Print the script of the shell given on the command line."""
    from .__main__ import COMMANDS

    with errors_exit():
        print(script(build_parser().parse_args(sys.argv[1:]).shell, COMMANDS))


if __name__ == "__main__":
    main()
