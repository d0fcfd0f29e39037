"""Loaded from the Hub as card and README show, the text classification model agrees with `predict` on every row."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.classifier import export_text_classification

from ..architectures import save_tiny
from ..conftest import ROOT
from ..local_hub import REPO, api_fixture, files_of, hub_fixture, quick_look_fixture, run_publish  # noqa: F401
from ..test_architectures import table, train  # noqa: F401


@pytest.fixture(
    scope="module",
    params=[("gpt2", []), ("llama", ["--use_peft", "--class_weights", "balanced", "--learning_rate", "0.01"])],
)
def exported(request, table: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:  # noqa: F811
    """Return the folder and the predictions of a run: with tied embeddings, or a merged adapter and an untied head."""
    (model_type, flags), folder = request.param, tmp_path_factory.mktemp("exported")
    base, output = save_tiny(model_type, folder / "base"), folder / "output"
    _, rows = train(base, table, output, "--export_text_classification", *flags)
    return output, rows


def blocks(text: str) -> list[str]:
    """Return the Python examples that load the subfolder."""
    return [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "subfolder" in block]


def test_it_loads_from_the_hub_as_card_and_docs_say(
    exported: tuple[Path, list[dict[str, str]]],
    api: HfApi,
    quick_look: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    output, rows = exported
    assert run_publish(monkeypatch, output, "--hub_model_id", REPO, "--hub_timeout", 5) == 0
    assert {"text-classification/config.json", "text-classification/tokenizer.json"} <= files_of(api)
    labels = ["neg", "pos"]
    expected = [[float(row[f"probability_{label}"]) for label in labels] for row in rows]
    texts = [row["text"] for row in rows]
    (of_card,), (of_readme,) = (blocks(path.read_text()) for path in (output / "README.md", ROOT / "README.md"))
    for block in (of_card, of_readme):
        names: dict[str, Any] = {"pipeline": pipeline}
        exec(block.replace("user/name", REPO), names)
        for options in ({}, {"batch_size": 4}):  # in batches, padded
            answers = names["classify"](texts, top_k=None, truncation=True, **options)
            found = [[{one["label"]: one["score"] for one in answer}[label] for label in labels] for answer in answers]
            np.testing.assert_allclose(found, expected, atol=1e-4)
            assert [answer[0]["label"] for answer in answers] == [row["prediction"] for row in rows]
    tokenizer = AutoTokenizer.from_pretrained(REPO, subfolder="text-classification")
    model = AutoModelForSequenceClassification.from_pretrained(REPO, subfolder="text-classification")
    logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    np.testing.assert_allclose(logits.softmax(-1).detach(), expected, atol=1e-4)
    assert [model.config.id2label[best] for best in logits.argmax(-1).tolist()] == [row["prediction"] for row in rows]
    assert len({row["prediction"] for row in rows}) == 2


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--calibration", "contextual"], "cannot store the values that calibration subtracts"),
        (["--use_peft", "--publish_adapter"], "this is an adapter"),
    ],
)
def test_what_has_no_classifier_is_refused(
    flags: list[str],
    reason: str,
    api: HfApi,
    table: str,  # noqa: F811
    tmp_path: Path,
):
    """It is refused before training, and for a finished run."""
    api.create_repo("alice/base")
    api.upload_folder(repo_id="alice/base", folder_path=save_tiny("llama", tmp_path / "base"))
    with pytest.raises(UsageError, match=f"does not support {next(flag for flag in flags[::-1] if '--' in flag)}"):
        train("alice/base", table, tmp_path / "output", "--export_text_classification", *flags)
    train("alice/base", table, tmp_path / "output", "--max_steps", 1, *flags)
    with pytest.raises(UsageError, match=reason):
        export_text_classification(tmp_path / "output")
    assert not (tmp_path / "output" / "text-classification").exists()
