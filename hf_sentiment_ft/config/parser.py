"""The parser of a command: its help has an example, and an unknown flag suggests the one that was meant."""

import argparse
import shlex
from typing import Any, NoReturn

from ..errors import UsageError
from .suggestions import suggest


class Formatter(argparse.HelpFormatter):
    """Leave more room for the names of flags than argparse does, so that most texts begin beside them."""

    def __init__(self, prog: str) -> None:
        """Create the formatter as argparse does."""
        super().__init__(prog, max_help_position=32)


class Parser(argparse.ArgumentParser):
    """Parse the flags of one command; every mistake is a `UsageError`."""

    def __init__(self, command: str, description: str, example: str = "", **kwargs: Any) -> None:
        """Create a parser.

        Args:
            command: Name of the module that is started.
            description: What the command does.
            example: Arguments of a typical call, for the help.
            **kwargs: Other arguments of argparse.
        """
        prog = f"python -m hf_sentiment_ft.{command}"
        kwargs.setdefault("epilog", f"example: {prog} {example}".rstrip())
        super().__init__(prog=prog, description=description, formatter_class=Formatter, **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the command line.

        Raises:
            UsageError: If a flag is unknown or a value is invalid.
            SystemExit: After printing the help for `--help`.
        """
        parsed, rest = self.parse_known_args(args, namespace)
        unknown = next((word.split("=")[0] for word in rest if word.startswith("--")), None)
        if unknown:
            known = [option[2:] for option in self._option_string_actions if option.startswith("--")]
            raise UsageError(f"unknown flag {unknown}{suggest(unknown[2:], known)}")
        if rest:
            self.error(f"unexpected {shlex.join(rest)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Refuse the command line in one line, as all commands do."""
        raise UsageError(f"{message}; see --help.")
