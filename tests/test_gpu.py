"""On a GPU, a run is what it is on the CPU, in the precision, memory and waiting that the documentation says."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi

from benchmarks.measure import machine, run_side, side
from hf_sentiment_ft.model.inputs import forward_arguments, model_inputs
from hf_sentiment_ft.runtime.device import disable_cudnn_attention

from .conftest import REVIEWS, launch
from .gpu import CARDS, DEVICE, FIRST, LAST, NEEDS_ONE, ONE_CARD, tell, watched  # noqa: F401
from .hub_server import HubServer
from .local_hub import REPO, api_fixture, finished_fixture, hub_fixture, record, run_publish  # noqa: F401
from .test_engines import FLAGS, OPTIMIZERS, ROWS, difference, model, saved  # noqa: F401

pytestmark = [*NEEDS_ONE, pytest.mark.timeout(600)]

DEFAULTS = [*ROWS, "--learning_rate", 1e-2, "--save_only_model"]
FEW = [*ROWS, "--max_steps", 4, "--zero_shot_baseline", "false"]
FEW += ["--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:  # noqa: F811
    """A run with the default flags: its output folder, what was seen of it, what it printed."""
    cwd = tmp_path_factory.mktemp("gpu")
    return cwd / "output", *watched(*DEFAULTS, "--model_name_or_path", model, cwd=cwd)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_saved(output: Path, device: str) -> None:
    """A pipeline on a device says what the run's predictions say."""
    from transformers import pipeline

    rows = rows_of(output / "test_predictions.csv")
    assert len(rows) == 17
    answer = pipeline("text-generation", str(output), device=device, return_full_text=False)
    said = answer([row["text"] for row in rows])
    assert [of_row[0]["generated_text"] for of_row in said] == [row["generated_text"] for row in rows]


def test_weights_are_those_of_the_cpu(model: Path, tmp_path: Path):  # noqa: F811
    seen = {}
    for config in ("cpu", ONE_CARD):
        given = [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 8, *OPTIMIZERS["sgd"]]
        seen[config], _ = watched(*given, config=config, cwd=tmp_path / config)
    assert seen["cpu"]["peak_bytes"] == 0 < seen[ONE_CARD]["peak_bytes"], "each where it was to be"
    assert difference(saved(tmp_path / ONE_CARD), saved(tmp_path / "cpu")) < 1e-4
    here, there = (json.loads((tmp_path / name / "output" / "all_results.json").read_text()) for name in seen)
    for name in ("zero_shot_test_loss", "eval_loss", "test_loss"):
        assert there[name] == pytest.approx(here[name], rel=1e-3), name


def test_trains_in_what_the_card_does_well_and_evaluates_in_fp32(run):
    _, seen, printed = run
    precision, dtype = ("bf16", "bfloat16") if torch.cuda.get_device_capability()[0] >= 8 else ("fp32", "float32")
    assert f"Training in {precision}: this GPU has " in printed
    assert seen["precisions"] == {"training": [f"torch.{dtype}"], "evaluation": ["torch.float32"]}
    assert not seen["cudnn_attention"]


@pytest.mark.parametrize("device", ["cpu", DEVICE.type])
def test_predictions_are_what_a_pipeline_says(device: str, run):
    check_saved(run[0], device)


def probabilities(path: Path) -> list[list[float]]:
    return [[float(row[name]) for name in row if name.startswith("probability_")] for row in rows_of(path)]


def test_predict_gives_the_probabilities_of_the_cpu(run, tmp_path: Path):
    output, found = run[0], []
    with (tmp_path / "texts.txt").open("w", encoding="utf-8") as file:
        file.writelines(row["text"] + "\n" for row in rows_of(output / "test_predictions.csv"))
    for device in ("cpu", DEVICE.type):
        command = [sys.executable, "-m", "hf_sentiment_ft.predict", "--model", str(output), "--device", device]
        command += ["--input_file", str(tmp_path / "texts.txt"), "--output_file", str(tmp_path / f"{device}.csv")]
        subprocess.run(command, check=True)
        found.append(probabilities(tmp_path / f"{device}.csv"))
    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), atol=1e-3, rtol=0)
    assert len(found[0]) == 17


def test_evaluate_gives_the_probabilities_of_the_cpu(run, tmp_path: Path):
    found = []
    for config in ("cpu", ONE_CARD):
        given = ["--model_name_or_path", run[0], *ROWS, "--output_dir", config]
        done = launch(*given, config=config, module="evaluate", cwd=tmp_path, **CARDS[1])
        assert done.returncode == 0, done.stderr
        found.append(probabilities(tmp_path / config / "test_predictions.csv"))
    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), atol=1e-3, rtol=0)
    assert len(found[0]) == 17


def test_memory_is_what_the_documentation_estimates(tiny_gpt2: Path, tmp_path: Path, tell: Callable[[str], None]):  # noqa: F811
    """18 bytes for each parameter under bf16, of a model whose activations are small beside that."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    tokenizer.save_pretrained(tmp_path / "model")
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4, "num_attention_heads": 16}
    config = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **sizes)
    made = LlamaForCausalLM(config)
    made.save_pretrained(tmp_path / "model")
    given = [*FEW, "--model_name_or_path", tmp_path / "model", "--precision", "bf16"]
    seen, _ = watched(*given, "--per_device_train_batch_size", 4, cwd=tmp_path)
    each = seen["peak_bytes"] / made.num_parameters()
    tell(f"{each:.1f} bytes at the peak for each of {made.num_parameters() / 1e6:.0f} M parameters; 18 are estimated")
    assert 14 < each < 23


@pytest.fixture
def without_cudnn_attention() -> Iterator[None]:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    disable_cudnn_attention(DEVICE)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.parametrize("width", [64, 192, 320])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_padding_on_the_left_makes_no_nan(architecture: str, width: int, without_cudnn_attention: None):
    """In bf16, at widths of 64 modulo 128, where the gradients of cuDNN's attention have been NaN."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if architecture == "gpt2":
        sizes: dict[str, Any] = {"n_positions": 512, "n_embd": 128, "n_layer": 2, "n_head": 2}
        made: Any = GPT2LMHeadModel(GPT2Config(vocab_size=100, attn_implementation="sdpa", **sizes))
    else:
        sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
        made = LlamaForCausalLM(LlamaConfig(vocab_size=100, attn_implementation="sdpa", **sizes))
    made.to(DEVICE)
    lengths = torch.tensor([1, 9, width // 2, width])
    mask = (torch.arange(width) >= width - lengths[:, None]).long().to(DEVICE)
    ids = torch.randint(0, 100, mask.shape, device=DEVICE)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        logits = made(**model_inputs(ids, mask, 1, forward_arguments(made)), use_cache=False).logits
    logits[:, -1].float().log_softmax(-1)[:, 0].mean().backward()
    assert logits.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in made.parameters())


def test_attention_kernels_are_those_that_are_meant(without_cudnn_attention: None, tell: Callable[[str], None]):  # noqa: F811
    kernels = torch.backends.cuda
    names = ("flash", "mem_efficient", "math", "cudnn")
    on = [name for name in names if getattr(kernels, f"{name}_sdp_enabled")()]
    tell(f"attention kernels that torch may choose: {', '.join(on)}")
    assert on == ["flash", "mem_efficient", "math"]


@pytest.mark.skipif(find_spec("flash_attn") is None, reason="needs the package flash_attn")
def test_flash_attention_2(model: Path, tmp_path: Path):  # noqa: F811
    given = [*DEFAULTS, "--model_name_or_path", model, "--attn_implementation", "flash_attention_2"]
    seen, _ = watched(*given, "--dtype", "bfloat16", cwd=tmp_path)
    assert seen["precisions"] == {"training": ["torch.bfloat16"], "evaluation": ["torch.bfloat16"]}
    assert len(rows_of(tmp_path / "output" / "test_predictions.csv")) == 17


def test_fp16(model: Path, tmp_path: Path):  # noqa: F811
    """Gradients are scaled; steps whose gradients overflow are left out, and do not end the run."""
    seen, printed = watched(*DEFAULTS, "--model_name_or_path", model, "--fp16", cwd=tmp_path)
    assert "Training in fp16: " in printed
    assert seen["precisions"]["training"] == ["torch.float16"]
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in saved(tmp_path).values())
    check_saved(tmp_path / "output", DEVICE.type)


def test_lora_on_4bit_weights(model: Path, tmp_path: Path):  # noqa: F811
    pytest.importorskip("bitsandbytes")
    given = [*DEFAULTS, "--model_name_or_path", model, "--use_peft", "--load_in_4bit"]
    watched(*given, cwd=tmp_path)
    check_saved(tmp_path / "output", DEVICE.type)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_training_ends_with_the_same_weights(model: Path, tmp_path: Path):  # noqa: F811
    given = [*FEW, "--model_name_or_path", model, "--precision", "fp32", *OPTIMIZERS["sgd"]]
    for compiled in ("false", "true"):
        (tmp_path / compiled).mkdir()
        done = launch(*given, "--torch_compile", compiled, config=ONE_CARD, cwd=tmp_path / compiled, **CARDS[1])
        assert done.returncode == 0, done.stderr
    assert difference(saved(tmp_path / "true"), saved(tmp_path / "false")) < 1e-4


def test_verification_needs_no_memory_of_the_card(
    hub: HubServer, api: HfApi, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    """It may be full of the model that was trained."""
    torch.cuda.init()
    room = torch.cuda.mem_get_info()[0] - 2**24
    full = torch.empty(room, dtype=torch.uint8, device=DEVICE)
    try:
        assert run_publish(monkeypatch, "output", "--hub_model_id", REPO) == 0
        assert record(finished)["status"] == "verified"
    finally:
        del full
        torch.cuda.empty_cache()


def test_a_benchmark_is_of_the_card(tiny_gpt2: Path):
    """Its memory too; a process that uses a GPU holds more than that on the CPU."""
    figures = run_side(side("ours", "--model", tiny_gpt2, "--dataset", REVIEWS, "--rows", 16))
    assert 0 < figures["peak_gib"] < 0.5
    assert machine()["gpu"] == torch.cuda.get_device_name()


def test_waiting_for_the_card(model: Path, tmp_path: Path, tell: Callable[[str], None]):  # noqa: F811
    given = [*FEW, "--max_steps", 8, "--logging_strategy", "no", "--per_device_train_batch_size", 8]
    given += ["--per_device_eval_batch_size", 2, "--model_name_or_path", model]
    seen, _ = watched(*given, cwd=tmp_path, COUNT_WAITS="1")
    each = {what: sum(places.values()) / (LAST - FIRST) for what, places in seen["waits"].items()}
    for what, places in seen["waits"].items():
        tell(f"{each[what]:g} waits in {what}, at {', '.join(places)}")
    # A batch comes by four copies: ids, mask, positions, labels. Whether it has padding is read to choose a mask, twice
    # if it has some.
    assert each["a step"] <= 4 + 2
    # Which tokens are scored goes to the card by five copies; and Trainer sends and reads the shapes of four tensors,
    # to pad those of several processes to one width.
    assert each["an evaluation batch"] <= 4 + 2 + 5 + 8
