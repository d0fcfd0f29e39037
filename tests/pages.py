"""What a reader of the pages is told to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

from hf_sentiment_ft.paths import resource_path

from .conftest import ROOT

FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), resource_path("skill")]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
STARTS = ("accelerate launch ", "python -m ", "hf-sentiment-ft ", "make ")


def code(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of each code block of a page; code within sentences has the language `inline`."""
    for token in MarkdownIt().enable("table").parse(PAGES[page]):
        if token.type in ("fence", "code_block"):
            yield token.info or "bash", token.content
        for child in token.children or []:
            if child.type == "code_inline":
                yield "inline", child.content.replace("\n", " ")


def command_lines(page: str) -> Iterator[list[str]]:
    """The words of each command on a page, from `accelerate launch`, `python -m`, `hf-sentiment-ft` or `make` on.

    Paths that `hf_sentiment_ft.paths` prints are put in, and 2 for other variables.
    """
    for language, text in code(page):
        if language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                yield from _commands(line)
        elif language == "yaml":
            for string in _strings(yaml.safe_load(text)):
                yield from _commands(string)
        elif language == "inline" and text.startswith(STARTS):
            yield from _commands(text)


def _commands(line: str) -> Iterator[list[str]]:
    if "…" in line or not any(start in line for start in STARTS):  # a part is left out, or there is no command
        return
    line = re.sub(r"\$\(python -m hf_sentiment_ft\.paths (\w+)\)", lambda name: str(resource_path(name[1])), line)
    words = shlex.split(re.sub(r"\$\(\(.*?\)\)|\$\w+", "2", line), comments=True)
    for number, word in enumerate(words):
        if " " in word and "hf_sentiment_ft." in word:  # bash -c '…'
            yield from _commands(word)
            return
        if " ".join(words[number:]).startswith(STARTS):
            yield words[number:]
            return


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def anchors(path: Path) -> set[str]:
    """Addresses of a page's headings, as GitHub and the site make them."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    titles = [tokens[number + 1].content for number, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: str) -> Iterator[str]:
    """The addresses that a page links to, pictures included."""
    for token in MarkdownIt().enable("table").parse(PAGES[page]):
        for child in token.children or []:
            if child.type in ("link_open", "image"):
                yield str(child.attrs.get("href") or child.attrs["src"])
