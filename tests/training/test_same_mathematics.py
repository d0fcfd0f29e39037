"""Processes, accumulation and the splitting of batches change neither the rows, the losses nor the weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from hf_sentiment_ft.data.sampling import EpochSampler
from hf_sentiment_ft.training.trainer import LabelWordTrainer

from .. import forked
from ..conftest import ROOT
from ..tiny import base_tokenizer, tiny_model
from .test_trainer import MIXED, rows_of

NUM_ROWS = 43  # five global batches of 8 and three rows, so that in the end one of two processes has none


def learn(
    _: Any, folder: Path, batch: int, accumulation: int, max_tokens: int, sampling: str, compiled: bool = False
) -> None:
    """Train in this process, and save the losses, the weights, and what evaluations of so many rows count."""
    soft = sampling == "random"  # the labels are soft in one of two cases
    args = TrainingArguments(
        output_dir=str(folder), use_cpu=True, per_device_train_batch_size=batch, num_train_epochs=2, learning_rate=0.1,
        gradient_accumulation_steps=accumulation, optim="sgd", logging_steps=1, save_strategy="no", report_to="none",
        disable_tqdm=True, train_sampling_strategy=sampling, per_device_eval_batch_size=4, torch_compile=compiled,
    )  # fmt: skip
    trainer = LabelWordTrainer(
        verbalizer=MIXED, precision="fp32", max_tokens=max_tokens, model=tiny_model(), args=args,
        processing_class=base_tokenizer("gpt2"),
        train_dataset=rows_of(MIXED, NUM_ROWS, True, soft), eval_dataset=rows_of(MIXED, 9, False, soft),
    )  # fmt: skip
    trainer.train()
    assert all(bool(layer._compiled_call_impl) == compiled for layer in trainer.model.transformer.h)
    counted = {}
    for size in (1, 2, 5, 8, 11, 23):
        prediction = trainer.predict(rows_of(MIXED, size, False, soft))
        assert len(prediction.predictions) == 3 + soft, "predictions of rows with soft labels have their shares"
        counted[size] = sorted(prediction.label_ids[:, 1].tolist()), prediction.metrics["test_loss"]
    if trainer.is_world_process_zero():
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        found = losses, trainer.accelerator.unwrap_model(trainer.model).state_dict(), counted
        torch.save(found, folder / "seen.pt")


def train(folder: Path, processes: int, *given: Any) -> tuple[list[float], dict[str, torch.Tensor], dict[int, Any]]:
    """What `learn` saves."""
    folder.mkdir()
    assert forked.together(processes, learn, folder, *given) == [None] * processes
    return torch.load(folder / "seen.pt")


@pytest.mark.parametrize("sampling", ["group_by_length", "random"])
def test_processes_and_accumulation_change_nothing(sampling: str, tmp_path: Path):
    losses, weights, counted = train(tmp_path / "one", 1, 8, 1, 0, sampling)
    assert len(losses) == 12
    for size, (rows, _) in counted.items():
        assert rows == list(range(size))
    # In parts of 60 tokens, one of two processes often goes through the model more often than the other.
    for name, *sizes in [("accumulation", 1, 4, 2, 0), ("two", 2, 4, 1, 0), ("two, in parts", 2, 4, 1, 60)]:
        others = train(tmp_path / name, *sizes, sampling)
        assert others[0] == pytest.approx(losses, rel=1e-4), name
        for key, value in others[1].items():
            torch.testing.assert_close(value, weights[key], rtol=1e-4, atol=1e-5)
        for size, (rows, loss) in others[2].items():
            assert rows == list(range(size)), "every row once"
            assert loss == pytest.approx(counted[size][1], rel=1e-3)


def test_compiled_layers_learn_the_same(tmp_path: Path):
    losses, weights, counted = train(tmp_path / "plain", 1, 8, 1, 0, "group_by_length")
    given = f"None, Path({str(tmp_path)!r}), 8, 1, 0, 'group_by_length', compiled=True"
    code = f"from pathlib import Path\nfrom {__name__} import learn\nlearn({given})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # compilation hangs in a forked process
    compiled = torch.load(tmp_path / "seen.pt")
    assert compiled[0] == pytest.approx(losses, rel=1e-4)
    assert compiled[1].keys() == weights.keys(), "checkpoints are those of the model as it was written"
    for key, value in compiled[1].items():
        torch.testing.assert_close(value, weights[key], rtol=1e-3, atol=1e-5)
    for size, (rows, loss) in compiled[2].items():
        assert rows == list(range(size))
        assert loss == pytest.approx(counted[size][1], rel=1e-3)


@pytest.mark.parametrize("lengths", [None, list(range(43))])
def test_order_depends_on_seed_and_epoch_alone(lengths: list[int] | None):
    def order(epoch: int, multiple: int = 1) -> list[int]:
        sampler = EpochSampler(43, lengths, global_batch=8, multiple=multiple, seed=1)
        sampler.epoch = epoch
        return list(sampler)

    torch.manual_seed(0)
    first = order(1)
    torch.manual_seed(1)
    assert order(1) == first
    assert order(0) != first
    assert sorted(first) == list(range(43))
    assert order(1, multiple=8) == first + [43] * 5, "the blank row fills up, no row counts twice"
