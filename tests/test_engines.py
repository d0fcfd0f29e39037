"""Two processes under each engine end with one process's model, whatever happens on the way, and publish it."""

import csv
import gc
import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file

from . import engines, forked
from .conftest import REVIEWS, launch
from .forked import finish, killed_at, replaced
from .hub_server import HubServer
from .local_hub import REPO, api_fixture, files_of, hub_fixture, record  # noqa: F401
from .publishing.test_publish import PUSHED

ENGINES = list(engines.CONFIGS)
# Where the weights are compared, each engine trains both models; elsewhere, in turn one of them.
EACH_WITH_A_MODEL = [("ddp", "llama"), ("fsdp2", "gpt2"), ("zero2", "llama"), ("zero3", "gpt2")]
EACH_WITH_THE_OTHER = [("ddp", "gpt2"), ("fsdp2", "llama"), ("zero2", "gpt2"), ("zero3", "llama")]
ROWS = ["--dataset_name", REVIEWS, "--max_train_samples", 64, "--max_eval_samples", 16, "--max_test_samples", 17]
# All other flags are the defaults: the untouched model is measured, and the best checkpoint is kept.
FLAGS = [*ROWS, "--learning_rate", 1e-2, "--disable_tqdm", "true", "--precision", "fp32"]
OPTIMIZERS = {
    "sgd": ["--optim", "sgd", "--learning_rate", 0.1],
    "adamw": ["--adam_epsilon", 1e-4],
}  # or rounding decides where gradients are 0
OWN_FILES = {
    "ddp": "optimizer.pt",
    "fsdp2": "pytorch_model_fsdp.bin",
    "zero2": "zero_to_fp32.py",
    "zero3": "zero_to_fp32.py",
}
STEPS = ["--max_steps", 14, "--eval_strategy", "steps", "--eval_steps", 3, "--save_strategy", "steps"]
STEPS += ["--save_steps", 3, "--load_best_model_at_end", "false", "--zero_shot_baseline", "false"]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without dropout, with layers that ZeRO-3 does not keep whole for being small; a tied head, and an own."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, set_seed

    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    tokenizer.save_pretrained(folder)
    set_seed(0)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0}
    if request.param == "gpt2":
        sizes = {"n_positions": 128, "n_embd": 128, "n_inner": 1024, "n_layer": 2, "n_head": 2}
        config = GPT2Config(**sizes, **common, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    else:
        sizes = {"max_position_embeddings": 128, "hidden_size": 128, "intermediate_size": 1024}
        layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "tie_word_embeddings": False}
        LlamaForCausalLM(LlamaConfig(**sizes, **layers, **common)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def one_process(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs of one process with these flags, each made once."""
    made: dict[tuple[object, ...], Path] = {}

    def run(*flags: object) -> Path:
        if flags not in made:
            made[flags] = tmp_path_factory.mktemp("one")
            finish(*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 8, "--use_cpu", "true",
                   *flags, cwd=made[flags])  # fmt: skip
        return made[flags]

    return run


def saved(cwd: Path) -> dict[str, Any]:
    return load_file(cwd / "output" / "model.safetensors")


def difference(left: dict[str, Any], right: dict[str, Any]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name].float() - right[name].float()).abs().max()) for name in left)


def keep_weights() -> None:
    """Have each process keep its weights of after training."""

    def make(original: Any) -> Any:
        def keep_and_save(task: Any, trainer: Any, *args: Any) -> Any:
            torch.save(trainer.model.state_dict(), f"weights-{os.environ['RANK']}.pt")
            return original(task, trainer, *args)

        return keep_and_save

    replaced("hf_sentiment_ft.label_words.task", "LabelWordTask.save", make)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_weights_are_those_of_one_process(
    engine: str, optimizer: str, model: Path, one_process: Callable[..., Path], tmp_path: Path
):
    """With the default flags: the untouched model's measurement once left DistributedDataParallel out."""
    one = one_process(*OPTIMIZERS[optimizer])
    given = [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 4, *OPTIMIZERS[optimizer]]
    before = keep_weights if engine in ("ddp", "zero2") else None  # elsewhere a process has a part of them
    printed = finish(*given, cwd=tmp_path, processes=2, engine=engine, before=before, rank=None)
    assert "find_unused_parameters" not in printed, "a walk through the graph in each step"
    assert difference(saved(tmp_path), saved(one)) < 2e-5
    untrained = load_file(model / "model.safetensors")
    norms = [name for name in untrained if "norm" in name or "ln_" in name]
    assert difference({name: saved(one)[name] for name in norms}, {name: untrained[name] for name in norms}) > 1e-3, (
        "it has learnt"
    )
    if before:
        first, second = (torch.load(tmp_path / f"weights-{rank}.pt") for rank in range(2))
        assert difference(first, second) == 0
    figures, expected = (json.loads((cwd / "output" / "all_results.json").read_text()) for cwd in (tmp_path, one))
    for name in ("zero_shot_test_loss", "eval_loss", "test_loss"):
        assert figures[name] == pytest.approx(expected[name], rel=1e-4), name


def test_compiled_processes_train_together(model: Path, one_process: Callable[..., Path], tmp_path: Path):
    """torch.compile's wrapper around the untouched model once took the place of the one for training."""
    given = [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 4, *OPTIMIZERS["sgd"]]
    given += ["--torch_compile", "true", "--torch_compile_backend", "eager"]
    finish(*given, cwd=tmp_path, processes=2)
    assert difference(saved(tmp_path), saved(one_process(*OPTIMIZERS["sgd"]))) < 2e-5


def count_precisions() -> None:
    """Keep what linear layers compute in, while the model trains and while it is evaluated."""
    seen: dict[str, set[str]] = {"training": set(), "evaluation": set()}

    def counted(original: Any) -> Any:
        def forward(layer: Any, given: Any) -> Any:
            made = original(layer, given)
            if layer.training == torch.is_grad_enabled():  # otherwise a check of the model, before training
                seen["training" if layer.training else "evaluation"].add(str(made.dtype))
            return made

        return forward

    def kept(original: Any) -> Any:
        def keep_and_leave() -> None:
            found = {when: sorted(precisions) for when, precisions in seen.items()}
            Path(f"precisions-{os.environ['RANK']}.json").write_text(json.dumps(found))
            original()

        return keep_and_leave

    replaced("torch.nn", "Linear.forward", counted)
    replaced("transformers.pytorch_utils", "Conv1D.forward", counted)
    replaced("hf_sentiment_ft.runtime", "shutdown", kept)


@pytest.mark.parametrize(
    ("precision", "launched"), [("fp32", "no"), ("bf16", "no"), ("bf16", "bf16")], ids=["fp32", "bf16", "by launcher"]
)
@pytest.mark.parametrize(("engine", "model"), EACH_WITH_A_MODEL, indirect=["model"])
def test_precision_is_what_the_log_says(engine: str, precision: str, launched: str, model: Path, tmp_path: Path):
    """Evaluation is in that of the weights, which a user's pipeline computes in too, whoever asks for bf16."""
    given = [*FLAGS[:-2], "--model_name_or_path", model, "--per_device_train_batch_size", 4]
    given += ["--precision", precision] if launched == "no" else []
    before = {"before": count_precisions, "rank": None, "ACCELERATE_MIXED_PRECISION": launched}
    printed = finish(*given, cwd=tmp_path, processes=2, engine=engine, **before)
    assert f"Training in {precision}: set by --precision" in printed
    expected = {"fp32": "torch.float32", "bf16": "torch.bfloat16"}[precision]
    for rank in range(2):
        found = json.loads((tmp_path / f"precisions-{rank}.json").read_text())
        assert found == {"training": [expected], "evaluation": ["torch.float32"]}
    assert {value.dtype for value in saved(tmp_path).values()} == {torch.float32}


def count_memory() -> None:
    """Keep the bytes of all tensors that a process holds when the fourth step begins."""

    def counted(original: Any) -> Any:
        calls = itertools.count(1)

        def step(trainer: Any, *args: Any) -> Any:
            if next(calls) == 4:
                gc.collect()
                tensors = [item for item in gc.get_objects() if isinstance(item, torch.Tensor)]
                storages = (getattr(tensor, "_local_tensor", tensor).untyped_storage() for tensor in tensors)
                held = {storage.data_ptr(): storage.nbytes() for storage in storages if storage.device.type == "cpu"}
                Path(f"held-{os.environ['RANK']}.txt").write_text(str(sum(held.values())))
            return original(trainer, *args)

        return step

    replaced("hf_sentiment_ft.training.trainer", "LabelWordTrainer.training_step", counted)


@pytest.mark.parametrize(("engine", "model"), EACH_WITH_A_MODEL, indirect=["model"])
def test_memory_between_steps_is_as_documented(engine: str, model: Path, tmp_path: Path):
    """In bytes for each parameter, on each of two processes, in fp32: docs/scaling.md counts with it."""
    given = [*FLAGS, "--model_name_or_path", model, "--per_device_train_batch_size", 4]
    finish(*given, cwd=tmp_path, processes=2, engine=engine, before=count_memory, rank=None)
    expected = {"ddp": 12, "fsdp2": 6, "zero2": 10, "zero3": 10}[engine]
    num_parameters = sum(weight.numel() for weight in saved(tmp_path).values())
    for rank in range(2):
        held = int((tmp_path / f"held-{rank}.txt").read_text())
        assert held / num_parameters == pytest.approx(expected, abs=0.6)


@pytest.fixture(scope="module")
def uninterrupted(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of 14 steps of each engine, with dropout on; the second epoch begins after step 8."""
    made: dict[str, Path] = {}

    def run(engine: str) -> Path:
        if engine not in made:
            made[engine] = tmp_path_factory.mktemp(engine)
            finish(*steps(tiny_gpt2), cwd=made[engine], processes=2, engine=engine)
        return made[engine]

    return run


def steps(model: Path) -> list[object]:
    return [*FLAGS, *STEPS, "--model_name_or_path", model, "--per_device_train_batch_size", 4]


@pytest.mark.parametrize("engine", engines.SHARDING)
def test_a_killed_run_goes_on_to_the_same_weights(engine: str, uninterrupted, tiny_gpt2: Path, tmp_path: Path):
    """By SIGKILL, of one process in its eleventh step; the other is not left behind."""
    begun = time.monotonic()
    killed = partial(killed_at, "hf_sentiment_ft.training.trainer", "label_word_loss", 11)
    codes, printed = forked.train(*steps(tiny_gpt2), cwd=tmp_path, processes=2, engine=engine, before=killed, rank=1)
    assert codes[1] == -signal.SIGKILL, printed
    assert codes[0] != 0, printed
    assert time.monotonic() - begun < 60
    on = ["--resume_from_checkpoint", "true"]
    printed = finish(*steps(tiny_gpt2), *on, cwd=tmp_path, processes=2, engine=engine)
    assert "starts from the beginning" not in printed
    assert difference(saved(tmp_path), saved(uninterrupted(engine))) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_saves_a_checkpoint_to_go_on_from(engine: str, uninterrupted, tiny_gpt2: Path, tmp_path: Path):
    """To one process; all stop after the same step."""
    started = forked.start(*steps(tiny_gpt2), cwd=tmp_path, processes=2, engine=engine)
    while not (tmp_path / "output" / "checkpoint-3").exists():
        assert all(process.is_alive() for process in started), (tmp_path / "printed.txt").read_text()
        time.sleep(0.01)
    os.kill(started[1].pid, signal.SIGTERM)
    codes, printed = forked.wait(started, tmp_path)
    assert codes == [128 + signal.SIGTERM] * 2, printed
    assert printed.count("stopped by SIGTERM after step ") == 1, printed
    finish(*steps(tiny_gpt2), "--resume_from_checkpoint", "true", cwd=tmp_path, processes=2, engine=engine)
    assert difference(saved(tmp_path), saved(uninterrupted(engine))) == 0


@pytest.mark.parametrize(
    ("rank", "module", "function"),
    [
        (0, "hf_sentiment_ft.training.trainer", "label_word_loss"),
        (1, "hf_sentiment_ft.training.trainer", "LabelWordTrainer.evaluation_loop"),
        (1, "hf_sentiment_ft.label_words.task", "LabelWordTask.save"),
    ],
    ids=["training", "evaluation", "saving"],
)
@pytest.mark.parametrize("engine", engines.SHARDING)
def test_an_error_in_one_process_ends_both(
    engine: str, rank: int, module: str, function: str, tiny_gpt2: Path, tmp_path: Path
):
    begun = time.monotonic()
    failing = partial(forked.failing, module, function)
    codes, printed = forked.train(
        *steps(tiny_gpt2), cwd=tmp_path, processes=2, engine=engine, before=failing, rank=rank
    )
    assert all(codes), printed
    assert time.monotonic() - begun < 60
    assert printed.count("RuntimeError: no more paper") == 1, printed
    assert printed.count("Traceback") == 1, printed


def check_saved(output: Path) -> None:
    """The saved model is whole: a fresh pipeline says what the run's predictions say, every test row once."""
    from transformers import pipeline

    with (output / "test_predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows]
    with (REVIEWS / "test.csv").open(encoding="utf-8") as file:
        assert len(texts) == len(set(texts)) == 17
        assert set(texts) <= {row["text"] for row in csv.DictReader(file)}
    said = pipeline("text-generation", model=str(output))(texts, return_full_text=False)
    assert [answer[0]["generated_text"] for answer in said] == [row["generated_text"] for row in rows]


@pytest.mark.parametrize(("engine", "model"), EACH_WITH_THE_OTHER, indirect=["model"])
def test_from_the_launcher_to_the_hub(
    engine: str, model: Path, hub: HubServer, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As typed: `accelerate launch` with the engine's configuration, and all defaults."""
    if engine in engines.SHARDING:
        engines.write_site(tmp_path / "site", monkeypatch)
    given = [*ROWS, "--model_name_or_path", model, "--push_to_hub", "--hub_model_id", REPO, *engines.flags(engine)]
    done = launch(*given, config=engines.CONFIGS[engine], processes=2, cwd=tmp_path, **engines.ON_CPU)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "output"
    assert [path.name for path in output.glob("checkpoint-*/*") if path.name in OWN_FILES[engine]], "it was this engine"
    assert "  zero-shot " in done.stdout
    assert "| world_size | 2 |" in (output / "README.md").read_text(encoding="utf-8")
    assert record(output)["status"] == "verified"
    assert files_of(api) == PUSHED
    check_saved(output)
