"""Build the site from the Markdown in this folder, with Sphinx, MyST and furo: `make docs`.

The front page is the README, with the list of all pages below it. `llms.txt` has the same list, for language models
(https://llmstxt.org).
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

import flags  # noqa: E402

from hf_sentiment_ft import __version__  # noqa: E402

project = "hf_sentiment_ft"
author = "the authors of hf_sentiment_ft"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # as on GitHub, so that links to headings work on both
html_theme = "furo"
html_title = f"hf_sentiment_ft {__version__}"
html_copy_source = False  # write_markdown does it
highlight_language = "bash"  # of blocks without a language, which are commands
pygments_dark_style = "monokai"
smartquotes = False  # two dashes begin a flag
default_role = "code"  # of docstrings
autoclass_content = "both"
autodoc_typehints = "description"
autodoc_member_order = "bysource"

HOW_TO = "How-to guides"  # a page that is in no list below is one of these
SECTIONS = {
    "Tutorial": ["tutorial", "tutorial.zh"],
    HOW_TO: [
        "own_table",
        "several_labels",
        "label_file",
        "publish_and_update",
        "notebook",
        "tune",
        "deploy",
        "scaling",
        "clusters",
    ],
    "Reference": ["command_line", "python", "training_arguments", "publishing", "troubleshooting"],
    "Explanation": ["label_words", "probabilities", "accuracy", "performance", "measured"],
    "Project": ["contributing"],
}
listed = {page for pages in SECTIONS.values() for page in pages}
SECTIONS[HOW_TO] += sorted({page.stem for page in DOCS.glob("*.md")} - listed - {"index"})


def text_of(page: str) -> str:
    """Return the Markdown of a page; two of them lie in the repository's root, where people look for them."""
    file = {"index": ROOT / "README.md", "contributing": ROOT / "CONTRIBUTING.md"}.get(page, DOCS / f"{page}.md")
    return file.read_text(encoding="utf-8")


def first_sentence(page: str) -> tuple[str, str]:
    """Return the title of a page, and the first sentence below it."""
    title, text = text_of(page).removeprefix("# ").split("\n", 1)
    paragraph = re.sub(r"\]\([^)]*\)|\[", "", " ".join(text.strip().split("\n\n")[0].split()))
    return title, re.split(r"(?<=[.。])(?:\s|$)|:$", paragraph)[0]


def markdown(page: str) -> str:
    """Return a page as the site shows it, with links as seen from this folder."""
    text = text_of(page)
    if page == "index":
        text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", text).replace("](docs/", "](")
        for name, pages in SECTIONS.items():
            text += f"\n```{{toctree}}\n:hidden:\n:caption: {name}\n\n" + "\n".join(pages) + "\n```\n"
    elif page == "command_line":
        text += flags.reference()
    return text.replace("](../README.md", "](index.md").replace("](../CONTRIBUTING.md", "](contributing.md")


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Let Sphinx read a page as the site shows it."""
    source[0] = markdown(page)


def write_markdown(app: Sphinx, error: Exception | None) -> None:
    """Write the Markdown beside each page, and llms.txt, which lists all of them with their first sentences."""
    lines = ["# hf_sentiment_ft", "", f"> {first_sentence('index')[1].replace('**', '')}"]
    for name, pages in SECTIONS.items():
        lines += ["", f"## {name}", ""]
        for page in pages:
            (app.outdir / f"{page}.md").write_text(markdown(page), encoding="utf-8")
            title, sentence = first_sentence(page)
            lines.append(f"- [{title}]({page}.md): {sentence}")
    (app.outdir / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", read_source)
    app.connect("build-finished", write_markdown)
