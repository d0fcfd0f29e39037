"""All commands under one name: `hf-sentiment-ft COMMAND …` is `python -m hf_sentiment_ft.COMMAND …`.

For several devices, launch the module: `accelerate launch -m hf_sentiment_ft.train …`.
"""

import sys
from difflib import get_close_matches
from importlib import import_module

from .errors import UsageError, errors_exit

COMMANDS = {
    "train": "fine-tune, evaluate and publish a model",
    "tune": "search for better flags, or compare base models",
    "evaluate": "evaluate one or several models on the same rows",
    "predict": "label texts with a trained model",
    "demo": "try a trained model in the browser",
    "report": "write report.html, which shows where a model is good",
    "publish": "publish a finished run on the Hub, and verify it",
    "text_classification": "export a run for pipeline('text-classification')",
    "export": "export a run as an ONNX model or a notebook",
    "quickstart": "train a small model offline, and ask it",
    "paths": "print where the launch configurations and recipes are",
    "env": "print what a bug report needs",
    "completion": "complete commands and flags at TAB: bash, zsh or fish",
}


def usage() -> str:
    """Return the help: all commands, each with what it does."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    example = 'hf-sentiment-ft predict --model ./output "a moving, funny film"'
    return "\n".join(
        ["usage: hf-sentiment-ft COMMAND [--flag value ...]", "", *lines, "", f"example: {example}"]
        + ["More about a command: hf-sentiment-ft COMMAND --help"]
    )


def main() -> None:
    """Run the command that is named first.

    Raises:
        SystemExit: If no command of that name exists.
    """
    with errors_exit():
        if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
            print(usage())
            return
        name = sys.argv.pop(1)
        if name.replace("-", "_") not in COMMANDS:
            near = get_close_matches(name, COMMANDS, 1)
            cure = f"did you mean {near[0]}?" if near else f"expected one of: {', '.join(COMMANDS)}."
            raise UsageError(f"no command is named {name}; {cure}")
        import_module(f"hf_sentiment_ft.{name.replace('-', '_')}").main()


if __name__ == "__main__":
    main()
