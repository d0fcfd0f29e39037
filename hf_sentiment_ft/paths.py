"""Paths of the files that ship with the code, whether it is installed or a checkout.

`python -m hf_sentiment_ft.paths multi_gpu` prints the path of a launch configuration, so that
`accelerate launch --config_file "$(python -m hf_sentiment_ft.paths multi_gpu)"` works with an installed wheel.
`skill` is a page for coding agents that says how to use this package.
"""

import importlib.util
import sys
from pathlib import Path

from .errors import UsageError, errors_exit


def resources() -> Path:
    """Return the folder with the card template, `accelerate_configs`, `recipes` and `skills`."""
    checkout = Path(__file__).parent.parent
    if (checkout / "model_card_template.md").is_file():
        return checkout
    return Path(__file__).parent / "resources"


def resolve_package_path(name: str) -> str:
    """Resolve `package:NAME/FILE` to a path inside an installed package, and return any other name unchanged.

    The package is located without importing it.

    Raises:
        UsageError: If the package is not installed or has no such file.
    """
    if not name.startswith("package:"):
        return name
    package, _, inside = name.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise UsageError(f"{name}: the Python package {package!r} is not installed.")
    path = Path(spec.origin).parent / inside
    if not path.exists():
        present = ", ".join(sorted(entry.name for entry in path.parent.glob("[!_]*"))) if path.parent.is_dir() else ""
        raise UsageError(f"{name}: the package has no {inside!r}; it contains: {present}")
    return str(path)


def resource_paths() -> dict[str, Path]:
    """Return the paths of all launch configurations and recipes, by name, and of the skill for coding agents."""
    folders = [resources() / name for name in ("accelerate_configs", "recipes")]
    found = {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
    return found | {"skill": resources() / "skills" / "hf-sentiment-ft" / "SKILL.md"}


def resource_path(name: str) -> Path:
    """Return the path of a launch configuration, a recipe or the skill, such as `multi_gpu` or `tutorial`.

    Raises:
        UsageError: If nothing has that name.
    """
    found = resource_paths()
    if name not in found:
        raise UsageError(f"no configuration or recipe is named {name!r}; expected one of: {', '.join(sorted(found))}.")
    return found[name]


def main() -> None:
    """Print the path of what is named on the command line."""
    usage = f"usage: python -m hf_sentiment_ft.paths NAME\nPrints the path of one of: {', '.join(resource_paths())}"
    with errors_exit():
        if set(sys.argv[1:]) & {"-h", "--help"}:
            print(usage)
        elif len(sys.argv) != 2:  # on standard error: $(...) would take standard output for the path
            raise UsageError(usage)
        else:
            print(resource_path(sys.argv[1]))


if __name__ == "__main__":
    main()
