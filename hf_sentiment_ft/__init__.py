"""Fine-tune a causal language model to answer with the label word, and publish it."""

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import LabelWordClassifier as LabelWordClassifier

__version__ = "0.1.0"

# A command started in this very folder must not take our modules for libraries of the same name, such as evaluate.
_here = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != _here]


def _search_working_folder_last() -> None:
    """Let libraries win over files of the same name in the working folder, such as a user's evaluate.py, and name them.

    `python -m`, and so `accelerate launch -m`, searches the working folder first, even before the standard library.
    """
    folder = os.path.realpath(os.getcwd())
    elsewhere = [entry for entry in sys.path if os.path.realpath(entry) != folder]
    if len(elsewhere) == len(sys.path):
        return
    sys.path.sort(key=lambda entry: os.path.realpath(entry) == folder)
    modules = [name for name in os.listdir(folder) if name.endswith(".py") or os.path.isfile(f"{name}/__init__.py")]
    like_libraries = [
        name
        for name in sorted(modules)
        if name != "test.py" and PathFinder.find_spec(name.removesuffix(".py"), elsewhere)  # nobody imports that one
    ]
    if like_libraries and os.environ.get("RANK", "0") == "0":
        print(
            f"warning: {', '.join(like_libraries)} in the working folder would be taken for Python libraries by most "
            "commands. This one uses the libraries of that name. Rename what is yours, or use another folder.",
            file=sys.stderr,
        )


def __getattr__(name: str) -> Any:
    """Import `LabelWordClassifier` when it is asked for, since that takes seconds."""
    if name == "LabelWordClassifier":
        from .classifier import LabelWordClassifier

        return LabelWordClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if sys.argv[:1] == ["-m"]:  # one of our commands is about to be run as `python -m`
    _search_working_folder_last()
