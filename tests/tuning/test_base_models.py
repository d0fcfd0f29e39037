"""Several base models: all are checked before one is trained, and one table compares them."""

import json
import shutil
from pathlib import Path

import pytest

from hf_sentiment_ft import tune
from hf_sentiment_ft.tuning.base_models import PeakMemory

from ..conftest import REVIEWS

FLAGS = ["--dataset_name", REVIEWS, "--max_steps", 2, "--zero_shot_baseline", "false", "--max_train_samples", 32]
FLAGS += ["--max_eval_samples", 20, "--max_test_samples", 20, "--learning_rate", 1e-3]


def compare(*argv: object) -> None:
    tune.compare(*tune.parse_tune_arguments(list(map(str, argv))))


def test_models_are_compared_on_the_same_rows(
    tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    for name in ("small", "other"):
        shutil.copytree(tiny_gpt2, name)
    Path("other/model.safetensors").rename("weights")
    with pytest.raises(tune.UsageError, match="names other, which contains no weights"):
        compare(*FLAGS, "--model_name_or_path", "small", "other")
    assert not Path("output/small").exists(), "nothing is trained before all models are checked"

    Path("weights").rename("other/model.safetensors")
    compare(*FLAGS, "--model_name_or_path", "small", "other")
    comparison = json.loads(Path("output/comparison.json").read_text())
    results = json.loads(Path("output/other/all_results.json").read_text())
    (pair,) = comparison["pairs"]
    assert (pair["only_first_right"], pair["only_second_right"], pair["p_value"]) == (0, 0, 1.0)
    small, other = comparison["models"]
    assert small["accuracy"] == other["accuracy"] == results["test_accuracy"]
    assert other["weights_size"] == Path("output/other/model.safetensors").stat().st_size
    assert other["parameters"] > 0 < other["peak_memory"]
    printed = capsys.readouterr().out
    assert max(map(len, printed[printed.index("test split") :].splitlines())) <= 80
    assert "Nothing was published." in printed

    before = Path("output/small/model.safetensors").stat()
    compare(*FLAGS, "--model_name_or_path", "small", "other", "--resume_from_checkpoint", "true")
    assert Path("output/small/model.safetensors").stat() == before, "not trained again"
    assert json.loads(Path("output/comparison.json").read_text()) == comparison
    with pytest.raises(tune.UsageError, match=r"learning_rate: 0.001 → 0.01"):
        compare(*FLAGS, "--model_name_or_path", "small", "other", "--resume_from_checkpoint", "true",
                "--learning_rate", 0.01)  # fmt: skip


def test_peak_memory_is_that_of_a_moment():
    with PeakMemory() as before:
        pass
    with PeakMemory() as memory:
        block = bytearray(300 << 20)
        del block
    assert before.peak > 0
    assert memory.peak >= before.peak
