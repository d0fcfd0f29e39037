"""Checkpoints on the Hub while training goes on."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from transformers import TrainerControl, TrainerState

from hf_sentiment_ft.publishing.card import MARKED_LINE
from hf_sentiment_ft.publishing.checkpoint_push import CheckpointPush, resumable
from hf_sentiment_ft.publishing.publication import publish_run

from ..hub_server import Fault, HubServer
from ..local_hub import (  # noqa: F401
    REPO,
    api_fixture,
    check,
    commits,
    files_of,
    finished_fixture,
    hub_fixture,
    quick_look_fixture,
)
from .test_publish import PUSHED, card

MODEL = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture
def saved(finished: Path) -> Path:
    """An output folder with two checkpoints as Trainer writes them."""
    for step in (18, 36):
        folder = finished / f"checkpoint-{step}"
        folder.mkdir()
        for name in sorted(MODEL - {"README.md"}):
            (folder / name).write_bytes((finished / name).read_bytes())
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
            (folder / name).write_bytes(f"{name} of step {step}".encode())
        state = {"global_step": step, "best_model_checkpoint": str(finished.absolute() / "checkpoint-18")}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    return finished


def save(callback: CheckpointPush, folder: Path, step: int, first_process: bool = True) -> None:
    """Trainer's call after it has written a checkpoint."""
    state = TrainerState(global_step=step, is_world_process_zero=first_process)
    callback.on_save(
        SimpleNamespace(output_dir=str(folder), process_index=int(not first_process), world_size=1),
        state,
        TrainerControl(),
    )


def test_end_pushes_no_checkpoint_and_other_processes_none(hub: HubServer, saved: Path):
    destination = check()
    hub.clear_requests()
    save(CheckpointPush(destination, "end"), saved, 18)
    save(CheckpointPush(destination, "every_save"), saved, 18, first_process=False)
    assert hub.requests == []


def test_every_save_pushes_the_model(hub: HubServer, api: HfApi, saved: Path):
    callback = CheckpointPush(check(), "every_save")
    save(callback, saved, 18)
    assert files_of(api) == MODEL
    assert "this is step 18" in card(api)
    save(callback, saved, 36)
    assert "this is step 36" in card(api)
    assert commits(api)[:2] == ["Training, step 36", "Training, step 18"]
    assert callback.destination.parent == api.model_info(REPO).sha


@pytest.mark.usefixtures("quick_look")
def test_checkpoint_keeps_the_last_one_to_resume_from(hub: HubServer, api: HfApi, saved: Path):
    callback = CheckpointPush(check(), "checkpoint")
    save(callback, saved, 18)
    (saved / "checkpoint-36" / "scheduler.pt").unlink()
    save(callback, saved, 36)
    last = {name.removeprefix("last-checkpoint/") for name in files_of(api) if name.startswith("last-checkpoint/")}
    assert last == MODEL - {"README.md"} | {"optimizer.pt", "rng_state.pth", "trainer_state.json"}, "of step 36 alone"
    state = json.loads(Path(api.hf_hub_download(REPO, "last-checkpoint/trainer_state.json")).read_text())
    assert state == {"global_step": 36, "best_model_checkpoint": "checkpoint-18"}
    publish_run(saved, callback.destination)
    assert {name for name in files_of(api) if not name.startswith("last-checkpoint/")} == PUSHED
    assert "Training is in progress" not in card(api)


def test_all_checkpoints_keeps_each(hub: HubServer, api: HfApi, saved: Path):
    callback = CheckpointPush(check(), "all_checkpoints")
    save(callback, saved, 18)
    save(callback, saved, 36)
    assert {name.partition("/")[0] for name in files_of(api) if "/" in name} == {"checkpoint-18", "checkpoint-36"}


def test_local_paths_stay_here(saved: Path):
    files = resumable(saved / "checkpoint-18")
    assert "training_args.bin" not in files
    assert str(saved.absolute()) not in files["trainer_state.json"].decode()
    assert str(saved.absolute()) in (saved / "checkpoint-18" / "trainer_state.json").read_text(), "unchanged here"


@pytest.mark.usefixtures("quick_look")
def test_results_of_an_earlier_run_do_not_stand_beside_new_weights(hub: HubServer, api: HfApi, saved: Path):
    publish_run(saved, check())
    text = card(api) + "\nMy aunt uses it.\n"
    api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=REPO)
    (saved / "checkpoint-18" / "generation_config.json").write_text("{}")
    callback = CheckpointPush(check(), "every_save")
    save(callback, saved, 18)
    assert files_of(api) == MODEL
    assert "accuracy" not in card(api)
    assert card(api).endswith(f"{MARKED_LINE}\n\nMy aunt uses it.\n")
    publish_run(saved, callback.destination)
    assert files_of(api) == PUSHED
    assert card(api) == text


@pytest.mark.usefixtures("quick_look")
def test_a_push_that_fails_does_not_stop_training(hub: HubServer, api: HfApi, saved: Path, caplog):
    callback = CheckpointPush(check(timeout=1), "every_save")
    hub.inject(Fault("POST", "/commit/", status=403))
    save(callback, saved, 18)
    assert "Checkpoint 18 was not published: HTTP 403" in caplog.text
    save(callback, saved, 36)
    assert commits(api)[0] == "Training, step 36"
    publish_run(saved, callback.destination)
    assert files_of(api) == PUSHED


def test_work_of_others_is_replaced_once(hub: HubServer, api: HfApi, saved: Path):
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="theirs.bin", repo_id=REPO)
    callback = CheckpointPush(check(hub_overwrite=True), "every_save")
    save(callback, saved, 18)
    assert files_of(api) == MODEL
    assert callback.destination == replace(check(), parent=api.model_info(REPO).sha)
