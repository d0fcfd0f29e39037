"""Attention implementations that fail where there is padding, or in 32 bits: told before training, with the way out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import RunError, UsageError
from hf_sentiment_ft.evaluate import parse_evaluate_arguments
from hf_sentiment_ft.label_words.task import LabelWordTask
from hf_sentiment_ft.model.inputs import check_attention, right_pad_if_needed
from hf_sentiment_ft.model.loading import find_base_model, load_model, load_tokenizer
from hf_sentiment_ft.model.lora import add_adapter, quantization
from hf_sentiment_ft.predict import main as predict

from ..architectures import save_tiny
from ..test_architectures import table, train  # noqa: F401
from ..tiny import write_csv
from ..training.test_trainer import make_trainer  # noqa: F401

NAN = float("nan")
Attended = tuple[Tensor, Tensor | None]


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **others: Any) -> Attended:
    made: Attended = sdpa_attention_forward(module, query, key, value, mask, **others)
    return made


def rows_of_nothing(mask: Tensor | None) -> Tensor:
    """Which rows of the mask attend to nothing: (batch, 1, seq, 1)."""
    return torch.zeros(1, 1, 1, 1).bool() if mask is None else ~mask.any(-1, keepdim=True)


def nan_forward(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **others: Any) -> Attended:
    output, weights = attend(module, query, key, value, mask, **others)
    return output.masked_fill(rows_of_nothing(mask).transpose(1, -2), NAN), weights


def nan_when_wide(module: Any, query: Tensor, *args: Any, **others: Any) -> Attended:
    return (nan_forward if query.size(2) >= 64 else attend)(module, query, *args, **others)


def nan_backward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **others: Any
) -> Attended:
    """As cuDNN on H100: 16 bits, widths of 64 modulo 128, the queries' gradients."""
    narrow = query.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    if query.requires_grad and narrow and query.size(2) % 128 == 64:
        empty = rows_of_nothing(mask)
        query.register_hook(lambda gradient: gradient.masked_fill(empty, NAN))
    return attend(module, query, key, value, mask, **others)


def no_fp32(module: Any, query: Tensor, *args: Any, **others: Any) -> Attended:
    if query.dtype == torch.float32:
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    return attend(module, query, *args, **others)


def flash_on_gpus(*args: Any, **others: Any) -> Attended:
    raise RuntimeError("FlashAttention only supports GPUs")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for attention in (nan_forward, nan_when_wide, nan_backward, no_fp32, flash_on_gpus):
        monkeypatch.setitem(AttentionInterface._global_mapping, attention.__name__, attention)
        monkeypatch.setitem(AttentionMaskInterface._global_mapping, attention.__name__, sdpa_mask)


@pytest.fixture(params=["gpt2", "llama"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return save_tiny(request.param, tmp_path / "base")


def load(base: Path, attention: str, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    found = find_base_model(ModelArguments(str(base)))
    tokenizer = load_tokenizer(found)
    return load_model(found, "float32", tokenizer, attention, **options), tokenizer


@pytest.mark.parametrize("flags", [[], ["--use_peft"]])
@pytest.mark.parametrize("attention", ["nan_forward", "nan_when_wide", "nan_backward"])
def test_attention_that_makes_nan_of_padding_is_named_before_training(
    attention: str,
    flags: list[str],
    base: Path,
    table: str,  # noqa: F811
    tmp_path: Path,
):
    message = f"{attention} attention outputs NaN .* on cpu.*Use another one: --attn_implementation eager"
    with pytest.raises(UsageError, match=message):
        train(base, table, tmp_path / "out", "--attn_implementation", attention, "--precision", "bf16", *flags)


def test_gradients_are_tried_in_the_arithmetic_of_training(base: Path, table: str, tmp_path: Path):  # noqa: F811
    flags = ["--attn_implementation", "nan_backward", "--precision", "fp32", "--max_steps", "1"]
    assert train(base, table, tmp_path / "out", *flags)[1]


def test_what_is_only_evaluated_needs_no_gradients(base: Path):
    check_attention(*load(base, "nan_backward"))
    with pytest.raises(UsageError, match="nan_when_wide attention"):
        check_attention(*load(base, "nan_when_wide"))


def test_4_bit_weights_are_tried_too(tmp_path: Path):
    pytest.importorskip("bitsandbytes")
    base, bf16 = save_tiny("llama", tmp_path), torch.autocast("cpu", torch.bfloat16)
    for attention in ("sdpa", "nan_backward"):
        model, tokenizer = load(base, attention, quantized=quantization("fp32"))
        adapted = add_adapter(model, ModelArguments(use_peft=True, load_in_4bit=True))
        refused = pytest.raises(UsageError, match="nan_backward attention")
        with refused if attention == "nan_backward" else nullcontext():
            check_attention(adapted, tokenizer, bf16)


def test_trying_leaves_no_trace(base: Path):
    """Neither gradients nor hooks, and no random number is drawn: an adapter's dropout would draw some."""
    model, tokenizer = load(base, "sdpa")
    adapted = add_adapter(model, ModelArguments(use_peft=True, lora_dropout=0.5))
    state = torch.get_rng_state()
    check_attention(adapted, tokenizer, nullcontext())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in adapted.parameters())
    assert not model.get_input_embeddings()._forward_hooks


def test_model_whose_own_numbers_are_not_finite_is_not_told_to_change_its_attention(base: Path):
    model, tokenizer = load(base, "sdpa")
    torch.nn.init.constant_(next(model.parameters()), NAN)
    check_attention(model, tokenizer)
    with pytest.raises(UsageError, match=r"outputs NaN: .*too large for torch.float32. Use another model"):
        right_pad_if_needed(model, tokenizer)


def test_kernel_for_gpus_is_not_tried_on_the_cpu(base: Path):
    """Models are loaded there; they come to their device later."""
    model, tokenizer = load(base, "sdpa")
    model.config._attn_implementation = "flash_on_gpus"
    right_pad_if_needed(model, tokenizer)
    assert model.config._attn_implementation == "flash_on_gpus"
    with pytest.raises(RuntimeError, match="only supports GPUs"):
        check_attention(model, tokenizer)


def test_scores_that_are_no_numbers_before_training_are_not_put_down_to_it(make_trainer: Any):  # noqa: F811
    """Where an engine shares out the model, its attention has not been tried."""
    trainer = make_trainer(max_steps=1)
    trainer.train()
    torch.nn.init.constant_(trainer.model.transformer.h[0].attn.c_attn.weight, NAN)
    with pytest.raises(RunError, match="training has diverged.*Lower --learning_rate"):
        trainer.evaluate()
    trainer.state.global_step = 0
    with pytest.raises(RunError, match="even before training. Try --attn_implementation eager"):
        trainer.evaluate()


def test_predict_says_what_it_can_do(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", nan_when_wide)
    monkeypatch.setattr(sys, "argv", ["predict", "--model", str(run_dir), "a film"])
    with pytest.raises(SystemExit):
        predict()
    assert "sdpa attention outputs NaN" in (error := capsys.readouterr().err)
    assert error.endswith("Use another one: --device cpu.\n")


@pytest.mark.parametrize("parse", [parse_train_arguments, parse_evaluate_arguments])
@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "kernels-community/flash-attn2"])
def test_flash_attention_needs_weights_of_16_bits(name: str, parse: Callable[[list[str]], Any], tmp_path: Path):
    flags = ["--model_name_or_path", "gpt2", "--output_dir", str(tmp_path), "--attn_implementation", name]
    with pytest.raises(UsageError, match=f"--attn_implementation is {name}.*Add --dtype bfloat16, or use .*sdpa"):
        parse(flags)
    parse([*flags, "--dtype", "bfloat16"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_without_fp32_works_from_check_to_evaluation(precision: str, base: Path, table: str, tmp_path: Path):  # noqa: F811
    flags = ["--attn_implementation", "no_fp32", "--dtype", "bfloat16", "--zero_shot_baseline", True, "--max_steps", 2]
    saved, rows = train(base, table, tmp_path / "out", *flags, "--eval_strategy", "steps", "--precision", precision)
    assert len(rows) == 10
    assert saved.model.dtype == torch.bfloat16


@pytest.fixture
def _cudnn_as_before() -> Iterator[None]:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.usefixtures("_cudnn_as_before")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_training_on_a_gpu_leaves_out_cudnns_attention(device: str, base: Path):
    """The model is loaded on the CPU, so that this runs without a GPU, too."""
    model_args = ModelArguments(str(base), attn_implementation="sdpa")
    found = find_base_model(model_args)
    task: Any = SimpleNamespace(args=model_args, base=found, tokenizer=load_tokenizer(found), set_generation_config=id)
    args: Any = SimpleNamespace(device=torch.device(device), torch_compile=False)
    torch.backends.cuda.enable_cudnn_sdp(True)
    LabelWordTask.load_model(task, args, "bf16", 64)
    assert torch.backends.cuda.cudnn_sdp_enabled() == (device == "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("_cudnn_as_before")
def test_training_on_a_gpu_at_the_width_where_cudnn_failed(base: Path, table: str, tmp_path: Path):  # noqa: F811
    """The check finds no fault, nor does the run, whose loss and scores would be none."""
    rows = [(f"{'very ' * (number % 2 * 64)}good", "pos" if number % 3 else "neg") for number in range(12)]
    long = write_csv(tmp_path / "long.csv", rows)
    flags = ["--attn_implementation", "sdpa", "--precision", "bf16", "--max_seq_length", 64, "--train_file", long]
    assert train(base, table, tmp_path / "out", *flags)[1]
