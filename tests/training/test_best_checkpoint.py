"""Resume from a checkpoint whose best checkpoint is missing: which model is kept at the end."""

import json
import shutil
from pathlib import Path

import pytest

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.train import run
from hf_sentiment_ft.training.checkpoints import RecoverBestCheckpoint

from .test_trainer import make_trainer  # noqa: F401

# Learns in the first step, and unlearns in the later ones.
SCORES = {1: 0.9, 2: 0.5, 3: 0.4, 4: 0.3}


def scored(make_trainer, folder: Path, max_steps: int):  # noqa: F811
    """Build a trainer whose checkpoints get these scores, whatever it learns."""
    trainer = make_trainer(
        max_steps=max_steps, save_strategy="steps", save_steps=1, eval_strategy="steps", eval_steps=1,
        load_best_model_at_end=True, metric_for_best_model="accuracy", output_dir=str(folder),
    )  # fmt: skip
    trainer.compute_metrics = lambda prediction: {"accuracy": SCORES[trainer.state.global_step]}
    return trainer


def weights(model) -> dict:
    return {name: value.clone() for name, value in model.state_dict().items()}


def saved_weights(folder: Path) -> dict:
    from transformers import AutoModelForCausalLM

    return weights(AutoModelForCausalLM.from_pretrained(folder))


def same(left: dict, right: dict) -> bool:
    return all(bool((left[name] == value).all()) for name, value in right.items())


@pytest.mark.parametrize(("start", "best"), [(1, 1), (2, 2), (2, 1)])
def test_the_best_checkpoint_that_is_there_is_kept(start: int, best: int, make_trainer, tmp_path: Path, caplog):  # noqa: F811
    """Resume outside the output folder: from the best checkpoint, from a worse one, and from one beside the best."""
    scored(make_trainer, tmp_path / "first", 2).train()
    for step in {start, best}:
        shutil.copytree(tmp_path / "first" / f"checkpoint-{step}", tmp_path / "copy" / f"checkpoint-{step}")
    state = tmp_path / "copy" / f"checkpoint-{start}" / "trainer_state.json"
    values = json.loads(state.read_text())
    assert values["best_global_step"] == 1
    state.write_text(json.dumps(values | {"best_model_checkpoint": "checkpoint-1"}))  # as it is on the Hub
    again = scored(make_trainer, tmp_path / "second", 4)
    again.add_callback(RecoverBestCheckpoint(str(state.parent)))
    again.train(resume_from_checkpoint=str(state.parent))
    assert again.state.global_step == 4
    assert same(weights(again.model), saved_weights(tmp_path / "copy" / f"checkpoint-{best}")), "neither 3 nor 4"
    assert ("(step 1, eval_accuracy 0.9000) is missing" in caplog.text) is (best == 2)


@pytest.mark.parametrize("spelling", ["relative", "absolute", "slash", "link"])
def test_the_best_is_known_however_its_folder_is_spelled(
    spelling: str,
    make_trainer,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """It is not deleted even if only one is kept, and a checkpoint of another run is not mistaken for it."""
    begun, moved = tmp_path / "begun", tmp_path / "moved"
    begun.mkdir(), moved.mkdir()
    monkeypatch.chdir(begun)
    scored(make_trainer, Path("output"), 2).train()
    best = saved_weights(begun / "output" / "checkpoint-1")
    if spelling != "relative":
        monkeypatch.chdir(moved)
        shutil.copytree(begun / "output" / "checkpoint-2", moved / "output" / "checkpoint-1")
    (tmp_path / "link").symlink_to(begun)
    spelled = {
        "relative": "output",
        "absolute": f"{begun}/output",
        "slash": f"{begun}/output/",
        "link": "../link/output",
    }
    again = scored(make_trainer, Path("unused"), 4)
    again.args.output_dir, again.args.save_total_limit = spelled[spelling], 1
    checkpoint = str(begun / "output" / "checkpoint-2")
    again.add_callback(RecoverBestCheckpoint(checkpoint))
    again.train(resume_from_checkpoint=checkpoint)
    assert same(weights(again.model), best)
    assert [folder.name for folder in (begun / "output").glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_checkpoint_without_a_score_of_its_own(tmp_path: Path, caplog):
    """A signal between two evaluations leaves such a checkpoint."""
    from transformers import TrainerControl, TrainerState, TrainingArguments

    args = TrainingArguments(
        output_dir=str(tmp_path), load_best_model_at_end=True, metric_for_best_model="accuracy", eval_strategy="epoch",
        save_strategy="epoch",
    )  # fmt: skip
    history = [{"step": 1, "eval_accuracy": 0.9}, {"step": 5, "loss": 1.0}]
    state = TrainerState(global_step=5, best_metric=0.9, best_global_step=1, log_history=history)
    RecoverBestCheckpoint(str(tmp_path)).on_train_begin(args, state, TrainerControl())
    assert (state.best_metric, state.best_global_step, state.best_model_checkpoint) == (None, None, None)
    assert "is missing. The best model will be chosen from the checkpoints saved from now on." in caplog.text


METRIC = ["--use_cpu", "--max_steps", "1", "--zero_shot_baseline", "false", "--metric_for_best_model"]


def write_table(folder: Path, *labels: str) -> list[str]:
    rows = [f"{text} {number},{label}" for number in range(10) for text, label in zip("abc", labels, strict=False)]
    (folder / "table.csv").write_text("\n".join(["text,label", *rows]))
    return ["--train_file", str(folder / "table.csv"), "--test_split_percentage", "10"]


def test_the_distance_between_numbers_may_choose(tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    table = write_table(tmp_path, "1", "2", "3")
    run(parse_train_arguments([*table, "--model_name_or_path", str(tiny_gpt2), *METRIC, "mean_absolute_error"]))
    state = json.loads((tmp_path / "output" / "checkpoint-1" / "trainer_state.json").read_text())
    assert state["best_metric"] == state["log_history"][-1]["eval_mean_absolute_error"]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["mean_absolute_error"], "mean_absolute_error, but the labels are not numbers: no, yes. Use log_loss"),
        (["unconstrained_generation_accuracy", "--constrain_generation", "false"], "Use that."),
    ],
)
def test_a_metric_that_the_run_does_not_compute_is_refused(
    flags: list[str], problem: str, tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    given = [*write_table(tmp_path, "no", "yes"), "--model_name_or_path", str(tiny_gpt2), *METRIC, *flags]
    with pytest.raises(UsageError, match=problem):
        run(parse_train_arguments(given))
