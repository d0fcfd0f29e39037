"""LoRA on 4-bit weights (QLoRA), which bitsandbytes computes on a CPU, too."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.label_words import task
from hf_sentiment_ft.label_words.model import predict_probabilities
from hf_sentiment_ft.model.loading import ModelSource, load_model, load_tokenizer
from hf_sentiment_ft.model.lora import add_adapter, quantization

from ..architectures import save_tiny
from ..local_hub import api_fixture, hub_fixture  # noqa: F401
from ..test_architectures import check_answers, table, train  # noqa: F401
from ..tiny import count_loaded

pytest.importorskip("bitsandbytes")


def test_gradients_after_an_evaluation_are_those_from_before(tmp_path: Path):
    """On CPUs with AVX512-BF16, bitsandbytes would pack the weights for inference, and backpropagate nothing."""
    torch.set_num_threads(1)
    base = ModelSource(str(save_tiny("llama", tmp_path)), {})
    model = load_model(base, "float32", load_tokenizer(base), quantized=quantization("fp32"))
    assert {type(module).__name__ for module in model.modules()} >= {"Linear4bit"}
    adapted = add_adapter(model, ModelArguments(use_peft=True, load_in_4bit=True, lora_dropout=0))
    weights = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    for name, weight in weights.items():
        torch.nn.init.normal_(weight, std=0.1 if "lora_B" in name else 0.02)
    rows = torch.randint(5, 200, (3, 9))

    def gradients() -> dict[str, torch.Tensor]:
        adapted.train().zero_grad()
        adapted(rows, labels=rows).loss.backward()
        return {name: weight.grad.clone() for name, weight in weights.items()}

    before = gradients()
    with torch.no_grad():
        adapted.eval()(rows)
    torch.testing.assert_close(gradients(), before)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_merged_model_answers_as_evaluated(model_type: str, table: str, tmp_path: Path):  # noqa: F811
    base, output = save_tiny(model_type, tmp_path / "base"), tmp_path / "output"
    saved, rows = train(base, table, output, "--use_peft", "--load_in_4bit")
    check_answers(saved, rows, output)
    assert saved.model.dtype == torch.float32
    assert "quantization" not in (output / "config.json").read_text()


def test_adapter_is_evaluated_on_the_weights_that_its_users_load(
    api: HfApi,
    table: str,  # noqa: F811
    tmp_path: Path,
):
    api.create_repo("alice/base")
    api.upload_folder(repo_id="alice/base", folder_path=save_tiny("llama", tmp_path / "base"))
    output = tmp_path / "output"
    saved, rows = train("alice/base", table, output, "--use_peft", "--load_in_4bit", "--publish_adapter")
    probabilities = predict_probabilities(saved, [row["text"] for row in rows], batch_size=4)
    expected = [[float(row[f"probability_{label}"]) for label in saved.verbalizer.labels] for row in rows]
    assert probabilities == pytest.approx(torch.tensor(expected).numpy(), abs=1e-4)
    assert "quantization" not in (output / "label_words" / "config.json").read_text()


def test_4bit_weights_and_optimizer_are_gone_before_the_whole_weights_come(
    table: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Whoever trains in 4 bit has no memory for both."""
    alive = count_loaded(task, monkeypatch)
    train(save_tiny("llama", tmp_path / "base"), table, tmp_path / "output", "--use_peft", "--load_in_4bit")
    assert alive == [0, 0]
