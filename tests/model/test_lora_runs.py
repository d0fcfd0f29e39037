"""Runs with LoRA: killed, on two processes, and how their checkpoints are published."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .. import forked
from ..architectures import save_tiny
from ..conftest import REVIEWS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 without dropout of its own, with tied embeddings that grow by a [PAD]."""
    return save_tiny("gpt2", tmp_path_factory.mktemp("base"))


def flags(base: Path, *more: object) -> list[object]:
    given = ["--model_name_or_path", base, "--dataset_name", REVIEWS, "--use_peft", "--class_weights", "balanced"]
    given += ["--max_train_samples", 60, "--max_eval_samples", 8, "--max_test_samples", 8, "--max_steps", 10]
    given += ["--eval_strategy", "steps", "--eval_steps", 3, "--save_strategy", "steps", "--save_steps", 3]
    return [*given, "--use_cpu", "true", "--learning_rate", 0.01, "--zero_shot_baseline", "false", *more]


def weights(cwd: Path) -> dict[str, torch.Tensor]:
    return load_file(cwd / "output" / "model.safetensors")


def test_killed_run_ends_with_the_same_weights(base: Path, tmp_path: Path):
    """With LoRA's own dropout; the last weights, since the best may be from before."""
    given = flags(base, "--per_device_train_batch_size", 8, "--load_best_model_at_end", "false")
    killed_in = tmp_path / "killed"
    killed_in.mkdir()
    codes, printed = forked.train(*given, cwd=tmp_path)
    assert codes == [0], printed
    killed = partial(forked.killed_at, "transformers", "Trainer.training_step", 8)
    codes, printed = forked.train(*given, cwd=killed_in, before=killed)
    assert codes == [-9], printed
    checkpoint = {path.name for path in (killed_in / "output" / "checkpoint-6").iterdir()}
    assert "adapter_model.safetensors" in checkpoint
    assert "model.safetensors" not in checkpoint
    from_the_beginning = partial(forked.killed_at, "transformers", "Trainer.training_step", 5)
    codes, printed = forked.train(*given, "--resume_from_checkpoint", "true", cwd=killed_in, before=from_the_beginning)
    assert codes == [0], printed
    one, other = (folder / "output" / "model.safetensors" for folder in (tmp_path, killed_in))
    assert one.read_bytes() == other.read_bytes()
    before = load_file(base / "model.safetensors")
    moved = [name for name, value in weights(killed_in).items() if not torch.equal(value, before[name]) and "w" in name]
    assert len(moved) == 9, "four linear layers in each of two blocks, and the embeddings by a row"


def test_two_processes_train_the_same_adapter(base: Path, tmp_path: Path):
    given = flags(base, "--lora_dropout", 0, "--optim", "sgd", "--precision", "fp32", "--learning_rate", 0.5)
    for processes, batch in ((1, 8), (2, 4)):
        (cwd := tmp_path / str(processes)).mkdir()
        codes, printed = forked.train(*given, "--per_device_train_batch_size", batch, cwd=cwd, processes=processes)
        assert set(codes) == {0}, printed
    one, two, before = weights(tmp_path / "1"), weights(tmp_path / "2"), load_file(base / "model.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    name = "transformer.h.1.mlp.c_fc.weight"
    assert (one[name] - before[name]).abs().max() > 1e-3, "it has learnt something"
