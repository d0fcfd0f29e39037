"""READMEs of base models and datasets are data: what can be read of them is used, and the rest never ends a run."""

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard, constants

from hf_sentiment_ft.config.arguments import DataArguments, ModelArguments
from hf_sentiment_ft.data.splits import load_splits
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.hub import parse_mapping, read_front_matter
from hf_sentiment_ft.model.loading import find_base_model
from hf_sentiment_ft.publishing.card import render_card
from hf_sentiment_ft.publishing.metadata import make_metadata_acceptable
from hf_sentiment_ft.publishing.provenance import Provenance, find_provenance

from .. import forked
from ..conftest import REVIEWS
from ..hub_server import Fault, HubServer, commits
from ..local_hub import (  # noqa: F401
    REPO,
    api_fixture,
    check,
    finished_fixture,
    hub_fixture,
    quick_look_fixture,
    run_publish,
)
from .test_model_card import card_values
from .test_training_push import BASE, DATA, stocked  # noqa: F401

BROKEN = {
    "no YAML": b"---\nlicense: [mit\n---\n",
    "tabs": b"---\nlicense:\tmit\n\tx: y\n---\n",
    "a list": b"---\n- mit\n- en\n---\n",
    "a word": b"---\nmit\n---\n",
    "latin-1": b"---\npretty_name: Caf\xe9\nlicense: mit\n---\n",
    "latin-1 below": b"---\nlicense: mit\n---\nCaf\xe9\n",
    "UTF-16": "---\nlicense: mit\n---\n".encode("utf-16"),
    "a control character": b"---\nlicense: \x07mit\n---\n",
    "nested without end": b"---\na: " + b"[" * 5000 + b"\n---\n",
    "a key that is a list": b"---\n? [a]\n: b\n---\n",
    "features without names": b"---\ndataset_info:\n  features: nonsense\n---\n",
    "a word for information": b"---\ndataset_info:\n- nonsense\n---\n",
}


@pytest.fixture(name="warned")
def warned_fixture(caplog: pytest.LogCaptureFixture) -> Any:
    """Return what was warned of while the function before it ran."""
    caplog.set_level(logging.WARNING)
    return lambda: [one.getMessage() for one in caplog.records if "README.md" in one.getMessage()]


def provenance_of(model: object, data: object = REVIEWS, **flags: str) -> Provenance:
    model_args = ModelArguments(model_name_or_path=str(model))
    return find_provenance(model_args, find_base_model(model_args), DataArguments(dataset_name=str(data), **flags))


def folder_with(tmp_path: Path, readme: bytes) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(REVIEWS / "train.csv", folder)
    (folder / "README.md").write_bytes(readme)
    return folder


def put_unchecked(api: HfApi, repo: str, kind: str, readme: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub store a README that it would refuse today, and that its client cannot send."""
    with monkeypatch.context() as patch:
        patch.setattr(commits, "_content", lambda value: readme)
        api.upload_file(repo_id=repo, repo_type=kind, path_or_fileobj=b"# A card", path_in_repo="README.md")


@pytest.mark.parametrize("readme", BROKEN.values(), ids=BROKEN)
def test_a_broken_readme_is_ignored_with_one_warning(readme: bytes, tmp_path: Path, warned):
    """Of a folder of data, whose README is read for the rows and for the card, and of a base model's."""
    folder = folder_with(tmp_path, readme)
    data = load_splits(DataArguments(dataset_name=str(folder)), 0)
    assert len(data.splits["train"]) > 100
    found = provenance_of(folder, folder)
    assert (found.license, found.license_text, found.languages, found.base_model_id) == (None, None, [], None)
    (warning,) = warned()
    assert warning.startswith(f"The metadata of {folder / 'README.md'} is ignored, since it cannot be read: ")
    assert "\n" not in warning


@pytest.mark.parametrize(
    "readme", [b"", b"# A model\n", b"---\n---\n", b"---\nlicense:\n---\n", b"no\n---\nx: [\n---\n"]
)
def test_a_readme_without_metadata_is_nothing_to_warn_of(readme: bytes, tmp_path: Path, warned):
    folder = folder_with(tmp_path, readme)
    load_splits(DataArguments(dataset_name=str(folder)), 0)
    assert provenance_of(folder, folder).license is None
    assert warned() == []


def test_a_folder_or_nothing_in_place_of_a_readme(tmp_path: Path, warned):
    (tmp_path / "README.md").mkdir()
    assert provenance_of(tmp_path).license is None
    assert warned() == []
    assert read_front_matter(tmp_path / "README.md") == {}
    assert len(warned()) == 1


@pytest.mark.parametrize("name", ["no YAML", "latin-1"])
def test_broken_readmes_on_the_hub(name, stocked: None, hub: HubServer, api: HfApi, tmp_path, monkeypatch, warned):  # noqa: F811
    """In commits from before the Hub checked cards."""
    for repo, kind in ((BASE, "model"), (DATA, "dataset")):
        put_unchecked(api, repo, kind, BROKEN[name], monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "fresh"))
    assert len(load_splits(DataArguments(dataset_name=DATA), 0).splits["train"]) > 100
    found = provenance_of(BASE, DATA)
    assert (found.base_model_id, found.license, found.languages) == (BASE, None, [])
    of_data, of_model = warned()
    assert "alice--short-reviews" in of_data
    assert "alice--tiny-gpt2" in of_model


def test_the_command_goes_on(tiny_gpt2: Path, tmp_path: Path):
    data = folder_with(tmp_path, BROKEN["no YAML"])
    model = shutil.copytree(tiny_gpt2, tmp_path / "model")
    (model / "README.md").write_bytes(BROKEN["latin-1"])
    printed = forked.finish("--model_name_or_path", model, "--dataset_name", data, "--max_steps", 1, cwd=tmp_path)
    assert printed.count("README.md is ignored") == 2
    assert "Repo card metadata block was not found" not in printed
    card = ModelCard.load(tmp_path / "output" / "README.md")
    assert (card.data.license, card.data.language) == (None, None)


def test_words_stay_words(tmp_path: Path):
    """YAML 1.1 reads some of them as truth values and numbers."""
    readme = b"---\nlanguage: no\nlicense: 0\npretty_name: 1.10\nbase_model: null\n---\n"
    folder = folder_with(tmp_path, readme)
    found = provenance_of(folder, folder)
    assert (found.languages, found.dataset_name, found.license, found.base_model_id) == (["no"], "1.10", "0", None)
    assert parse_mapping("a: [yes, On, 0123456, 2026-01-01, !!python/name:os.x y]") == {
        "a": ["yes", "On", "0123456", "2026-01-01", "y"]
    }


def test_language_no_is_norwegian_on_the_card(run_dir: Path, tmp_path: Path):
    languages = provenance_of(tmp_path, folder_with(tmp_path, b"---\nlanguage: no\n---\n")).languages
    values = card_values(run_dir)
    values |= {"languages": languages, "metadata": values["metadata"] | {"language": languages}}
    card = ModelCard(str(render_card(values, "user/name")))
    assert card.data.language == ["no"]
    assert "Language of the data: no." in card.text


@pytest.mark.parametrize("value", ["{a: b}", "[[en], {a: b}]", '""', "~", "[null]"])
def test_values_of_another_kind_are_left_out(value: str, tmp_path: Path, warned):
    readme = "".join(f"{name}: {value}\n" for name in ("language", "license", "license_name", "base_model"))
    folder = folder_with(tmp_path, f"---\n{readme}pretty_name: {value}\n---\n".encode())
    found = provenance_of(folder, folder)
    assert (found.languages, found.license, found.license_text, found.base_model_id) == ([], None, None, None)
    assert found.dataset_name == "folder"
    assert warned() == []


OTHER = "license: other\nlicense_name: tongyi-qianwen\nlicense_link: {link}\n"


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://x.org/LICENSE", "https://x.org/LICENSE"),
        ("LICENSE", None),
        ("javascript:alert(1)", None),
        ("''", None),
    ],
)
def test_a_license_of_its_own_keeps_its_name_and_link(link: str, kept: str | None, run_dir: Path, tmp_path: Path):
    found = provenance_of(folder_with(tmp_path, f"---\n{OTHER.format(link=link)}---\n".encode()))
    assert (found.license, found.license_name, found.license_link) == ("other", "tongyi-qianwen", kept)
    shown = f"[tongyi-qianwen]({kept})" if kept else "tongyi-qianwen"
    assert found.license_text == shown
    card = str(render_card(card_values(run_dir) | {"license": "other", "license_text": shown}, "user/name"))
    assert f"{shown}, as stated by the base model." in card


def test_several_licenses(tmp_path: Path):
    found = provenance_of(folder_with(tmp_path, b"---\nlicense: [mit, apache-2.0]\n---\n"))
    assert (found.license, found.license_text) == (["mit", "apache-2.0"], "mit, apache-2.0")


def test_a_license_that_is_a_file_of_the_base_model(stocked: None, hub: HubServer, api: HfApi, tmp_path, monkeypatch):  # noqa: F811
    """Its link leads to the base model, since the new repository has no such file; the Hub accepts the card."""
    readme = f"---\n{OTHER.format(link='./LICENSE v2')}---\n".encode()
    api.upload_file(repo_id=BASE, path_or_fileobj=readme, path_in_repo="README.md")
    flags = ["--model_name_or_path", BASE, "--dataset_name", DATA, "--max_steps", 1, "--push_to_hub"]
    use = partial(forked.use_test_hub, hub.endpoint, tmp_path, verify_here=True)
    forked.finish(*flags, "--hub_model_id", REPO, "--zero_shot_baseline", "false", cwd=tmp_path, before=use)
    card = ModelCard(Path(api.hf_hub_download(REPO, "README.md")).read_text())
    address = f"https://huggingface.co/{BASE}/blob/main/LICENSE%20v2"
    assert (card.data.license, card.data.license_name) == ("other", "tongyi-qianwen")
    assert card.data.license_link == address
    assert f"[tongyi-qianwen]({address}), as stated by the base model." in card.text


def test_the_license_in_a_gguf_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import gguf

    fields = {"license": "other", "license.name": "Own", "license.link": "https://x.org/L"}
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    for name, value in fields.items():
        writer.add_string(f"general.{name}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = provenance_of(tmp_path / "a.gguf")
    assert (found.license, found.license_name, found.license_link) == ("other", "Own", "https://x.org/L")


def test_a_license_that_the_hub_does_not_know(hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It was written by others, so it is no reason to refuse a run."""
    found = provenance_of(folder_with(tmp_path, b"---\nlicense: My License\n---\n"))
    accepted = make_metadata_acceptable(found, "x", check(), keep_language=False)
    assert (accepted.license, accepted.license_name, accepted.license_text) == ("other", "My License", "My License")
    (warning,) = [one.getMessage() for one in caplog.records if "The Hub rejects" in one.getMessage()]
    assert '"license" must be one of' in warning
    assert warning.endswith("The model card says: license other, license_name My License.")


def test_a_language_that_the_hub_does_not_know(hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    refusal = {"status": 400, "body": b'{"errors": [{"message": "no such language"}]}'}
    found = provenance_of(tmp_path, folder_with(tmp_path, b"---\nlanguage: Klingon\nlicense: mit\n---\n"))
    hub.inject(Fault("POST", "/api/validate-yaml", times=1, **refusal))
    assert make_metadata_acceptable(found, "x", check(), keep_language=False).languages == []
    assert "no such language. The model card says: languages none." in caplog.text
    hub.inject(Fault("POST", "/api/validate-yaml", times=None, **refusal))
    with pytest.raises(UsageError, match="the Hub rejects the model card's metadata: no such language. .*--language"):
        make_metadata_acceptable(found, "x", check(), keep_language=True)
    hub.clear_faults()
    hub.inject(Fault("POST", "/api/validate-yaml", times=None, status=503))
    with pytest.raises(UsageError, match="the Hub could not check the model card's metadata: HTTP 503"):
        make_metadata_acceptable(found, "x", check(timeout=1), keep_language=False)


def test_an_eval_yaml_of_another_kind(stocked: None, hub: HubServer, api: HfApi, tmp_path, monkeypatch):  # noqa: F811
    """What a dataset says about benchmarks is data, too."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "fresh"))
    assert provenance_of(BASE, DATA).benchmark_task == "short_reviews"
    for content in (b"tasks: [abc]", b"tasks: {a: b}", b"- x", b"tasks: 3", b"\xe9", b"tasks: [{id: [x]}]", b"a: ["):
        api.upload_file(repo_id=DATA, repo_type="dataset", path_or_fileobj=content, path_in_repo="eval.yaml")
        assert provenance_of(BASE, DATA).benchmark_task is None


@pytest.mark.usefixtures("quick_look")
def test_a_card_of_ones_own_that_an_old_editor_has_saved(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    """What a person wrote below the line arrives, whatever the encoding."""
    card = (finished / "README.md").read_text(encoding="utf-8")
    (finished / "README.md").write_bytes(f"{card}\nUnser Café\n".encode("cp1252", errors="replace"))
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert "Unser Café" in Path(api.hf_hub_download(REPO, "README.md")).read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick_look")
def test_a_card_on_the_hub_that_an_old_editor_has_saved(hub: HubServer, api: HfApi, finished: Path, monkeypatch):
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    card = (finished / "README.md").read_text(encoding="utf-8")
    edited = f"{card}\nUnser Café\n".encode("cp1252", errors="replace")
    put_unchecked(api, REPO, "model", edited, monkeypatch)
    (finished / "README.md").unlink()
    assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
    assert "Unser Café" in Path(api.hf_hub_download(REPO, "README.md")).read_text(encoding="utf-8")
