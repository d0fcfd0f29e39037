"""Read recipes: YAML files whose values arrive as they are written."""

import json
from pathlib import Path
from typing import Any

import yaml

from ..errors import UsageError

NULL, MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"


class RecipeLoader(yaml.SafeLoader):
    """Load every scalar but null as the string that is written.

    PyYAML would take `no` for False, `1.10` for 1.1 and `0123456` for an octal number; here, each flag's type decides.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (NULL, MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def yaml_to_flags(path: Path, several: frozenset[str] = frozenset()) -> list[str]:
    """Read a recipe and return it as command-line flags, so that flags given after it take precedence.

    Args:
        path: A YAML file with one mapping from flag names (without dashes) to values; null keeps the default.
        several: Names of the flags that take several values; other lists and mappings become JSON.

    Raises:
        UsageError: If the file cannot be read or does not contain such a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root: Any = yaml.compose(text, Loader=RecipeLoader)
        recipe = yaml.load(text, Loader=RecipeLoader)  # noqa: S506, a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from error
    if not isinstance(recipe, dict):
        raise UsageError(f"the recipe {path} contains {type(recipe).__name__}; expected lines of the form name: value.")
    for mapping in (root, *(value for _, value in root.value if isinstance(value, yaml.MappingNode))):
        names = [key.value for key, _ in mapping.value]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"the recipe {path} sets {name} twice; keep one of the lines.")
    flags: list[str] = []
    for name, value in recipe.items():
        if name in several and isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif isinstance(value, list | dict):
            # Labels and words stay strings; the arguments of a scheduler, say, are numbers and booleans.
            typed = value if name == "label_words" else _typed(value)
            flags.append(f"--{name}={json.dumps(typed, ensure_ascii=False)}")
        elif value is not None:  # with =, since a value may begin with a dash
            flags.append(f"--{name}={value}")
    return flags


def _typed(value: Any) -> Any:
    """Return a nested value with the strings that are JSON numbers or booleans as such."""
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    try:
        return json.loads(value)
    except (TypeError, ValueError):  # null, or a word
        return value
