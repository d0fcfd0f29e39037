"""What comes from data stays text on the model's page: parsed by a Markdown parser, and read back as it was."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from hf_sentiment_ft.publishing.card import render_card
from hf_sentiment_ft.publishing.markdown import code, escape, hides, link, literal, prose, visible

from .. import forked
from ..tiny import write_csv

HOSTILE = (
    "Action|Comedy", "a\\|b", "line\nbreak", "`rm`", "``", "<img src=x onerror=alert(1)>", "---", "{{ 7*7 }}",
    "{% if %}", "\u202egpj.exe", "[x](javascript:alert(1))", "![x](http://x/y.png)", "# heading", "1. one", "* star",
    "_it_", "~~no~~", "&lt;", "$$x$$", "-->", "</code>", "</table>", "<javascript:alert(1)>", "C#", "per_device_x",
    "😀\u200d👩", "- x", "a\u2028b",
)  # fmt: skip
HARMLESS = {"paragraph", "heading", "table", "thead", "tbody", "tr", "th", "td", "strong", "em", "link", "bullet_list"}
HARMLESS |= {"list_item", "text", "inline", "code_inline", "softbreak", "fence", "image", "text_special"}


def parse(markdown: str) -> list[Token]:
    """As on GitHub and the Hub: CommonMark with HTML and tables."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)


def shown(inline: Token) -> str:
    """What a reader sees of a cell or paragraph; our own <code> is passed over."""
    return "".join(one.content for one in inline.children or [] if one.type != "html_inline")


def tables(tokens: list[Token]) -> list[list[list[str]]]:
    """Every table as rows of cells."""
    found: list[list[list[str]]] = []
    for number, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            found[-1][-1].append(shown(tokens[number + 1]))
    return found


def kinds(tokens: list[Token]) -> set[str]:
    every = [*tokens, *(child for token in tokens for child in token.children or [])]
    html = {one.content for one in every if one.type.startswith("html")}
    names = {one.type.removesuffix("_open").removesuffix("_close") for one in every if not one.type.startswith("html")}
    return names | (html - {"<code>", "</code>"})


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("form", [escape, code])
def test_a_value_in_a_table_is_one_cell_and_nothing_but_text(value: str, form):
    tokens = parse(f"| a | b |\n|---|---|\n| {form(value)} | 1 |\n| 2 | {form(value)} |\n")
    assert tables(tokens) == [[["a", "b"], [visible(value), "1"], ["2", visible(value)]]]
    assert kinds(tokens) <= HARMLESS - {"link", "image", "em", "strong"}


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_at_the_beginning_of_a_line_begins_no_block(value: str):
    for before in ("", "- "):
        tokens = parse(f"{before}{escape(value)}\n")
        assert [shown(token) for token in tokens if token.type == "inline"] == [visible(value)]
        assert kinds(tokens) <= HARMLESS - {"link", "image", "em", "strong", "heading", "table"}


@pytest.mark.parametrize("value", HOSTILE)
def test_a_sentence_with_code_is_text_and_code(value: str):
    assert prose("Each text is formed from columns: `'{title}'`.") == "Each text is formed from columns: `'{title}'`."
    tokens = parse(f"- {prose(f'Weights: {value} 0.5, by `x{value}`, seed {value}.')}\n")
    assert kinds(tokens) <= HARMLESS - {"link", "image", "em", "strong", "heading", "table"}
    (shown_,) = [shown(token) for token in tokens if token.type == "inline"]
    assert shown_.replace("`", "").startswith("Weights:")
    assert shown_.endswith(".")


@pytest.mark.parametrize("value", [*HOSTILE, 'say "x"', "back\\slash", "\x07"])
def test_a_literal_is_the_text_on_one_line_of_code(value: str):
    assert eval(literal(value)) == value
    assert len(literal(value).splitlines()) == 1


def test_invisible_characters_are_written_out():
    assert visible("a\tb\n\u202ec\u00ad\U000e0041\ud800") == r"a\tb\n\u202ec\u00ad\U000e0041\ud800"
    assert visible("क्‍ष 😀\u200d👩 مي\u200cخ") == "क्‍ष 😀\u200d👩 مي\u200cخ", "letters need them"
    assert hides("\u202ex")
    assert not hides("two lines\nand a\ttab")


def test_a_link_leads_into_the_web_or_nowhere():
    assert link("MIT", "https://x.org/a b(c)|d") == "[MIT](https://x.org/a%20b%28c%29%7Cd)"
    assert link("MIT", "javascript:alert(1)") == "MIT"
    assert link("]( javascript:x)[", "https://x.org") == "[&#93;( javascript:x)&#91;](https://x.org)"


@pytest.fixture(scope="module")
def hostile_run(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on labels and texts that would break a card, from a file with a Cyrillic name."""
    folder = tmp_path_factory.mktemp("hostile")
    pairs = list(zip(HOSTILE[:3], HOSTILE[5:8], strict=True))
    rows = [(f"{text} {number}", label) for number in range(20) for text, label in pairs]
    table = write_csv(folder / "отзывы.csv", rows)
    flags = ["--model_name_or_path", tiny_gpt2, "--train_file", table, "--disable_tqdm", "true"]
    forked.finish(*flags, cwd=folder)
    return folder / "output"


def test_the_card_of_a_run_on_hostile_data(hostile_run: Path):
    card = ModelCard.load(hostile_run / "README.md")
    values = json.loads((hostile_run / "card.json").read_text(encoding="utf-8"))
    labels = [row["label"] for row in values["label_rows"]]
    assert sorted(labels) == sorted(HOSTILE[5:8])
    tokens = parse(card.text)
    assert kinds(tokens) <= HARMLESS | {"html_block", "<!-- What you write below this line is kept when the model is "
                                        "published again. -->\n"}  # fmt: skip
    found = tables(tokens)
    assert all(len(row) == len(table[0]) for table in found for row in table)
    words, _, classes, confusion, *_ = found
    assert [row[0] for row in words[1:]] == [row[0] for row in classes[1:]] == [visible(label) for label in labels]
    assert [row[1].strip() for row in words[1:]] == [visible(label) for label in labels]
    assert confusion[0] == ["", *map(visible, labels)]
    assert [row[0] for row in confusion[1:]] == list(map(visible, labels))
    assert [row[1:] for row in confusion[1:]] == [list(map(str, row)) for row in values["confusion_matrix"]]
    code_blocks = [token.content for token in tokens if token.type == "fence"]
    for placeholder in ("{{", "{%", "<img"):
        assert placeholder not in card.text.replace(code_blocks[0], "")
    assert tokens[1].content == values["model_name"]
    assert re.fullmatch("tiny-gpt2.*-label-words", values["model_name"]), "the file's name has no Latin letter"
    assert "`отзывы.csv`" in card.text


def test_front_matter_gives_back_what_was_put_in(hostile_run: Path):
    """Also where YAML would read something else, such as `no`, or the end of the front matter."""
    values = json.loads((hostile_run / "card.json").read_text(encoding="utf-8"))
    values["metadata"] |= {"language": ["no"], "license": "other", "license_name": "a: b # c"}
    texts = ["---", "no", "{{ x }}", "a\n---\nb", "x: y"]
    values["metadata"]["widget"] = [{"text": text, "output": {"text": text}} for text in texts]
    values["metadata"]["eval_results"][0]["dataset_name"] = "---\n# x"
    card = ModelCard(str(render_card(values, "user/name")))
    assert card.data.language == ["no"]
    assert (card.data.license, card.data.license_name) == ("other", "a: b # c")
    assert [example["output"]["text"] for example in card.data.widget] == texts
    assert card.data.eval_results[0].dataset_name == "---\n# x"
    assert card.text.count("## Results") == 1
