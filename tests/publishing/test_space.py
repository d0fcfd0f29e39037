"""A Space beside a published model: what is pushed, and its page in a real browser, which runs the model."""

import csv
import json
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi, RepoCard
from huggingface_hub.utils._http import default_client_factory

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import PublishError, UsageError
from hf_sentiment_ft.label_words.export import onnx_probabilities
from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.publishing.preflight import resolve_hub_options
from hf_sentiment_ft.publishing.publication import retry_command
from hf_sentiment_ft.publishing.space import publish_space
from hf_sentiment_ft.publishing.static_space import CHECKED_TEXTS, browser_prompt, browser_tokenizer
from hf_sentiment_ft.training.seeds import flags_of_seed

from ..conftest import ROOT
from ..hub_server import HubServer
from ..local_hub import REPO, TOKEN, check, record, run_publish, use_hub, verify_here
from ..tiny import BUILDERS, TEXTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

SPACE = "alice/try"
STATIC = {
    "README.md", "index.html", "style.css", "space.js", "space.json", "report.html", "model/model.onnx",
    "model/model.onnx.data", "model/tokenizer.json",
}  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> [PAD] <|endoftext|> 退款 🎬\n\n ‮"
NPM = ROOT / ".venv" / "npm" / "node_modules"


@pytest.fixture(scope="module", name="hub")
def hub_fixture(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub on which the command has published a run, `output` in the working folder, with a static Space."""
    folder = tmp_path_factory.mktemp("space")
    shutil.copytree(run_dir, folder / "output", ignore=shutil.ignore_patterns("checkpoint-*"))
    with pytest.MonkeyPatch.context() as patch, HubServer(folder / "hub") as server:
        server.add_user("alice", TOKEN, orgs={"lab": "write", "library": "read"})
        server.add_user("bob", "hf_bob")
        use_hub(server.endpoint, folder, patch)
        verify_here(patch, folder)
        patch.chdir(folder)
        assert run_publish(patch, "output", "--hub_model_id", REPO, "--push_space", SPACE) == 0
        yield server
    huggingface_hub.set_client_factory(default_client_factory)


@pytest.fixture(name="api")
def api_fixture(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=TOKEN)


def files_of(api: HfApi, space: str = SPACE) -> set[str]:
    return set(api.list_repo_files(space, repo_type="space")) - {".gitattributes"}


def test_a_static_space_arrives_as_one_commit_and_only_once(hub: HubServer, api: HfApi, monkeypatch, capsys):
    assert files_of(api) == STATIC, "the page that the Hub put there is replaced"
    titles = [commit.title for commit in api.list_repo_commits(SPACE, repo_type="space")]
    assert titles == ["Publish a page to try the model", "initial commit"]
    card = RepoCard(Path(api.hf_hub_download(SPACE, "README.md", repo_type="space")).read_text(encoding="utf-8")).data
    assert (card.sdk, card.models) == ("static", [REPO])
    before, commits = record(Path("output")), len(titles)
    assert before["space"]["revision"] == api.space_info(SPACE).sha
    assert before["space"]["files"].keys() == STATIC
    assert before["command"].endswith(f"--push_space {SPACE}")
    assert "onnx-int8/model.onnx" in before["files"], "the model of the page is also in the model's repository"
    hub.clear_requests()
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO, "--push_space", SPACE) == 0
    assert f"try it: {hub.endpoint}/spaces/{SPACE}" in capsys.readouterr().out
    assert {row.path for row in hub.requests if row.method not in ("GET", "HEAD")} == {"/api/validate-yaml"}
    assert record(Path("output")) == before
    assert len(api.list_repo_commits(SPACE, repo_type="space")) == commits


def test_a_gradio_space_replaces_a_static_one(api: HfApi):
    api.create_repo("alice/demo", repo_type="space", space_sdk="static")
    destination = check(push_space="alice/demo", space_sdk="gradio")
    assert retry_command(Path("output"), destination).endswith("--push_space alice/demo --space_sdk gradio")
    publish_space(Path("output"), destination, destination.space)
    files = files_of(api, "alice/demo")
    assert files >= {"README.md", "app.py", "requirements.txt", "hf_sentiment_ft/publishing/page/space.js"}
    assert not files & {"index.html", "style.css"}
    found = Path(api.hf_hub_download("alice/demo", "requirements.txt", repo_type="space")).read_text()
    assert {"torch", "transformers"} <= set(re.findall(r"^[\w-]+", found, re.MULTILINE))
    assert "pytest" not in found
    destination = check(push_space="alice/demo")
    publish_space(Path("output"), destination, destination.space)
    assert files_of(api, "alice/demo") == STATIC


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"push_space": "bob/try"}, "--push_space is 'bob/try', but the user of this token can only publish under"),
        ({"push_space": "library/try"}, "has only read access to library"),
        ({"push_space": "a b"}, "--push_space is 'alice/a b', which is not a valid name"),
        ({"push_space": "alice/theirs"}, "is not empty and was not published by hf_sentiment_ft. Use another --push_s"),
        ({"push_space": "try-gradio", "space_sdk": "gradio"}, "for paying accounts only .* Use --space_sdk static"),
        ({"push_space": "try", "hub_create_pr": True}, "--push_space and --hub_create_pr are both given"),
        ({"push_space": "alice/public", "repo_id": "alice/secret"}, "is public, but the model is private"),
        ({"push_space": "alice/public", "repo_id": "alice/new", "private": True}, "is public, but the model is privat"),
    ],
)
def test_what_cannot_be_published_is_refused_before_training(api: HfApi, options: dict[str, Any], message: str):
    api.create_repo("alice/secret", private=True, exist_ok=True)
    for name in ("alice/theirs", "alice/public"):
        api.create_repo(name, repo_type="space", space_sdk="static", exist_ok=True)
    theirs = {"repo_id": "alice/theirs", "repo_type": "space", "path_in_repo": "index.html"}
    api.upload_file(path_or_fileobj=b"my own page", **theirs)
    with pytest.raises(UsageError, match=message):
        check(**{"repo_id": REPO} | options)


def test_flags_that_do_not_go_with_a_space():
    with pytest.raises(UsageError, match="--push_space does not support --publish_adapter"):
        parse_train_arguments(["--push_to_hub", "--push_space", SPACE, "--use_peft", "--publish_adapter"])
    alone = parse_train_arguments(["--push_space", SPACE])
    with pytest.raises(UsageError, match="--push_space is given without --push_to_hub"):
        resolve_hub_options(alone.training, alone.hub)


def test_each_of_several_seeds_makes_no_space_but_could():
    argv = ["--num_seeds", "2", "--push_to_hub", "--push_space", SPACE]
    of_seed = parse_train_arguments(flags_of_seed(argv, parse_train_arguments(argv), 43, Path("seed-43")))
    assert resolve_hub_options(of_seed.training, of_seed.hub) is None
    assert of_seed.needs_classifier


def test_an_organisation_that_does_not_pay_is_told_at_the_push(api: HfApi):
    destination = check(push_space="lab/try", space_sdk="gradio")
    with pytest.raises(PublishError, match="paying accounts only"):
        publish_space(Path("output"), destination, destination.space)


def test_a_space_is_as_private_as_its_model(api: HfApi):
    api.create_repo("alice/hidden", private=True)
    destination = check("alice/hidden", push_space="alice/try-hidden")
    publish_space(Path("output"), destination, destination.space)
    assert api.space_info("alice/try-hidden").private


@pytest.fixture(scope="module", name="browser")
def browser_fixture() -> "Iterator[Browser]":
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if not chromium or not NPM.is_dir():
        pytest.skip("needs chromium and npm: make test installs them")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="module", name="site")
def site_fixture(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of what is on the Hub, which serves the files of a static Space as they are."""
    folder = tmp_path_factory.mktemp("site")
    huggingface_hub.snapshot_download(SPACE, repo_type="space", local_dir=folder, token=TOKEN)
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def answer_as_cdn(route: "Route") -> None:
    path = re.sub(r"@[\d.]+/", "/", route.request.url.partition("/npm/")[2])
    kind = "application/wasm" if path.endswith(".wasm") else "text/javascript"
    headers = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(body=(NPM / path).read_bytes(), content_type=kind, headers=headers)


@pytest.fixture(name="page")
def page_fixture(browser: "Browser", site: str) -> "Iterator[Page]":
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.route("https://cdn.jsdelivr.net/**", answer_as_cdn)
    page.goto(site)
    yield page
    context.close()


def load(page: "Page") -> str:
    """Press the button, wait, and return what the page says."""
    page.click("form > button:enabled")
    page.wait_for_selector("form > button:text-is('Classify'):enabled, #status.wrong")
    return page.inner_text("#status")


def ask(page: "Page", text: str) -> dict[str, float]:
    page.fill("#text", text)
    page.click("form > button")
    page.wait_for_selector("form > button:enabled")
    rows = page.inner_text("#answer").split("\n")
    return {label: float(figure.rstrip(" %")) / 100 for label, figure in zip(rows[::2], rows[1::2], strict=True)}


def test_the_page_answers_as_the_model_in_8_bits_does(page: "Page"):
    alarms: list[str] = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: alarms.append(str(error)))
    page.on("console", lambda line: alarms.append(line.text) if line.type == "error" else None)
    assert load(page) == "The model is ready. Write a text, then press Classify."
    texts = [*TEXTS, HOSTILE, "long words " * 500]
    for text, expected in zip(texts, onnx_probabilities(Path("output", "onnx-int8"), texts), strict=True):
        assert ask(page, text) == pytest.approx(dict(zip(["negative", "positive"], expected, strict=True)), abs=0.005)
    with Path("output", "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    # What the rounding of this model costs.
    assert ask(page, row["text"])["negative"] == pytest.approx(float(row["probability_negative"]), abs=0.02)
    assert not alarms
    assert page.frame_locator("iframe").locator("h2").first.inner_text() == "Accuracy", "the report is below"

    about = json.loads(page.request.get(page.url.replace("index.html", "space.json")).text())
    about |= {"labels": ["<img src=x onerror=alert(3)>", "positive"], "examples": ["<script>alert(4)</script>"]}
    page.route("**/space.json", lambda route: route.fulfill(json=about))
    page.route("**/model/*", lambda route: route.abort())
    page.reload()
    assert load(page).startswith("The model is ready"), "a second visit downloads nothing"
    page.click("#examples button")
    assert ask(page, page.input_value("#text")).keys() == set(about["labels"])
    assert page.input_value("#text") == "<script>alert(4)</script>"
    assert not alarms


def test_the_page_makes_the_ids_of_python(page: "Page"):
    kinds = []
    for kind, template in (
        (kind, f"{before}{{text}}\nIt was{{label_word}}") for kind in BUILDERS for before in ("\n", "Review: ")
    ):
        base = BUILDERS[kind]()
        tokenizer = put_prompt_into_tokenizer(base, build_prompt(base, template), "right" if kind == "gpt2" else "left")
        tokenizer.model_max_length = 60
        ids = [tokenizer(text, truncation=True).input_ids for text in (*CHECKED_TEXTS, HOSTILE)]
        kinds.append([json.loads(browser_tokenizer(tokenizer)), browser_prompt(tokenizer), ids])
    found = page.evaluate(
        """async ([kinds, texts]) => {
            const [{ encode }, { Tokenizer }] = await Promise.all([import("./space.js"), import("tokenizers")]);
            return kinds.map(([file, prompt]) => texts.map((text) => encode(new Tokenizer(file, {}), prompt, text)));
        }""",
        [kinds, [*CHECKED_TEXTS, HOSTILE]],
    )
    assert found == [ids for _, _, ids in kinds]


def test_the_page_says_in_plain_words_what_goes_wrong(page: "Page", site: str):
    other_ids, too_large = (
        json.loads(page.request.get(site.replace("index.html", "space.json")).text()) for _ in range(2)
    )
    too_large["files"]["model/model.onnx.data"]["size"] = 2**60
    other_ids["checks"][0]["ids"][0] += 1
    for address, broken, words in (
        ("**/model/model.onnx.data", lambda route: route.abort(), "The download failed. Check the connection"),
        ("**/model/model.onnx.data", lambda route: route.fulfill(status=404), "model/model.onnx.data is missing"),
        ("**/model/model.onnx.data", lambda route: route.fulfill(body="x"), "arrived incomplete"),
        (
            "**/*.wasm",
            lambda route: route.fulfill(body="x", headers={"Access-Control-Allow-Origin": "*"}),
            "The download f",
        ),
        ("**/space.json", lambda route: route.fulfill(json=too_large), "does not fit into the memory of this browser"),
        ("**/space.json", lambda route: route.fulfill(json=other_ids), 'reads "a moving, funny film" otherwise'),
    ):
        page.route(address, broken)
        page.goto(site)
        said = load(page)
        assert words in said
        assert said.endswith("The report below needs no model.")
        page.unroute(address, broken)
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(site)
    page.wait_for_selector("#status.wrong")
    assert "has no WebAssembly" in page.inner_text("#status")
    assert page.is_disabled("form > button"), "nothing is downloaded in vain"
