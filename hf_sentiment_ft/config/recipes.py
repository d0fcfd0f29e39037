"""Read recipes: YAML files whose values arrive as they are written."""

import json
from pathlib import Path
from typing import Any

import yaml

from ..errors import UsageError

NULL, MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
READ = (NULL, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")), None)  # None refuses other tags


class RecipeLoader(yaml.SafeLoader):
    """Load every scalar but null as the string that is written.

    PyYAML would take `no` for False, `1.10` for 1.1 and `0123456` for an octal number; here, each flag's type decides.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (NULL, MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in READ}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a name that appears twice, however deep."""
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.composer.ComposerError(
                    None, None, f"it sets {key.value} twice; keep one of the lines", key.start_mark
                )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = True) -> dict[Any, Any]:
        """Construct a mapping with all that is in it, so that one that contains itself is refused."""
        return super().construct_mapping(node, deep=True)


def read_recipe(path: Path, kind: str = "recipe", line: str = "name: value") -> dict[str, Any]:
    """Read a YAML file with one mapping, whose values are strings as they are written.

    Args:
        path: The file.
        kind: What the file is, for messages.
        line: What its lines look like, for messages.

    Raises:
        UsageError: If the file cannot be read or does not contain such a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        recipe = yaml.load(text, Loader=RecipeLoader)  # noqa: S506, a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the {kind} {path}: {error}") from error
    if recipe is None:
        raise UsageError(f"the {kind} {path} is empty; expected lines of the form {line}.")
    if not isinstance(recipe, dict):
        raise UsageError(f"the {kind} {path} contains {type(recipe).__name__}; expected lines of the form {line}.")
    return recipe


def yaml_to_flags(path: Path, several: frozenset[str] = frozenset()) -> list[str]:
    """Read a recipe and return it as command-line flags, so that flags given after it take precedence.

    Args:
        path: A YAML file with one mapping from flag names (without dashes) to values; null keeps the default.
        several: Names of the flags that take several values; other lists and mappings become JSON.

    Raises:
        UsageError: If the file cannot be read or does not contain such a mapping.
    """
    recipe = read_recipe(path)
    # Labels, words and descriptions stay strings; the arguments of a scheduler, say, are numbers and booleans.
    as_written = ("label_words", "label_descriptions", *several)
    typed = {
        name: _typed(value) if isinstance(value, list | dict) and name not in as_written else value
        for name, value in recipe.items()
    }
    return to_flags(typed, several)


def to_flags(values: dict[str, Any], several: frozenset[str] | None = None) -> list[str]:
    """Return values by name as command-line flags; those that are None are left out.

    Args:
        values: Values by the name of the flag, without dashes.
        several: Names of the flags that take several values; other lists and mappings become JSON. None for all flags
            but `label_words`, the only one that is a list in JSON.
    """
    flags: list[str] = []
    for name, value in values.items():
        takes_several = name != "label_words" if several is None else name in several
        if takes_several and isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif isinstance(value, list | dict):
            flags.append(f"--{name}={json.dumps(value, ensure_ascii=False)}")
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
