"""What an engine cannot do is refused before training, and what it can do is as without it."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi
from transformers import AutoConfig
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig, set_hf_deepspeed_config

from hf_sentiment_ft import evaluate
from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.model.lora import check_lora
from hf_sentiment_ft.runtime.distributed import check_engine

from . import engines, forked
from .architectures import save_tiny
from .conftest import REVIEWS, launch
from .forked import finish
from .hub_server import HubServer
from .local_hub import REPO, api_fixture, files_of, hub_fixture, record  # noqa: F401

BASE = "alice/tiny-gpt2"
FEW = ["--dataset_name", REVIEWS, "--max_train_samples", 32, "--max_eval_samples", 8, "--max_test_samples", 9]
FEW += ["--disable_tqdm", "true", "--per_device_train_batch_size", 8]
COMPARED = ("test_accuracy", "test_f1_macro", "test_generation_accuracy", "test_log_loss", "test_loss")
NO_ENGINE = {"fsdp": None, "deepspeed": None, "use_cpu": False, "push_to_hub": False, "hub_strategy": "end"}
ONE_GPU = {"save_only_model": False, "n_gpu": 1}


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "--use_peft merges the adapter into the model after training, which {engine} does not support"),
        ({"load_in_4bit": True, "publish_adapter": True}, "--load_in_4bit keeps all 4-bit weights in each process"),
    ],
)
def test_adapters_that_would_fail_after_training(
    engine: str, given: dict[str, Any], message: str, tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    args = ModelArguments(use_peft=True, **given)
    with pytest.raises(UsageError, match=message.format(engine=engine)):
        check_lora(args, "user/name", AutoConfig.from_pretrained(tiny_gpt2), SimpleNamespace(**NO_ENGINE))


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED"])
def test_evaluation_has_no_optimizer(engine: str, monkeypatch: pytest.MonkeyPatch):
    """With which alone FSDP2 and ZeRO-2 divide a model."""
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    given = SimpleNamespace(**NO_ENGINE, **ONE_GPU, load_best_model_at_end=True, world_size=2)
    check_engine(given)
    with pytest.raises(UsageError, match=f"requests {engine}, which shards a model together with its optimizer"):
        check_engine(given, "evaluate")
    divides_weights = HfTrainerDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    set_hf_deepspeed_config(divides_weights)  # for as long as this object is there
    if engine == "DEEPSPEED":
        check_engine(given, "evaluate")


def test_evaluation_under_zero3_is_that_of_one_process(tiny_gpt2: Path, tmp_path: Path, monkeypatch):
    given = ["--model_name_or_path", tiny_gpt2, *FEW]
    evaluate.run(*evaluate.parse_evaluate_arguments([str(word) for word in [*given, "--output_dir", tmp_path / "one"]]))
    engines.write_site(tmp_path / "site", monkeypatch)
    given += ["--output_dir", "two", *engines.flags("zero3")]
    options = {"config": "deepspeed_zero3", "module": "evaluate", "processes": 2, "cwd": tmp_path}
    done = launch(*given, **options, **engines.ON_CPU)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / folder / "all_results.json").read_text()) for folder in ("one", "two"))
    for name in COMPARED:
        assert two[name] == pytest.approx(one[name], rel=1e-4), name


def test_a_plan_under_zero3_needs_one_process_only(tiny_gpt2: Path, tmp_path: Path):
    """The first one looks at the model to count its weights; divided among all, the others would have to take part."""
    flags = [*FEW, "--model_name_or_path", tiny_gpt2, "--dry_run"]
    printed = finish(*flags, cwd=tmp_path, processes=2, engine="zero3")
    assert "4 steps of 16 rows" not in printed
    assert "2 steps of 16 rows" in printed
    assert "parameters)" in printed


def test_a_classifier_is_exported_under_zero3(tiny_gpt2: Path, tmp_path: Path):
    from transformers import pipeline

    flags = [*FEW, "--model_name_or_path", tiny_gpt2, "--export_text_classification"]
    finish(*flags, cwd=tmp_path, processes=2, engine="zero3")
    output = tmp_path / "output"
    classify = pipeline("text-classification", str(output / "text-classification"))
    for text in ("a moving, funny film", "dull and slow"):
        said = pipeline("text-generation", str(output))(text, return_full_text=False)[0]["generated_text"]
        assert f" {classify(text)[0]['label']}" == said


def test_another_base_model_is_noticed_under_zero3(tiny_gpt2: Path, tmp_path: Path):
    """Of whose weights each process holds only a part."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    flags = [*FEW, "--zero_shot_baseline", "false"]
    finish(*flags, "--model_name_or_path", tiny_gpt2, cwd=tmp_path, processes=2, engine="zero3")
    other = AutoModelForCausalLM.from_pretrained(tiny_gpt2)
    with torch.no_grad():
        other.transformer.h[1].mlp.c_fc.weight += 0.01
    other.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(tiny_gpt2).save_pretrained(tmp_path / "other")
    flags += ["--model_name_or_path", tmp_path / "other", "--resume_from_checkpoint", "true"]
    codes, printed = forked.train(*flags, cwd=tmp_path, processes=2, engine="zero3")
    assert all(codes), printed
    assert "  base model: gpt2 (" in printed


@pytest.mark.parametrize("engine", ["ddp", "zero2"])
def test_processes_wait_for_a_checkpoint_that_is_published(
    engine: str, hub: HubServer, tiny_gpt2: Path, tmp_path: Path
):
    """For as long as --ddp_timeout says; in the next step they would wait for as long as their engine does."""
    flags = [*FEW, "--model_name_or_path", tiny_gpt2, "--zero_shot_baseline", "false", "--save_strategy", "steps"]
    flags += ["--save_steps", 1, "--load_best_model_at_end", "false", "--eval_strategy", "no", "--ddp_timeout", 2]
    flags += ["--push_to_hub", "--hub_model_id", REPO, "--hub_strategy", "every_save"]

    codes, printed = forked.train(
        *flags,
        cwd=tmp_path,
        processes=2,
        engine=engine,
        before=partial(publish_slowly, hub.endpoint, tmp_path),
        rank=None,
    )
    assert all(codes), printed
    assert "process 1 waited 2 s (--ddp_timeout) for another process: publishing a checkpoint" in printed


def publish_slowly(endpoint: str, cwd: Path) -> None:
    """Let a push take longer than the others wait."""
    forked.use_test_hub(endpoint, cwd)
    forked.slow("hf_sentiment_ft.publishing.checkpoint_push", "push", 8)


@pytest.mark.parametrize("engine", engines.SHARDING)
def test_an_adapter_is_published(engine: str, hub: HubServer, api: HfApi, tiny_gpt2: Path, tmp_path: Path):
    """Trained beside divided weights, and said to be verified: with the base model from the Hub."""
    api.create_repo(BASE)
    api.upload_folder(repo_id=BASE, folder_path=tiny_gpt2)
    flags = [*FEW, "--model_name_or_path", BASE, "--use_peft", "--publish_adapter", "--lora_target_modules", "c_attn"]
    flags += ["--push_to_hub", "--hub_model_id", REPO, "--learning_rate", "0.03"]
    use = partial(forked.use_test_hub, hub.endpoint, tmp_path)
    finish(*flags, cwd=tmp_path, processes=2, engine=engine, before=use, rank=None)
    assert record(tmp_path / "output")["status"] == "verified"
    assert "adapter_model.safetensors" in files_of(api)


def test_a_model_that_reads_its_padding_is_found_where_one_process_has_the_weights(tmp_path: Path):
    """As FSDP loads them; the others are told, and pad on the right, too."""
    from safetensors.torch import load_file

    flags = [*FEW, "--model_name_or_path", save_tiny("rwkv", tmp_path / "rwkv"), "--precision", "fp32"]
    weights = []
    for engine in ("ddp", "fsdp2"):
        (tmp_path / engine).mkdir()
        printed = finish(*flags, cwd=tmp_path / engine, processes=2, engine=engine)
        assert "output of rwkv models depends on left padding" in printed
        weights.append(load_file(tmp_path / engine / "output" / "model.safetensors"))
    for name, expected in weights[0].items():
        assert float((weights[1][name] - expected).abs().max()) < 1e-5, name
