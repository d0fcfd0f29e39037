"""Escape what comes from data, names and other people's files for the places of a card: Markdown, HTML and code.

The card's environment escapes every value by itself; a template says where a value is code.
"""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, Undefined
from markupsafe import Markup

# Characters that begin Markdown or HTML anywhere, and those that do so at the beginning of a block.
SPECIAL = re.compile(r"[&<>\\`*\[\]|~${}]|(?<!\w)_|_(?!\w)|^[-+=#:!]|^\d+[.)](?=\s|$)")
# Values that inline code in backticks would break, or that look as if a template had not been filled.
NOT_IN_BACKTICKS = re.compile(r"[`|<]|\{[{%#]|^\s*$")
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of control characters, surrogates and line breaks
SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
JOINERS = "\u200c\u200d"  # letters of some scripts, and emoji, need these invisible characters


def visible(text: str) -> str:
    r"""Write out line breaks, control characters and invisible ones, such as \n and \u202e, which reverses a line."""

    def written(letter: str) -> str:
        if unicodedata.category(letter) not in HIDDEN or letter in JOINERS:
            return letter
        number = ord(letter)
        return SHORT.get(letter) or (f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}")

    return "".join(map(written, text))


def hides(text: str) -> bool:
    """Return whether a text has invisible characters, other than line breaks and tabs."""
    return visible("".join(text.split())) != "".join(text.split())


def escape(value: Any) -> Markup:
    """Escape a value for the text of a card, table cells included.

    Character references are used, since they are text in every flavor of Markdown; a backslash before the bar of a
    table is not.
    """
    return Markup(SPECIAL.sub(_references, visible(str(value))))


def _references(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(letter)};" for letter in found[0])


def code(value: Any) -> Markup:
    """Format a value as inline code, also in table cells.

    Within backticks, a bar would end a table's cell, so values with bars and the like become an HTML element.
    """
    text = visible(str(value))
    if NOT_IN_BACKTICKS.search(text):
        return Markup(f"<code>{SPECIAL.sub(_references, text)}</code>")
    return Markup(f"`{text}`")


def prose(value: str) -> Markup:
    """Escape a sentence in which what is between backticks is code, as in the notes on the data."""
    parts = enumerate(value.split("`"))
    return Markup().join(code(part) if number % 2 else escape(part) for number, part in parts)


def literal(value: str) -> Markup:
    """Format a text as a string literal of Python for a fenced block of code, on one line."""
    return Markup(visible(json.dumps(value, ensure_ascii=False)))


def python(value: Any) -> Markup:
    """Format a value as Python prints it, on one line of a fenced block of code."""
    return Markup(visible(repr(value)))


def link(text: str, url: str) -> Markup:
    """Format a link; an address that is not of the web is left out."""
    if not re.match(r"https?://", url):
        return escape(text)
    return Markup(f"[{escape(text)}]({quote(url, safe=':/?#@%=&+,;~!')})")


def environment() -> Environment:
    """Return the environment of the card's template, which includes others from this folder.

    Every value that is not `Markup` is escaped, numbers excepted.
    """

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup | Undefined | int | float) else escape(value)

    parts = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=parts, autoescape=True, finalize=finalize, keep_trailing_newline=True)
    made.filters |= {"code": code, "literal": literal, "prose": prose, "python": python}
    return made
