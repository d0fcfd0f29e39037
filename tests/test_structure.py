"""Imports go one way: what is written first knows nothing of what is built on it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hf_sentiment_ft.__main__ import COMMANDS

from .conftest import ROOT

PACKAGE = ROOT / "hf_sentiment_ft"
# From the ground up. A module imports from those before it and from its own package; a command, which is not in this
# list, from all of them.
GROUND = ["errors", "hub", "paths", "config", "runtime", "data", "model", "label_words", "training", "evaluation"]
GROUND += ["publishing", "tuning"]
# Neighbours that know nothing of each other, though one stands before the other in the list.
STRANGERS = {("model", "data"), ("publishing", "evaluation"), ("tuning", "publishing")}


def place(file: Path) -> str:
    """The package or module of the list above that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[tuple[str, int]]:
    """What of this package a file imports, at its top, in functions and for types, and in which line."""
    here = file.relative_to(PACKAGE).parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == len(here):
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                yield str(name).split(".")[0], node.lineno
        assert not (isinstance(node, ast.ImportFrom) and str(node.module).startswith("hf_sentiment_ft")), file


@pytest.mark.parametrize("name", GROUND)
def test_nothing_is_imported_from_above(name: str):
    files = [file for file in PACKAGE.rglob("*.py") if place(file) == name]
    assert files, f"{name} is gone; take it out of the list"
    for file in files:
        for other, line in imported(file):
            where = f"{file.relative_to(ROOT)}:{line} imports {other}"
            assert other in GROUND, f"{where}, which is a command"
            assert GROUND.index(other) <= GROUND.index(name), f"{where}, which is above it"
            assert (name, other) not in STRANGERS, f"{where}, of which it should not know"


def test_the_root_of_the_package_has_commands_and_the_ground_only():
    commands = {*COMMANDS, "__main__", "classifier"}
    modules = {file.stem for file in PACKAGE.glob("*.py")}
    assert modules == commands | {"__init__", "errors", "hub"}
    folders = {folder.name for folder in PACKAGE.iterdir() if list(folder.glob("*.py"))}
    assert folders == set(GROUND) - modules


def test_tests_mirror_the_package():
    folders = {folder.name for folder in (ROOT / "tests").iterdir() if list(folder.glob("test_*.py"))}
    assert folders - {"hub_server"} == set(GROUND) - {"errors", "hub", "paths"}


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_what_a_command_does_fits_one_screen(command: str):
    tree = ast.parse((PACKAGE / f"{command}.py").read_text(encoding="utf-8"))
    (run,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")
    assert run.end_lineno is not None
    assert run.end_lineno - run.lineno <= 60
