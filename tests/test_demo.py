"""The page, in a real browser: what is typed, clicked, uploaded and downloaded, and that texts stay texts."""

import gzip
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from playwright.sync_api import Locator, Page, expect

from hf_sentiment_ft import demo, predict
from hf_sentiment_ft.data.files import read_rows
from hf_sentiment_ft.label_words.attribution import WordImportance
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities

from .architectures import save_tiny
from .hub_server import HubServer
from .label_words.test_text_classification import finish_run
from .local_hub import REPO, api_fixture, hub_fixture  # noqa: F401 - fixtures
from .tiny import write_csv

expect.set_options(timeout=120_000)  # a shared machine may be slow
HOSTILE = '<img src=x onerror="top.ran = 1"><script>top.ran = 1</script>'


@pytest.fixture(scope="module")
def model(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose tiny model distinguishes texts, with a report and predictions for examples."""
    folder = finish_run(save_tiny("gpt2", tmp_path_factory.mktemp("model")))
    shutil.copy(run_dir / "test_predictions.csv", folder)
    report = (run_dir / "report.html").read_text(encoding="utf-8")
    report = report.replace("Content-Security-Policy", "nothing").replace("</h1>", f"</h1>{HOSTILE}", 1)
    (folder / "report.html").write_text(report, encoding="utf-8")
    (folder / "card.json").write_text(json.dumps({"model_name": f"tiny {HOSTILE}"}))
    return folder


@pytest.fixture(scope="module")
def address(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        page = demo.build_demo(str(model), device="cpu")
        yield page.launch(prevent_thread_lock=True, quiet=True)[1]
        page.close()


@pytest.fixture
def page(browser, address: str) -> Iterator[Page]:
    """The page; at the end, it has loaded nothing from elsewhere, and no text in it has run."""
    opened = browser.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    errors: list[object] = []
    opened.on("pageerror", lambda error: errors.append(error))
    opened.goto(address)
    yield opened
    assert opened.evaluate("window.ran") is None
    assert not opened.evaluate("gradio_config.analytics_enabled || gradio_config.run_history")
    assert not errors
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    opened.close()


def type_text(page: Page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Classify").click()


def upload(page: Page, path: Path, column: str = "") -> None:
    page.get_by_role("tab", name="A table").click()
    page.locator("input[type=file]").set_input_files(path)
    expect(page.get_by_role("cell", name=path.name)).to_be_visible()
    page.get_by_label("Text column").fill(column)
    page.get_by_role("button", name="Label all rows").click()


def answer(page: Page) -> Locator:
    return page.get_by_test_id("label-output-value")


def refusal(page: Page) -> Locator:
    return page.get_by_test_id("toast-body")


def ask_predict(monkeypatch: pytest.MonkeyPatch, model: Path, *flags: object) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "--model", str(model), *map(str, flags)])
    predict.main()


def test_a_text_gets_its_answer_and_the_words_that_mattered(page: Page, model: Path):
    text = f"a moving, funny film {HOSTILE}"
    type_text(page, text)
    loaded = load_label_word_model(str(model))
    (expected,) = predict_probabilities(loaded, [text], 1)
    expect(answer(page)).to_have_text(loaded.verbalizer.labels[expected.argmax()])
    for label, probability in zip(loaded.verbalizer.labels, expected, strict=True):
        bar = page.get_by_test_id(f"{label}-confidence-set")
        expect(bar).to_contain_text(f"{round(100 * probability)}%")
    marks = page.locator(".token.highlighted")
    expect(marks.first).to_contain_text(re.compile(r"[+-]\d+\s*$"))
    page.get_by_label("Text", exact=True).fill("another text")
    expect(answer(page)).to_have_count(0)
    expect(marks).to_have_count(0)


def test_an_example_is_a_text_of_the_test_split(page: Page, model: Path):
    with (model / "test_predictions.csv").open() as file:
        texts = file.read()
    page.locator(".gallery-item").first.click()
    field = page.get_by_label("Text", exact=True)
    expect(field).not_to_have_value("")
    assert field.input_value() in texts


def test_a_text_may_be_long_or_empty(page: Page):
    type_text(page, "a moving film " * 70_000)  # 1 MB, of which the model reads a part
    expect(answer(page)).to_be_visible()
    expect(page.locator(".token").first).to_be_visible()
    type_text(page, "  \n")
    expect(refusal(page)).to_contain_text("there is no text. Type or paste one first.")


def test_a_table_comes_back_as_predict_writes_it(page: Page, model: Path, tmp_path: Path, monkeypatch):
    table = tmp_path / "reviews.csv"
    write_csv(table, ((HOSTILE if number % 100 == 0 else f"film {number}", number) for number in range(10_000)))
    upload(page, table)
    with page.expect_download() as download:
        page.locator("a[download='labelled-reviews.csv']").click()
    download.value.save_as(tmp_path / "page.csv")
    ask_predict(monkeypatch, model, "--input_file", table, "--output_file", tmp_path / "command.csv")
    ours, theirs = (list(read_rows(str(tmp_path / name), ".csv")) for name in ("page.csv", "command.csv"))
    assert len(ours) == 10_000
    assert [{**row, "probability_pos": "", "probability_neg": ""} for row in ours] == [
        {**row, "probability_pos": "", "probability_neg": ""} for row in theirs
    ]
    positive = [[float(row["probability_pos"]) for row in rows] for rows in (ours, theirs)]
    assert positive[0] == pytest.approx(positive[1], abs=2e-6)
    share = sum(row["prediction"] == "pos" for row in ours) / 10_000
    expect(page.get_by_test_id("pos-confidence-set")).to_contain_text(f"{round(100 * share)}%")


def test_a_compressed_table_is_read_and_written(page: Page, tmp_path: Path):
    table = tmp_path / "Tickets.JSON.gz"
    table.write_bytes(gzip.compress(b'[{"id": 7, "body": "sch\xc3\xb6n"}]'))
    upload(page, table, column="body")
    with page.expect_download() as download:
        page.locator("a[download='labelled-Tickets.jsonl.gz']").click()
    (row,) = read_rows(str(download.value.path().rename(tmp_path / "page.jsonl.gz")), ".jsonl")
    assert (row["id"], row["body"]) == (7, "schön")
    assert row["prediction"] in ("neg", "pos")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", "%PDF-1.4", "the upload is a.pdf; expected a file of one of the types .csv"),
        (
            "a.csv",
            "<img src=x onerror='top.ran=1'>\nx\n",
            "its columns are: <img src=x onerror='top.ran=1'>. Set",
        ),
        ("b.csv", "", "b.csv is empty"),
        ("c.csv", 'text\ngood\n"bad\n', "c.csv: the row that begins in line 3"),
    ],
)
def test_a_bad_upload_is_refused_in_our_words(page: Page, tmp_path: Path, name: str, content: str, message: str):
    (tmp_path / name).write_text(content)
    upload(page, tmp_path / name)
    expect(refusal(page)).to_contain_text(message)
    assert str(tmp_path.parent) not in refusal(page).inner_text()


def test_the_report_is_on_the_page_and_runs_nothing(page: Page):
    page.get_by_role("tab", name="How good it is").click()
    frame = page.frame_locator("iframe[title=Report]")
    expect(frame.get_by_text("Log loss").first).to_be_visible()
    expect(page.locator("h1").first).to_have_text(f"tiny {HOSTILE}")


def test_examples_come_from_the_hub_too(hub: HubServer, api: HfApi, model: Path):
    api.create_repo(REPO)
    api.upload_folder(folder_path=model, repo_id=REPO)
    examples = demo.example_texts(REPO, "main")
    assert examples == demo.example_texts(str(model), "main")
    assert len(examples) == 2, "one for each label"
    api.delete_file("test_predictions.csv", REPO)
    assert demo.example_texts(REPO, "main") == []


def test_parts_of_a_text_are_the_text():
    words = [WordImportance(1, 4, 0.126), WordImportance(5, 8, -0.3), WordImportance(8, 10, 0.001)]
    marked = demo.marked(" not bad at all", words)
    assert marked == [(" ", None), ("not", "+13"), (" ", None), ("bad", "-30"), (" a", None), ("t all", None)]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a.csv", "a.csv"),
        ("a.csv.CSV", "a.csv.csv"),
        ("a.json", "a.jsonl"),
        ("a.txt.gz", "a.csv.gz"),
        ("a.parquet.gz", "a.parquet"),
    ],
)
def test_a_labelled_table_is_named_like_the_table(name: str, written: str):
    suffix = f".{name.lower().removesuffix('.gz').rpartition('.')[2]}"
    assert demo.output_name(name, suffix) == f"labelled-{written}"


def test_what_is_missing_is_said(model: Path, address: str, monkeypatch, capsys):
    port = address.rstrip("/").rpartition(":")[2]
    monkeypatch.setenv("GRADIO_TEMP_DIR", "set back after this test")
    monkeypatch.setattr(sys, "argv", ["demo", str(model), "--no_browser", "--port", port])
    with pytest.raises(SystemExit, match="2"):
        demo.main()
    assert f"the page could not be opened at 127.0.0.1, port {port}: " in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit, match="2"):
        demo.main()
    assert 'pip install "hf_sentiment_ft[demo]"' in capsys.readouterr().err
