"""What is read from the Hub before training: one failure is survived, a lasting one ends in one clear error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from hf_sentiment_ft import hub as hub_module
from hf_sentiment_ft.config.arguments import DataArguments, ModelArguments
from hf_sentiment_ft.data.splits import load_splits
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.hub import with_retries
from hf_sentiment_ft.model.loading import find_base_model, load_config, load_model, load_tokenizer
from hf_sentiment_ft.publishing.provenance import find_provenance

from ..hub_server import Fault, HubServer
from ..local_hub import api_fixture, hub_fixture  # noqa: F401
from .test_training_push import BASE, DATA, stocked  # noqa: F401

MODEL_ARGS = ModelArguments(model_name_or_path=BASE, model_revision="main")
DATA_ARGS = DataArguments(dataset_name=DATA)


def read_provenance() -> Any:
    return find_provenance(MODEL_ARGS, find_base_model(MODEL_ARGS), DATA_ARGS)


READS: list[tuple[str, str, Callable[[], Any]]] = [
    ("config.json", "config.json", lambda: load_config(find_base_model(MODEL_ARGS))),
    ("tokenizer", "tokenizer.json", lambda: load_tokenizer(find_base_model(MODEL_ARGS))),
    ("data", f"/api/datasets/{DATA}", lambda: load_splits(DATA_ARGS, 0)),
    ("data's revision", f"/api/datasets/{DATA}", read_provenance),
    ("data's card", f"{DATA}/resolve/.*README.md", read_provenance),
    ("model's card", f"{BASE}/resolve/.*README.md", read_provenance),
]


@pytest.fixture(autouse=True)
def _fresh(stocked: None, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Nothing in a cache, and a person of little patience."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "fresh"))
    monkeypatch.setattr(with_retries, "__defaults__", (1,))


def test_a_model_trained_further_keeps_the_base_model_of_its_card(tmp_path: Path):
    """In its own repository, which cannot be its own base, and from a folder, of which the Hub knows nothing."""

    def base_model_id(name: str, published: str | None = None) -> str | None:
        args = ModelArguments(model_name_or_path=name)
        return find_provenance(args, find_base_model(args), DATA_ARGS, published).base_model_id

    assert base_model_id(BASE, published="alice/another") == BASE
    assert base_model_id(BASE, published=BASE) == "org/original"
    for named, expected in {"org/original": "org/original", "./out": None, "[org/a, org/b]": None}.items():
        (tmp_path / "README.md").write_text(f"---\nbase_model: {named}\n---\n")
        assert base_model_id(str(tmp_path)) == expected


@pytest.mark.parametrize("times", [1, None], ids=["once", "lasting"])
@pytest.mark.parametrize(("what", "path", "read"), READS, ids=[what for what, _, _ in READS])
def test_503(what: str, path: str, read: Callable[[], Any], times: int | None, hub: HubServer):
    fault = hub.inject(Fault("GET", path, times=times, status=503))
    if times:
        assert read() is not None
    else:
        with pytest.raises(UsageError) as error:
            read()
        assert "\n" not in str(error.value)
    assert fault.matched


def test_weights_survive_a_503(hub: HubServer):
    base = find_base_model(MODEL_ARGS)
    tokenizer = load_tokenizer(base)
    fault = hub.inject(Fault("GET", "/_storage/", status=503))
    assert load_model(base, "float32", tokenizer).config.vocab_size
    assert fault.matched


def test_a_stalled_hub_ends_in_an_error(hub: HubServer):
    hub_module.limit_waiting(1)
    hub.inject(Fault("GET", f"/api/datasets/{DATA}", times=None, kind="stall"))
    with pytest.raises(UsageError, match="could not be read from the Hub"):
        read_provenance()


def test_what_is_not_there_is_no_failure_that_waiting_cures(hub: HubServer, api: HfApi):
    api.delete_repo(BASE)
    hub.clear_requests()
    with pytest.raises(UsageError, match="no model could be loaded from alice/tiny-gpt2"):
        load_config(find_base_model(MODEL_ARGS))
    assert len(hub.requests_to("config.json")) <= 2
