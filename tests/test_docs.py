"""The pages: the site builds, links lead somewhere, and the package takes what a reader is told to type."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from transformers import HfArgumentParser, TrainingArguments

from hf_sentiment_ft import evaluate, publish, train, tune
from hf_sentiment_ft.__main__ import COMMANDS
from hf_sentiment_ft.config.command_line import OURS
from hf_sentiment_ft.config.tune_arguments import TuneArguments
from hf_sentiment_ft.label_words.classifier import export_text_classification

from .conftest import REVIEWS, ROOT
from .pages import PAGES, anchors, code, command_lines, links

# How commands of the pages are tried. Of those that are not named here, the flags are looked for in their source.
TRIED = {
    "train": "parsed; a dry run on a tiny model where it trains on files",
    "evaluate": "parsed; run by test_evaluate.py",
    "publish": "parsed; run by publishing/test_publish.py",
    **dict.fromkeys(("predict", "paths", "env", "report", "completion", "--help"), "run as it is, on a tiny model"),
}
TYPED = {" ".join(words): words for page in PAGES for words in command_lines(page)}
OF_USERS = [line for line in TYPED if ("hf_sentiment_ft" in line or "hf-sent" in line) and "COMMAND" not in line]
# Python on the pages that is only compiled: for notebooks, several processes and servers, data on the Hub, and what
# test_export.py runs.
COMPILED = ("IPython", "notebook_launcher", ".launch(", "load_dataset(", "onnxruntime")
QUICK = "overwrite_output_dir=True, max_steps=1, eval_strategy='no', save_strategy='no', zero_shot_baseline=False"
# In sentences: flags of other programs, and placeholders.
FOREIGN = {"--requeue", "--kill-on-bad-exit", "--include", "--local-dir", "--check", "--port", "--dataset"}


@pytest.fixture(scope="module")
def reader(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(run_dir, folder / "output")
    export_text_classification(folder / "output")
    config = json.loads((folder / "output" / "config.json").read_text())
    (folder / "output" / "config.json").write_text(json.dumps({**config, "label_thresholds": {"0.05": 0.6}}))
    (folder / "recipes").symlink_to(ROOT / "recipes")
    shutil.copy(REVIEWS / "test.csv", folder / "reviews.csv")
    rows = [f"charged twice for {n},billing,low,1,0\nparcel {n} is lost,shipping,high,0,1\n" for n in range(40)]
    for name in ("tickets.csv", "test.csv", "new.csv"):
        (folder / name).write_text("body,queue,urgency,refund,complaint\n" + "".join(rows))
    votes = [f"offline again {n},technical,technical,\ncharged {n},billing,technical,billing\n" for n in range(40)]
    (folder / "votes.csv").write_text("body,rater_a,rater_b,rater_c\n" + "".join(votes))
    (folder / "build" / "debian").mkdir(parents=True)
    for split in ("train", "validation", "test"):
        rows = [f"viewer of {split} pictures {n},viewing\neditor {n},editing;viewing\n" for n in range(20)]
        (folder / "build" / "debian" / f"uses-{split}.csv").write_text("text,uses\n" + "".join(rows))
        rows = [f"viewer of {split} pictures {n},program,x11\nlibrary {n},shared-lib,libs\n" for n in range(20)]
        (folder / "build" / "debian" / f"kinds-{split}.csv").write_text("text,role,section\n" + "".join(rows))
    return folder


@pytest.mark.parametrize("line", OF_USERS)
def test_a_command_on_a_page_works(line: str, reader: Path, tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    words = TYPED[line]
    if words[0] == "accelerate":
        asked = launch_command_parser().parse_args(words[2:])
        module, argv = asked.training_script, asked.training_script_args
    else:
        module, argv = (words[2], words[3:]) if words[0] == "python" else (f"hf_sentiment_ft.{words[1]}", words[2:])
    name = module.removeprefix("hf_sentiment_ft.")
    monkeypatch.chdir(reader)
    run = ("./output", "output", "user/name", "tickets", "tickets-2", "./topics")
    argv = ["./output" if name not in ("train", "evaluate") and word in run else word for word in argv]
    if name == "train" and "--help" not in argv:
        flags = train.parse_train_arguments(argv)
        if flags.data.train_file:
            flags.model.model_name_or_path, flags.run.dry_run = str(tiny_gpt2), True
            flags.training.output_dir = str(reader / "new")
            train.run(flags)
            assert "rows" in capsys.readouterr().out
    elif name == "evaluate":
        evaluate.parse_evaluate_arguments(argv)
    elif name == "tune":
        tune.parse_tune_arguments(argv)
    elif name == "publish":
        publish.parse_publish_arguments(argv)
    elif name in TRIED:
        monkeypatch.setattr(sys, "argv", [name, *argv])
        monkeypatch.setattr(sys, "stdin", (REVIEWS / "README.md").open())
        status: str | int | None = 0
        try:
            import_module("hf_sentiment_ft.__main__" if name == "--help" else module).main()
        except SystemExit as end:  # after a help
            status = end.code
        assert not status
        assert capsys.readouterr().out or Path("labelled.csv").stat().st_size
    else:
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert [word for word in argv if word.startswith("--") and f'"{word}"' not in source] == []


@pytest.mark.parametrize("line", [line for line in TYPED if line not in OF_USERS and "COMMAND" not in line])
def test_a_developers_command_on_a_page_exists(line: str):
    """Only looked for: comparisons take minutes."""
    first, *words = TYPED[line]
    if first == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif first == "python":
        module = ROOT / words[1].replace(".", "/")
        assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
        sources = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / words[1].split(".")[0]).rglob("*.py"))
        assert [word for word in words[2:] if word.startswith("--") and f'"{word}"' not in sources] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_flag_in_a_sentence_exists(page: str):
    known = {*HfArgumentParser([*OURS, TuneArguments, TrainingArguments])._option_string_actions, *FOREIGN}
    known |= set(launch_command_parser()._option_string_actions)
    for path in [*(ROOT / "hf_sentiment_ft").glob("*.py"), *(ROOT / "hf_sentiment_ft" / "config").glob("*.py")]:
        known |= set(re.findall(r'"(--\w+)"', path.read_text(encoding="utf-8")))
    text = " ".join(text for language, text in code(page) if language == "inline")
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z]\w[\w-]*", text)) - known) == []


@pytest.mark.parametrize("page", [page for page in PAGES if any(kind == "python" for kind, _ in code(page))])
def test_python_on_a_page_runs(page: str, reader: Path, tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(reader)
    names: dict[str, object] = {}
    for language, text in code(page):
        if language == "python":
            text = re.sub(r'"user/[\w-]+"', '"./output"', text).replace('"gpt2"', f'"{tiny_gpt2}"')
            text = text.replace('output_dir="tickets"', f'output_dir="tickets", {QUICK}')
            compiled = compile(text, page, "exec")
            if not any(word in text for word in COMPILED):
                exec(compiled, names)


def test_a_prompt_on_a_page_is_what_the_tokenizer_makes(reader: Path, monkeypatch: pytest.MonkeyPatch):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(reader / "output")
    prompt = tokenizer.decode(tokenizer("a moving, funny film").input_ids)
    assert f"# {prompt!r}" in PAGES["docs/label_words.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    """Within the repository, to headings too; of addresses elsewhere, only the form is looked at."""
    for link in links(page):
        if link.startswith("http"):
            assert re.fullmatch(r"https?://[\w.-]+\.\w+(:\d+)?(/\S*)?", link), link
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_sentence_names_exist(page: str):
    folders = "tests|benchmarks|hf_sentiment_ft|docs|recipes|accelerate_configs"
    named = [text for language, text in code(page) if language == "inline"]
    named = [text for text in named if re.fullmatch(rf"({folders})/[\w./*-]+", text)]
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_messages_of_the_troubleshooting_page_are_in_the_code():
    """Each `…` is a value that the code puts in."""
    messages = set()
    for path in (ROOT / "hf_sentiment_ft").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                messages.add("".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values))
            elif isinstance(node, ast.Constant):
                messages.add(str(node.value))
    headings = re.findall(r"^### `(.*)`$", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    assert len(headings) >= 25
    assert [one for one in headings if not any(one in message.replace("\n", "\\n") for message in messages)] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, of which Sphinx has nothing to complain."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "read"), "docs"]
    built = subprocess.run([*command, str(folder / "html")], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


def test_site_has_every_page_every_command_and_every_flag(site: Path):
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in (site / "tutorial.html").read_text() or page.stem in ("index", "tutorial")
    reference = (site / "command_line.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'<section id="{name.replace("_", "-")}">' not in reference] == []
    flags = [name for group in OURS for name in group.__dataclass_fields__]
    assert [name for name in flags if f"cmdoption-train-{name}" not in reference] == []
    assert "predict_proba" in (site / "python.html").read_text(encoding="utf-8")


def test_llms_txt_lists_every_page_with_what_is_on_it(site: Path):
    """In the form of llmstxt.org: a title, a summary, and lists of links, here to the Markdown of each page."""
    title, summary, *sections = (site / "llms.txt").read_text(encoding="utf-8").strip().split("\n\n")
    assert title == "# hf_sentiment_ft"
    assert summary.startswith("> Turn any causal language model into a text classifier")
    lists = sections[1::2]
    assert all(heading.startswith("## ") for heading in sections[::2])
    found = re.findall(r"^- \[(.+)\]\((.+)\.md\): (\S.{20,})$", "\n".join(lists), re.MULTILINE)
    assert len(found) == sum(len(one.splitlines()) for one in lists)
    assert {name for _, name, _ in found} == {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    for name, page, _ in found:
        assert (site / f"{page}.md").read_text(encoding="utf-8").startswith(f"# {name}\n")
