"""Read `--label_descriptions`: what each label means, as JSON or in a file."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .recipes import read_recipe

EXAMPLE = '\'{"refund": "the customer wants money back"}\''


def read_descriptions(given: str) -> dict[str, str]:
    """Return the description of each label that has one; whether the labels exist is only known with the rows.

    Args:
        given: JSON object from label to description, or path of a YAML or JSON file with such a mapping.

    Raises:
        UsageError: If it is neither, or a description is empty or not a text.
    """
    path = Path(given).expanduser()
    if given.lstrip()[:1] in ("{", "["):
        found = _parse(given, f"--label_descriptions is {given!r}, which is not valid JSON")
    elif not os.path.isfile(path):
        raise UsageError(
            f"--label_descriptions is {given!r}, which is neither a JSON object nor a file; expected {EXAMPLE}, or the "
            "path of a YAML or JSON file with such a mapping."
        )
    elif path.suffix == ".json":  # YAML reads some of JSON's escapes differently
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the --label_descriptions file {path}: {error}") from error
        found = _parse(text, f"the --label_descriptions file {path} is not valid JSON")
    else:
        found = read_recipe(path, "--label_descriptions file", "label: description")
    if not isinstance(found, dict) or not found:
        raise UsageError(f"--label_descriptions has {json.dumps(found)}; expected a mapping such as {EXAMPLE}.")
    for label, description in found.items():
        if not isinstance(description, str) or not description.strip():
            raise UsageError(
                f"--label_descriptions has {description!r} for label {label!r}; expected what the label means, in "
                "words. Leave out labels without a description."
            )
    # As in the prompt template, a backslash and an n are a line break.
    return {label: text.replace("\\n", "\n").replace("\\t", "\t").strip() for label, text in found.items()}


def _parse(text: str, problem: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{problem}: {error}. Write it like this: {EXAMPLE}") from error
