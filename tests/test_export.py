"""A run's ONNX model gives the probabilities of `predict`, by ONNX Runtime and the tokenizers library alone."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words import export
from hf_sentiment_ft.label_words.export import export_onnx
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities
from hf_sentiment_ft.runtime.run_files import own_files, published_files

from .architectures import ARCHITECTURES, save_tiny
from .conftest import ROOT
from .label_words.test_text_classification import REFUSED, finish_run
from .tiny import TEXTS

HOSTILE = ("", " ", "bad </s> [PAD] <|endoftext|> film", "[PAD][PAD]", "<pad>", "\n\n\t", "é" * 20, "long " * 200)
BY_LENGTH = tuple("good " * words for words in range(0, 60, 4))
LABELS = ["negative", "positive"]


def answer(folder: Path, texts: list[str], batch_size: int) -> np.ndarray:
    """Return the probabilities of the exported model as the docs compute them, (rows, labels)."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    rows = []
    for start in range(0, len(texts), batch_size):
        batch = tokenizer.encode_batch(texts[start : start + batch_size])
        feed = {"input_ids": [one.ids for one in batch], "attention_mask": [one.attention_mask for one in batch]}
        (logits,) = session.run(["logits"], {name: np.array(values) for name, values in feed.items()})
        rows.append(torch.tensor(logits).softmax(-1).numpy())
    return np.concatenate(rows)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_each_architecture_is_exact_or_refused(model_type: str, tmp_path: Path):
    """This also holds for hostile texts, in padded batches of any size, and for texts longer than the model reads."""
    torch.set_num_threads(1)
    folder = finish_run(save_tiny(model_type, tmp_path))
    if model_type in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[model_type]):
            export_onnx(folder)
        assert not (folder / "onnx").exists()
        return
    exported = export_onnx(folder)
    texts = [*TEXTS, *HOSTILE, *BY_LENGTH]
    expected = predict_probabilities(load_label_word_model(str(folder)), texts, batch_size=4)
    assert expected.std(axis=0).max() > 0.005, "the model distinguishes the texts"
    for batch_size in (1, 7):
        assert answer(exported, texts, batch_size) == pytest.approx(expected, abs=1e-4)
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [one.name for one in session.get_inputs()] == ["input_ids", "attention_mask"]
    assert [one.name for one in session.get_outputs()] == ["logits"], "no keys and values of the layers"


def export_run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hf_sentiment_ft.export", str(folder), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def exported_run(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run that the command has exported in both precisions; tests must not change it."""
    folder = tmp_path_factory.mktemp("exported") / "output"
    shutil.copytree(run_dir, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    for flags, name in ((["--format", "onnx"], "onnx"), (["--quantize", "int8"], "onnx-int8")):
        done = export_run(folder, *flags)
        assert done.returncode == 0, done.stderr
        assert f"ONNX model saved in {folder / name};" in done.stderr
        assert done.stdout == "", "torch's progress is hidden"
        assert "warning" not in done.stderr.lower()
        assert "pre-processing" not in done.stderr, "what ONNX Runtime advises in every quantization is hidden"
    return folder


def test_every_test_row_gets_the_probabilities_of_the_evaluation(exported_run: Path):
    with (exported_run / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows]
    expected = np.array([[float(row[f"probability_{label}"]) for label in LABELS] for row in rows])
    found = answer(exported_run / "onnx", texts, 8)
    assert found == pytest.approx(expected, abs=1e-4)
    assert [LABELS[best] for best in found.argmax(axis=1)] == [row["prediction"] for row in rows]
    in_int8 = answer(exported_run / "onnx-int8", texts, 8)
    assert in_int8 == pytest.approx(expected, abs=0.1)
    assert np.abs(in_int8 - expected).max() > 1e-6, "the weights are rounded"


def test_a_quantized_model_is_smaller(exported_run: Path):
    whole, quantized = (
        sum((exported_run / folder / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
        for folder in ("onnx", "onnx-int8")
    )
    # The graph itself, which takes most of so small a model, is not smaller.
    assert quantized < whole


def test_what_is_exported_is_the_runs_and_published(exported_run: Path):
    for name in ("onnx", "onnx-int8"):
        there = {path.relative_to(exported_run).as_posix() for path in (exported_run / name).iterdir()}
        assert {f"{name}/{file}" for file in ("model.onnx", "model.onnx.data", "tokenizer.json", "config.json")} < there
        for files in (published_files(exported_run), own_files(exported_run)):
            assert there <= {path.relative_to(exported_run).as_posix() for path in files}
        config = json.loads((exported_run / name / "config.json").read_text())
        assert config["id2label"] == {"0": "negative", "1": "positive"}
        assert config["architectures"] == ["GPT2ForSequenceClassification"]


def test_it_needs_neither_torch_nor_transformers_nor_this_package(exported_run: Path):
    """As docs/deploy.md shows it."""
    code = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").split("## ONNX")[1]
    code = code.split("```python\n")[1].split("```")[0].replace("output/onnx", str(exported_run / "onnx"))
    without = "import sys\nsys.modules |= dict.fromkeys(('torch', 'transformers', 'hf_sentiment_ft'))\n"
    command = [sys.executable, "-c", f"{without}{code}\nprint(json.dumps([labels, probabilities.tolist()]))"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels, found = json.loads(done.stdout.splitlines()[-1])
    texts = ["a moving, funny film", "what a waste of an evening"]
    assert labels == LABELS
    assert np.array(found) == pytest.approx(
        predict_probabilities(load_label_word_model(str(exported_run)), texts, 1), abs=1e-4
    )


def test_transformers_loads_it_too(exported_run: Path):
    from transformers import AutoTokenizer
    from transformers.exporters import ExportedModel

    tokenizer = AutoTokenizer.from_pretrained(exported_run / "onnx")
    texts = [*TEXTS, "long " * 200]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    logits = ExportedModel.from_pretrained(exported_run / "onnx")(**batch).logits
    expected = predict_probabilities(load_label_word_model(str(exported_run)), texts, 1)
    assert logits.softmax(-1).numpy() == pytest.approx(expected, abs=1e-4)


def test_weights_in_bfloat16_are_exported_in_float32(tmp_path: Path):
    folder = finish_run(save_tiny("llama", tmp_path))
    loaded = load_label_word_model(str(folder))
    loaded.model.bfloat16().save_pretrained(folder)
    expected = predict_probabilities(load_label_word_model(str(folder)), list(TEXTS), 1)
    assert answer(export_onnx(folder), list(TEXTS), 3) == pytest.approx(expected, abs=0.05), "predict rounds, not this"
    again = load_label_word_model(str(folder))
    again.model.float()
    assert answer(folder / "onnx", list(TEXTS), 3) == pytest.approx(
        predict_probabilities(again, list(TEXTS), 1), abs=1e-4
    )


def test_a_graph_with_other_probabilities_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, trace = finish_run(save_tiny("llama", tmp_path)), export.trace

    def trace_wrongly(classifier, *given):
        with torch.no_grad():
            classifier.score.weight[0] += 0.1
        return trace(classifier, *given)

    monkeypatch.setattr(export, "trace", trace_wrongly)
    with pytest.raises(UsageError, match=r"probabilities would differ by 0\.\d+ \(expected at most 0.0001\)"):
        export_onnx(folder)
    assert not (folder / "onnx").exists()


def test_what_cannot_be_exported_is_refused_with_the_reason(run_dir: Path, tiny_gpt2: Path, tmp_path: Path):
    done = export_run(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere is not a folder. Pass the output folder of a finished run." in done.stderr
    base = shutil.copytree(tiny_gpt2, tmp_path / "base")
    done = export_run(base)
    assert done.returncode == 2
    assert "contains a model without label words. Train it with hf_sentiment_ft.train first." in done.stderr
    assert {path.name for path in base.iterdir()} == {path.name for path in tiny_gpt2.iterdir()}
    mine = tmp_path / "mine"
    shutil.copytree(run_dir, mine, ignore=shutil.ignore_patterns("checkpoint-*"))
    (mine / "onnx").mkdir()
    (mine / "onnx" / "model.onnx").write_text("somebody's")
    done = export_run(mine)
    assert done.returncode == 2
    assert "would replace: onnx/model.onnx. Move them elsewhere" in done.stderr
    assert (mine / "onnx" / "model.onnx").read_text() == "somebody's"


def test_missing_packages_are_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(UsageError, match=r'needs no_such_package; install it: pip install .*"hf_sentiment_ft\[onnx\]"'):
        export_onnx(tmp_path)


def test_help_answers_at_once():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hf_sentiment_ft.export", "--help"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True,
    )  # fmt: skip
    assert "--quantize" in done.stdout
    assert " torch" not in done.stderr
